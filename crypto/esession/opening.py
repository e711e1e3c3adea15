"""Verifying and decrypting a `<c/>` element (XEP-0200, "Decrypting a Stanza")."""

from typing import NamedTuple

from crypto.esession.encrypted import EncryptedContent, read_encrypted
from crypto.esession.faults import BadStanza, Repeated, UnauthenticStanza, UnusableStanza
from crypto.esession.keys import counter_octets
from crypto.esession.rekeying import NewKeys, accepted, accepting, selected
from crypto.esession.rekeying_state import Rekeying
from crypto.esession.session import MAX_BLOCKS, ReceivingDirection, Session
from crypto.esession.suite import CIPHERS, HASHES, Suite
from crypto.primitives.ciphers import BLOCK, same
from crypto.primitives.integers import from_octets, mpi
from crypto.xml import Element, MalformedXml, parse_content

_REMEMBERED = 64
_MARK = 8
_TAIL = _REMEMBERED * _MARK


class Inbound(NamedTuple):
    """All that reading the peer's stanzas needs, of a session that is active or that we have ended."""

    receiving: ReceivingDirection
    accepted: bytes
    """The marks of stanzas accepted."""
    rekeying: Rekeying | None
    suite: Suite


class Opened(NamedTuple):
    """A stanza that was verified: it was sent by the peer's end of this session, as the next after the one before."""

    inbound: Inbound
    content: tuple[Element, ...]
    keys: NewKeys | None
    """The keys of a `<key/>` in it, when ours for sending are to be the acceptor's from now on."""


def open_stanza(session: Session, c: Element) -> tuple[Session, tuple[Element, ...]]:
    """Verify and decrypt a `<c/>` element: the session afterwards, and the elements of the content.

    When it returns, the content was sent by the peer's end of this session, as the next after the one before.
    Raises MalformedStanza, UnauthenticStanza, Repeated, UnusableStanza.
    """
    found = opened(Inbound(session.receiving, session.accepted, session.rekeying, session.agreed.suite), c)
    then = found.inbound
    after = Session(session.agreed, session.sending, then.receiving, then.accepted, True, then.rekeying)
    return after if found.keys is None else accepting(after, found.keys), found.content


def opened(inbound: Inbound, c: Element) -> Opened:
    """`open_stanza` for what we receive alone."""
    stanza = read_encrypted(c, HASHES[inbound.suite.hash].octets)
    mark = stanza.mac[:_MARK]
    state, way = _chosen(inbound, stanza)
    if way is None or not _authentic(inbound.suite, way, stanza):
        if mark in (inbound.accepted[i : i + _MARK] for i in range(0, len(inbound.accepted), _MARK)):
            raise Repeated
        raise UnauthenticStanza
    if state is None and stanza.key is not None:
        raise UnusableStanza(BadStanza.REKEYED)
    way, content = _decrypted(inbound.suite, way, stanza.data, may_be_empty=state is not None)
    keys = None
    if state is not None and stanza.key is not None:
        state, way, keys = accepted(inbound.suite, state, way, stanza.key)
    if state is not None:
        keys = None if state.newer else keys
        state = state.with_received(stanza.data is not None)
    then = Inbound(way, (inbound.accepted + mark)[-_TAIL:], state, inbound.suite)
    return Opened(then, content, keys)


def _chosen(inbound: Inbound, stanza: EncryptedContent) -> tuple[Rekeying | None, ReceivingDirection | None]:
    """The keys that the stanza says it was made with. Peers that do not re-key are not listened to about counts."""
    if inbound.rekeying is None or not stanza.new:
        return inbound.rekeying, inbound.receiving
    return selected(inbound.rekeying, inbound.receiving, stanza.new) or (None, None)


def _authentic(suite: Suite, way: ReceivingDirection, stanza: EncryptedContent) -> bool:
    """Whether the MAC is right, over the counter in either encoding; the caller raises when it is not."""
    algorithm = HASHES[suite.hash]
    octets = mpi(from_octets(way.counter))
    if same(algorithm.hmac(way.mac_key, stanza.covered, octets), stanza.mac):
        return True
    return same(algorithm.hmac(way.mac_key, stanza.covered, way.counter), stanza.mac)


def _decrypted(
    suite: Suite, way: ReceivingDirection, data: bytes | None, *, may_be_empty: bool
) -> tuple[ReceivingDirection, tuple[Element, ...]]:
    if data is None and may_be_empty:
        return _advanced(way, 0, BLOCK), ()
    if not data:
        raise UnusableStanza(BadStanza.CONTENT)
    content = None
    after = way
    for used in dict.fromkeys((way.used, 0)):  # a peer of the letter begins a block although the last was not full
        try:
            content = parse_content(_plain(suite, way, used, data))
        except MalformedXml:
            continue
        after = _advanced(way, used, len(data))
        break
    if content is None:
        raise UnusableStanza(BadStanza.CONTENT)
    return after, content


def _plain(suite: Suite, way: ReceivingDirection, used: int, data: bytes) -> bytes:
    first = from_octets(way.counter) + way.first_block - (1 if used else 0)
    return CIPHERS[suite.cipher].apply(way.cipher_key, first, data, skip=used)


def _advanced(way: ReceivingDirection, used: int, size: int) -> ReceivingDirection:
    """The direction after so many octets of content."""
    blocks = (used + size + BLOCK - 1) // BLOCK - (1 if used else 0)
    if way.blocks + blocks > MAX_BLOCKS:
        raise UnusableStanza(BadStanza.EXHAUSTED)
    rest = (used + size) % BLOCK if way.runs_on else 0
    return ReceivingDirection(
        way.cipher_key,
        way.mac_key,
        counter_octets(from_octets(way.counter) + blocks),
        way.first_block,
        way.runs_on,
        rest,
        way.blocks + blocks,
    )
