"""An active session: sealing and opening the content of stanzas (XEP-0200).

Both functions return the session as it is afterwards; when they raise, nothing has changed.
"""

import binascii
from dataclasses import dataclass, field
from enum import StrEnum

from crypto.errors import Malformed, Misuse, PeerFault, Unauthentic
from crypto.esession import names
from crypto.esession.keys import Role, counter_octets
from crypto.esession.profiles import TRAITS, Profile
from crypto.esession.retained import Chain
from crypto.esession.sas import without_leading_zeros
from crypto.primitives.ciphers import BLOCK, counter_mode, hmac_sha256, same
from crypto.primitives.integers import from_octets, mpi
from crypto.xml import Element, MalformedXml, parse_content

MAX_CONTENT = 1 << 20
"""Octets of the largest content of a stanza."""
MAX_BLOCKS = 1 << 32
"""Blocks under one key (XEP-0200, "Maximum Key Life")."""
MAC = 32
_BLANK = " \t\r\n"
_BASE64 = ("data", "mac", "key", "old")
_REMEMBERED = 64
_MARK = 8
_TAIL = _REMEMBERED * _MARK


class BadStanza(StrEnum):
    """Why a stanza whose MAC was right could not be taken."""

    CONTENT = "content"
    REKEYED = "rekeyed"
    EXHAUSTED = "exhausted"


class MalformedStanza(Malformed):
    """The `<c/>` element is not what XEP-0200 says: it is not looked at further."""

    def __init__(self) -> None:
        super().__init__("an encrypted stanza is malformed")


class UnauthenticStanza(Unauthentic):
    """The MAC does not match: tampered with, lost, reordered, or of another session."""

    def __init__(self) -> None:
        super().__init__("an encrypted stanza does not belong here")


class Repeated(PeerFault):
    """An exact repetition of one of the last 64 stanzas accepted. It changes nothing."""

    def __init__(self) -> None:
        super().__init__("an encrypted stanza was repeated")


class UnusableStanza(PeerFault):
    """The MAC is right, but the stanza cannot be taken: the session must end."""

    def __init__(self, reason: BadStanza) -> None:
        super().__init__("an authentic stanza cannot be used")
        self.reason = reason


class Exhausted(Misuse):
    """The key may not be used for more: negotiate a new session first."""

    def __init__(self) -> None:
        super().__init__("the session's key has served for as long as it may")


# ---------------------------------------------------------------------------------------------------- state
@dataclass(frozen=True, slots=True)
class Agreed:
    """What stays the same as long as the session lasts."""

    role: Role
    profile: Profile
    sas: str
    chain: Chain
    verified: bool
    """Whether a user compared the SAS of this session or of one that it continues."""
    logging: str
    disclosure: str
    request_mark: bytes
    """Eight octets that tell the request of this session from another."""
    secret_identity: bytes
    """Which retained secret this session leaves."""
    replaced_identity: bytes | None
    """Which one it replaces, once a stanza of the peer's has been verified."""


@dataclass(frozen=True, slots=True)
class SendingDirection:
    """Keys and counter for what we send. Never to be used again from an older state."""

    cipher_key: bytes = field(repr=False)
    mac_key: bytes = field(repr=False)
    counter: bytes
    """16 octets: the counter of the next stanza."""
    blocks: int = 0


@dataclass(frozen=True, slots=True)
class ReceivingDirection:
    """Keys and counter for what the peer sends."""

    cipher_key: bytes = field(repr=False)
    mac_key: bytes = field(repr=False)
    counter: bytes
    """16 octets: the counter of the next stanza."""
    first_block: int
    runs_on: bool
    used: int = 0
    """Octets of the block before `counter` whose key stream is used up; 0 when the next stanza begins a block."""
    blocks: int = 0


@dataclass(frozen=True, slots=True)
class Session:
    """An active session."""

    agreed: Agreed
    sending: SendingDirection
    receiving: ReceivingDirection
    accepted: bytes = b""
    """Beginnings of the MACs of the last 64 stanzas accepted, eight octets each."""
    confirmed: bool = False
    """Whether a stanza of the peer's was verified: until then it may not have a session at all."""

    @property
    def role(self) -> Role:
        """Which end we are."""
        return self.agreed.role

    @property
    def profile(self) -> Profile:
        """How the peer reads the specifications."""
        return self.agreed.profile

    @property
    def sas(self) -> str:
        """The short authentication string, five characters."""
        return self.agreed.sas

    @property
    def sas_shown(self) -> str:
        """The short authentication string as the peer's client shows it."""
        return without_leading_zeros(self.sas) if TRAITS[self.profile].short_sas else self.sas

    @property
    def chain(self) -> Chain:
        """How the session is linked to earlier ones."""
        return self.agreed.chain

    @property
    def verified(self) -> bool:
        """Whether a user compared the SAS of this session or of one that it continues."""
        return self.agreed.verified

    @property
    def logging(self) -> str:
        """What was agreed about logs: `may` or `mustnot`."""
        return self.agreed.logging

    @property
    def disclosure(self) -> str:
        """What was agreed about disclosure: `never`, `disabled` or `enabled`."""
        return self.agreed.disclosure


# ---------------------------------------------------------------------------------------------------- sealing
def seal(session: Session, content: bytes) -> tuple[Session, bytes]:
    """Encrypt the serialised content of a stanza: the session afterwards, and the `<c/>` element, serialised.

    The content is padded with spaces to whole blocks, which the XEP allows and the deployed implementation needs.
    Raises Exhausted, Misuse for a content that is empty or too large.
    """
    if not 0 < len(content) <= MAX_CONTENT:
        raise Misuse("a stanza's content must be between 1 octet and 1 MiB")
    way = session.sending
    padded = content + b" " * (-len(content) % BLOCK)
    blocks = len(padded) // BLOCK
    if way.blocks + blocks > MAX_BLOCKS:
        raise Exhausted
    counter = from_octets(way.counter)
    octets = counter_mode(way.cipher_key, counter + session.receiving.first_block, padded)
    data = b"<data>" + binascii.b2a_base64(octets, newline=False) + b"</data>"
    mac = binascii.b2a_base64(hmac_sha256(way.mac_key, data, mpi(counter)), newline=False)
    then = SendingDirection(way.cipher_key, way.mac_key, counter_octets(counter + blocks), way.blocks + blocks)
    after = Session(session.agreed, then, session.receiving, session.accepted, session.confirmed)
    return after, b'<c xmlns="' + names.STANZA.encode() + b'">' + data + b"<mac>" + mac + b"</mac></c>"


# ---------------------------------------------------------------------------------------------------- opening
@dataclass(frozen=True, slots=True)
class EncryptedContent:
    """What a `<c/>` element holds."""

    covered: bytes
    """All of it but the MAC, as the MAC covers it."""
    data: bytes
    mac: bytes
    rekeys: bool


def open_stanza(session: Session, c: Element) -> tuple[Session, tuple[Element, ...]]:
    """Verify and decrypt a `<c/>` element: the session afterwards, and the elements of the content.

    When it returns, the content was sent by the peer's end of this session, as the next after the one before.
    Raises MalformedStanza, UnauthenticStanza, Repeated, UnusableStanza.
    """
    way, accepted, content = opened(session.receiving, session.accepted, c)
    return Session(session.agreed, session.sending, way, accepted, confirmed=True), content


def opened(
    way: ReceivingDirection, accepted: bytes, c: Element
) -> tuple[ReceivingDirection, bytes, tuple[Element, ...]]:
    """`open_stanza` for a direction alone; `accepted` are the marks of stanzas accepted."""
    stanza = read_encrypted(c)
    mark = stanza.mac[:_MARK]
    counter = from_octets(way.counter)
    if not _authentic(way, counter, stanza):
        if mark in (accepted[i : i + _MARK] for i in range(0, len(accepted), _MARK)):
            raise Repeated
        raise UnauthenticStanza
    if stanza.rekeys:
        raise UnusableStanza(BadStanza.REKEYED)
    after, content = _decrypted(way, counter, stanza.data)
    return after, (accepted + mark)[-_TAIL:], content


def read_encrypted(c: Element) -> EncryptedContent:
    """The parts of a `<c/>` element. Raises MalformedStanza."""
    covered = ""
    found: dict[str, bytes] = {}
    for child in c.children:
        if isinstance(child, str):
            _require_blank(child)
            continue
        text = _only_text(child)
        name = child.name
        if name in found and name != "old":
            raise MalformedStanza
        found[name] = _octets(name, text)
        if name != "mac":
            covered += f"<{name}>{text}</{name}>"
    mac = found.get("mac", b"")
    if len(mac) != MAC:
        raise MalformedStanza
    return EncryptedContent(covered.encode(), found.get("data", b""), mac, "key" in found)


def _require_blank(between: str) -> None:
    if between.strip(_BLANK):
        raise MalformedStanza


def _only_text(child: Element) -> str:
    """The text of a plain child of `<c/>`: no attributes, nothing inside."""
    if child.namespace != names.STANZA or child.attributes or len(child.children) > 1:
        raise MalformedStanza
    text = child.children[0] if child.children else ""
    if not isinstance(text, str) or len(text) > 2 * MAX_CONTENT:
        raise MalformedStanza
    return text


def _octets(name: str, text: str) -> bytes:
    """What a child of `<c/>` holds. Raises MalformedStanza when there may be no such child."""
    if name == "new" and text.isascii() and text.isdigit():
        return b""
    octets: bytes | None = None
    if name in _BASE64:
        try:
            octets = binascii.a2b_base64(text.strip(_BLANK), strict_mode=True)
        except ValueError:
            octets = None
    if octets is None:
        raise MalformedStanza
    return octets


def _authentic(way: ReceivingDirection, counter: int, stanza: EncryptedContent) -> bool:
    """Whether the MAC is right, over the counter in either encoding; the caller raises when it is not."""
    if same(hmac_sha256(way.mac_key, stanza.covered, mpi(counter)), stanza.mac):
        return True
    return same(hmac_sha256(way.mac_key, stanza.covered, counter_octets(counter)), stanza.mac)


def _decrypted(way: ReceivingDirection, counter: int, data: bytes) -> tuple[ReceivingDirection, tuple[Element, ...]]:
    if not data:
        raise UnusableStanza(BadStanza.CONTENT)
    content = None
    after = way
    for used in dict.fromkeys((way.used, 0)):  # a peer of the letter begins a block although the last was not full
        try:
            content = parse_content(_plain(way, counter, used, data))
        except MalformedXml:
            continue
        after = _advanced(way, counter, used, len(data))
        break
    if content is None:
        raise UnusableStanza(BadStanza.CONTENT)
    return after, content


def _plain(way: ReceivingDirection, counter: int, used: int, data: bytes) -> bytes:
    first = counter + way.first_block - (1 if used else 0)
    return counter_mode(way.cipher_key, first, data, skip=used)


def _advanced(way: ReceivingDirection, counter: int, used: int, size: int) -> ReceivingDirection:
    blocks = (used + size + BLOCK - 1) // BLOCK - (1 if used else 0)
    if way.blocks + blocks > MAX_BLOCKS:
        raise UnusableStanza(BadStanza.EXHAUSTED)
    rest = (used + size) % BLOCK if way.runs_on else 0
    return ReceivingDirection(
        way.cipher_key,
        way.mac_key,
        counter_octets(counter + blocks),
        way.first_block,
        way.runs_on,
        rest,
        way.blocks + blocks,
    )
