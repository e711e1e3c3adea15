"""Encrypted content within an offline ESession: only from the sender to the publisher (XEP-0200, 0187)."""

from dataclasses import dataclass, field, replace

from crypto.errors import Misuse
from crypto.esession import encrypted, names, payloads
from crypto.esession.faults import MalformedStanza
from crypto.esession.keys import DirectionKeys, counter_octets
from crypto.esession.offline_refusals import OfflineFlaw, OfflineRefusal
from crypto.esession.offline_time import read_time, write_time
from crypto.esession.payloads import Payload
from crypto.esession.session import MAX_BLOCKS, MAX_CONTENT
from crypto.esession.suite import Suite
from crypto.primitives.ciphers import BLOCK, same
from crypto.primitives.integers import from_octets, mpi
from crypto.xml import CLIENT, Element, MalformedXml, parse_content, serialize

SHIM = "http://jabber.org/protocol/shim"
_MARK = 8
_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class Way:
    """What the sender encrypts with, and the publisher decrypts with. Never to be sealed with from an older state."""

    suite: Suite
    keys: DirectionKeys = field(repr=False)
    counter: bytes
    """16 octets: the counter of the next stanza."""
    expires_ms: int
    """When the publisher's options expire: nothing is encrypted and nothing decrypted after that."""
    blocks: int = 0
    accepted: bytes = b""
    """Beginnings of the MACs of the last 64 stanzas, eight octets each."""


def sealed(way: Way, content: bytes) -> tuple[Way, bytes]:
    """Encrypt the serialised content of a stanza: the way afterwards, and the `<c/>` element, serialised."""
    if not 0 < len(content) <= MAX_CONTENT:
        raise Misuse("a stanza's content must be between 1 octet and 1 MiB")
    padded = content + b" " * (-len(content) % BLOCK)
    counter = from_octets(way.counter)
    data = encrypted.data_part(way.suite.counter_mode(way.keys.cipher, counter, padded))
    mac = way.suite.hmac(way.keys.mac, data, mpi(counter))
    return _advanced(way, len(padded), mac), encrypted.written(data, mac)


def opened(way: Way, c: Element, *, now_ms: int) -> tuple[Way, tuple[Element, ...]]:
    """Verify and decrypt a `<c/>` element: the way afterwards, and the elements of the content.

    When it returns, the sender of this session sealed it, as the next after the one before.
    Raises OfflineRefusal: EXPIRED, REPLAYED for an exact repetition, CONTENT for all else.
    """
    if now_ms >= way.expires_ms:
        raise OfflineRefusal(OfflineFlaw.EXPIRED)
    stanza = _read(c, way.suite.hash_octets)
    counter = from_octets(way.counter)
    if not _authentic(way, counter, stanza):
        marks = (way.accepted[at : at + _MARK] for at in range(0, len(way.accepted), _MARK))
        flaw = OfflineFlaw.REPLAYED if stanza.mac[:_MARK] in marks else OfflineFlaw.CONTENT
        raise OfflineRefusal(flaw)
    if stanza.key is not None or not stanza.data:
        raise OfflineRefusal(OfflineFlaw.CONTENT)
    after = _advanced(way, len(stanza.data), stanza.mac)
    return after, _elements(way.suite.counter_mode(way.keys.cipher, counter, stanza.data))


def _read(c: Element, mac_octets: int) -> encrypted.EncryptedContent:
    found: encrypted.EncryptedContent | None
    try:
        found = encrypted.read_encrypted(c, mac_octets)
    except MalformedStanza:
        found = None
    if found is None:
        raise OfflineRefusal(OfflineFlaw.CONTENT)
    return found


def _authentic(way: Way, counter: int, stanza: encrypted.EncryptedContent) -> bool:
    """Whether the MAC is right, over the counter in either encoding; the caller raises when it is not."""
    if same(way.suite.hmac(way.keys.mac, stanza.covered, mpi(counter)), stanza.mac):
        return True
    return same(way.suite.hmac(way.keys.mac, stanza.covered, counter_octets(counter)), stanza.mac)


def _elements(plain: bytes) -> tuple[Element, ...]:
    found: tuple[Element, ...] | None
    try:
        found = parse_content(plain)
    except MalformedXml:
        found = None
    if found is None:  # raised here: nothing of the content hangs on the exception's context
        raise OfflineRefusal(OfflineFlaw.CONTENT)
    return found


def _advanced(way: Way, octets: int, mac: bytes) -> Way:
    blocks = -(-octets // BLOCK)
    if way.blocks + blocks > MAX_BLOCKS:
        raise OfflineRefusal(OfflineFlaw.USED_UP)
    return replace(
        way,
        counter=counter_octets(from_octets(way.counter) + blocks),
        blocks=way.blocks + blocks,
        accepted=(way.accepted + mac[:_MARK])[-_REMEMBERED * _MARK :],
    )


# ---------------------------------------------------------------------------------------------------- what it holds
def created(at_ms: int) -> bytes:
    """The header that says when the content was written, serialised (XEP-0187, "Exchanging Stanzas"; XEP-0131)."""
    header = Element(SHIM, "header", (("name", "Created"),), (write_time(at_ms),))
    return serialize(Element(SHIM, "headers", (), (header,)), inherited=CLIENT)


def created_ms(content: tuple[Element, ...]) -> int | None:
    """When the content says that it was written; None when it does not, or says nonsense."""
    headers = [h for e in content if (e.namespace, e.name) == (SHIM, "headers") for h in e.elements]
    text = next((h.text for h in headers if h.attribute("name") == "Created"), None)
    try:
        return None if text is None else read_time(text)
    except OfflineRefusal:
        return None


def ends(content: tuple[Element, ...]) -> bool:
    """Whether the content ends the session. It is not acknowledged: the publisher sends nothing in it."""
    forms = (e.child(names.DATA, "x") for e in content if e.namespace == names.NEGOTIATION)
    return any(x is not None and payloads.form_payload(x) is Payload.TERMINATE for x in forms)
