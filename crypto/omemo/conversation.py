"""Messages of OMEMO's: encrypted for devices, decrypted from one. Sessions are begun, kept and healed here.

All functions put what they change only when they succeed; a step that repeats them on the old records repeats their
effect, with the same draws exactly.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from crypto.errors import Misuse
from crypto.omemo import elements, payloads, sessions
from crypto.omemo.bundles import require_signed
from crypto.omemo.device import Device, device_of, keys_name, keys_of
from crypto.omemo.faults import BadBundle, NoSession, NotForUs, OmemoError, Undecryptable, WrongIdentity
from crypto.omemo.frames import read_exchange
from crypto.omemo.model import Bundle, Encrypted, Key, Message, Opened, Peer, Recipient, Refused
from crypto.omemo.names import Namespace
from crypto.omemo.sessions import Read, Sessions, kept_with, name_of
from crypto.omemo.store import Draw, Store
from crypto.xml import Element

_MOST_TRIED = 2
"""Parts of one message that may name our device: in the older form another account's can have its id."""


# ---------------------------------------------------------------- sending
def missing_sessions(store: Store, peers: Iterable[Peer]) -> tuple[Peer, ...]:
    """Those whose bundle is needed before anything can be encrypted for them."""
    epoch = device_of(store).epoch
    return tuple(peer for peer in peers if sessions.in_use(store, peer, epoch) is None)


@dataclass(frozen=True, slots=True)
class _Written:
    """What was encrypted for one device."""

    peer: Peer
    key: Key
    kept: Sessions = field(repr=False)


def encrypted(
    store: Store, draw: Draw, content: Mapping[Namespace, bytes], recipients: Sequence[Recipient]
) -> Encrypted:
    """The content for all these devices: one `<encrypted/>` for each form in which at least one is reached.

    `content`: in the older form the text of the body, in omemo:2 an envelope. Raises Misuse when what a recipient's
    form needs is missing, or a device is named twice.
    """
    if len({each.peer for each in recipients}) != len(recipients):
        raise Misuse("a device is named twice")
    device = device_of(store)
    found: dict[Namespace, Element] = {}
    refused: list[Refused] = []
    written: list[_Written] = []
    for namespace in Namespace:
        addressed = [each for each in recipients if each.peer.namespace is namespace]
        if not addressed:
            continue
        if namespace not in content:
            raise Misuse("a form has recipients and no content")
        iv, payload, key = payloads.sealed(namespace, content[namespace], draw)
        reached = []
        for recipient in addressed:
            try:
                reached.append(_written(store, device, draw, recipient, key))
            except (BadBundle, NoSession, WrongIdentity) as error:
                refused.append(Refused(recipient.peer, error.code))
        if reached:
            found[namespace] = _element(device, namespace, reached, iv, payload)
        written += reached
    for each in written:
        store.put(name_of(each.peer), each.kept)
    return Encrypted(found, tuple(refused))


def empty(store: Store, draw: Draw, peer: Peer, *, bundle: Bundle | None = None, known: bytes | None = None) -> Element:
    """A message without content: an answer, a heartbeat. With a bundle: in a new session, to heal a broken one.

    Raises NoSession, BadBundle, WrongIdentity.
    """
    device = device_of(store)
    iv, key = payloads.empty(peer.namespace, draw)
    written = _written(store, device, draw, Recipient(peer, bundle, known), key, anew=bundle is not None)
    store.put(name_of(peer), written.kept)
    return _element(device, peer.namespace, [written], iv, None)


def _written(
    store: Store, device: Device, draw: Draw, recipient: Recipient, key: bytes, *, anew: bool = False
) -> _Written:
    peer, bundle = recipient.peer, recipient.bundle
    kept = kept_with(store, peer)
    session = None if anew else sessions.in_use(store, peer, device.epoch)
    if session is not None:
        sessions.require_known(session.identity, recipient.known)
        after, octets, exchanging = sessions.sealed(device, peer.namespace, draw, session, key)
        return _Written(peer, Key(peer.jid, peer.device_id, exchanging, octets), kept.used(after, session))
    if bundle is None:
        raise NoSession
    if bundle.namespace is not peer.namespace:
        raise BadBundle
    sessions.require_known(bundle.identity_key, recipient.known)
    require_signed(bundle)
    after, octets = sessions.begun(device, draw, bundle, key)
    return _Written(peer, Key(peer.jid, peer.device_id, True, octets), kept.used(after))


def _element(
    device: Device, namespace: Namespace, reached: Sequence[_Written], iv: bytes | None, payload: bytes | None
) -> Element:
    return elements.message_element(Message(namespace, device.id, tuple(each.key for each in reached), iv, payload))


# ---------------------------------------------------------------- receiving
def decrypted(
    store: Store, draw: Draw, message: Message, *, own_jid: str, sender_jid: str, known: bytes | None = None
) -> Opened:
    """What a message says. `known`: the identity key that its device must have.

    JIDs are bare and in their normal form. The sender is who the stanza says: the part of the message that is for us
    proves only that it comes from the device with this identity key. Raises OmemoError; then nothing changes.
    """
    peer = Peer(message.namespace, sender_jid, message.sender_device)
    arrival = _Arrival(store, device_of(store), draw, message, peer, known)
    fault: OmemoError = NotForUs()
    for key in _for_us(message, own_jid, arrival.device.id):
        try:
            return arrival.opened(key)
        except OmemoError as error:
            fault = type(error)()
    raise fault


def _for_us(message: Message, own_jid: str, device_id: int) -> list[Key]:
    ours = [key for key in message.keys if key.device_id == device_id and key.jid in (None, own_jid)]
    return ours[:_MOST_TRIED]


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A message that came, and what is needed to open it."""

    store: Store
    device: Device
    draw: Draw
    message: Message
    peer: Peer
    known: bytes | None

    def opened(self, key: Key) -> Opened:
        """What the message says, by one part of it. Raises OmemoError."""
        namespace, kept = self.peer.namespace, kept_with(self.store, self.peer)
        used: int | None = None
        if key.prekey:
            read, used = self._exchanged(kept, key.octets)
        elif kept.kept:
            read = sessions.opened_in_any(self.device, namespace, self.draw, kept, key.octets)
        else:
            raise NoSession
        sessions.require_known(read.session.identity, self.known)
        plaintext = None
        if self.message.payload is not None:
            plaintext = payloads.opened(namespace, self.message.iv, self.message.payload, read.key)
        elif payloads.is_for_payload(namespace, read.key):
            raise Undecryptable
        self.store.put(name_of(self.peer), kept.opened(read, self.device.epoch))
        new = used is not None
        if used is not None:
            self.store.put(keys_name(namespace), keys_of(self.store, namespace).without(used))
        return Opened(plaintext, self.peer, read.session.identity, key.prekey, new, new or read.heartbeat, new)

    def _exchanged(self, kept: Sessions, octets: bytes) -> tuple[Read, int | None]:
        """What a key exchange brings, and the id of the prekey it uses up, None when it made its session before."""
        namespace = self.peer.namespace
        exchange, inner = read_exchange(namespace, octets)
        before = sessions.same_begun(kept, exchange)
        if before is not None:
            return sessions.opened(self.device, namespace, self.draw, before, inner), None
        sessions.require_known(sessions.identity_of(namespace, exchange), self.known)
        keys = keys_of(self.store, namespace)
        read = sessions.accepted(self.device, keys, exchange, inner, namespace=namespace, draw=self.draw)
        return read, exchange.prekey_id


# ---------------------------------------------------------------- looking after sessions
def session_identity(store: Store, peer: Peer) -> bytes | None:
    """The identity key (Curve25519) of the session in use with a device."""
    kept = kept_with(store, peer).kept
    return kept[0].identity if kept else None


def reduced(store: Store, peer: Peer) -> None:
    """Of the sessions with a device that is not believed, the one in use stays, with few keys of missing messages."""
    store.put(name_of(peer), kept_with(store, peer).reduced())


def forgotten(store: Store, peer: Peer) -> None:
    """All sessions with a device are gone."""
    store.delete(name_of(peer))
