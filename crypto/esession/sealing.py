"""Sealing the content of a stanza (XEP-0200, "Encrypting a Stanza")."""

from dataclasses import replace

from crypto.errors import Misuse
from crypto.esession.encrypted import data_part, key_parts, written
from crypto.esession.faults import Exhausted
from crypto.esession.keys import counter_octets
from crypto.esession.rekeying import Draw, initiated, is_due, without_expired
from crypto.esession.rekeying_state import POLICY, Rekeying, RekeyPolicy
from crypto.esession.session import MAX_BLOCKS, MAX_CONTENT, SendingDirection, Session
from crypto.esession.suite import CIPHERS, HASHES
from crypto.primitives.ciphers import BLOCK
from crypto.primitives.integers import from_octets, mpi


def seal(
    session: Session,
    content: bytes,
    *,
    draw: Draw | None = None,
    now_ms: int = 0,
    policy: RekeyPolicy = POLICY,
    publish: tuple[bytes, ...] = (),
) -> tuple[Session, bytes]:
    """Encrypt the serialised content of a stanza: the session afterwards, and the `<c/>` element, serialised.

    The content is padded with spaces to whole blocks, which the XEP allows and the deployed implementation needs.
    Where re-keying was agreed the stanza holds a `<key/>` when that is due; `draw`: None when it must not. `now_ms`: 0
    when the time is not known; nothing is done by time then. `publish`: more MAC keys whose stanzas are all verified.
    Raises Exhausted, Misuse for a content that is empty or too large.
    """
    if not 0 < len(content) <= MAX_CONTENT:
        raise Misuse("a stanza's content must be between 1 octet and 1 MiB")
    if session.rekeying is None:
        then, payload = _sealed(session, content, key_parts(None, 0, publish) if publish else b"")
        after = Session(session.agreed, then, session.receiving, session.accepted, session.confirmed)
        return after, payload
    session = without_expired(session, now_ms, policy)
    return _with_counts(session, content, draw if is_due(session, now_ms, policy) else None, now_ms, publish)


def seal_empty(session: Session, *, draw: Draw | None, now_ms: int) -> tuple[Session, bytes]:
    """A stanza without content, which tells the peer what it must know: with a new key when `draw` is given.

    Raises Exhausted, Misuse where re-keying was not agreed.
    """
    if session.rekeying is None:
        raise Misuse("only sessions that re-key have stanzas without content")
    return _with_counts(session, b"", draw, now_ms, ())


def _sealed(session: Session, content: bytes, extra: bytes) -> tuple[SendingDirection, bytes]:
    """The direction afterwards, and the `<c/>`. A stanza without content counts as one block."""
    way, suite = session.sending, session.agreed.suite
    padded = content + b" " * (-len(content) % BLOCK)
    blocks = len(padded) // BLOCK or 1
    if way.blocks + session.receiving.blocks + blocks > MAX_BLOCKS:
        raise Exhausted
    counter = from_octets(way.counter)
    covered = extra
    if content:
        first = counter + session.receiving.first_block
        covered = data_part(CIPHERS[suite.cipher].apply(way.cipher_key, first, padded)) + extra
    payload = written(covered, HASHES[suite.hash].hmac(way.mac_key, covered, mpi(counter)))
    then = SendingDirection(way.cipher_key, way.mac_key, counter_octets(counter + blocks), way.blocks + blocks)
    return then, payload


def _with_counts(
    session: Session, content: bytes, draw: Draw | None, now_ms: int, publish: tuple[bytes, ...]
) -> tuple[Session, bytes]:
    """Seal where re-keying was agreed, with a new key when there is a draw for it."""
    state = session.rekeying
    assert state is not None
    after = _with(session, session.sending, state.with_sent(bool(content), now_ms))
    public = None
    if draw is not None:
        after, public = initiated(after, draw, now_ms)
    extra = key_parts(public, state.untold, (*state.publishable, *publish))
    then, payload = _sealed(session, content, extra)
    if public is not None:
        then = replace(after.sending, counter=then.counter)
    return _with(after, then, after.rekeying), payload


def _with(session: Session, sending: SendingDirection, rekeying: Rekeying | None) -> Session:
    """What `dataclasses.replace` would make, at a quarter of its time: once for each stanza."""
    return Session(session.agreed, sending, session.receiving, session.accepted, session.confirmed, rekeying)
