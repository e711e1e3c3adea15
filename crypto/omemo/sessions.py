"""Sessions with one device: the one in use, and those before it, which still open what was under way.

Both ends may begin a session at once, and a client that was restored from a backup begins anew: what was sent in the
session before must not be lost.
"""

from dataclasses import dataclass, field, replace

from crypto.omemo import agreement, curve, ratchet
from crypto.omemo.device import Device, Keys
from crypto.omemo.faults import BadBundle, Replayed, TooManySkipped, Undecryptable, UnknownPreKey, WrongIdentity
from crypto.omemo.frames import KeyExchange, encoded_key, exchange_octets, read_frame
from crypto.omemo.model import Bundle, Peer
from crypto.omemo.names import HEARTBEAT, KEPT_SESSIONS, LEFT_KEYS, MAX_SKIPPED, REDUCED_SKIPPED, Namespace
from crypto.omemo.ratchet import Ratchet, Turn
from crypto.omemo.store import Draw, Store


@dataclass(frozen=True, slots=True)
class Session:
    """A session. `identity` is the peer's key as a point of Curve25519, `encoded` as the form authenticates it.

    `begun_here`: we are the initiator; then `exchange` goes with each message until the peer has answered
    (`confirmed`). `epoch`: when our present sending key was made (Device.epoch). `left`: ratchet keys of the peer's
    that it had before, the oldest first. `cut`: keys of missing messages were dropped; what has no key any more may be
    one of those, and no repetition.
    """

    identity: bytes
    encoded: bytes
    begun_here: bool
    confirmed: bool
    exchange: KeyExchange
    epoch: int
    ratchet: Ratchet
    left: tuple[bytes, ...] = ()
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Sessions:
    """All that are kept with one device, the one in use first."""

    kept: tuple[Session, ...] = field(default=())

    def used(self, session: Session, instead: Session | None = None) -> "Sessions":
        """With `session` in use; it takes the place of `instead`, or is new.

        All together keep as many keys of missing messages as one may: a step writes the sessions of many devices.
        """
        rest = [each for each in self.kept if each is not instead][: KEPT_SESSIONS - 1]
        room = MAX_SKIPPED - len(session.ratchet.skipped)
        for place, each in enumerate(rest):
            rest[place] = _with_skipped(each, room)
            room -= len(rest[place].ratchet.skipped)
        return Sessions((session, *rest))

    def opened(self, read: "Read", epoch: int) -> "Sessions":
        """After a message was opened: its session is in use from now on.

        Unless we gave that one up after a restart (its `epoch` is not ours) and began another, which goes with each
        message until the peer answers in it: many clients keep one session only, and have the new one by then.
        """
        first = self.kept[0] if self.kept else None
        held = (
            first is not None
            and read.instead is not None
            and read.instead is not first
            and (first.begun_here and not first.confirmed and first.epoch == epoch)
            and read.instead.epoch != epoch
        )
        if first is None or read.instead is None or not held:
            return self.used(read.session, read.instead)
        return self.used(replace(read.session, epoch=read.instead.epoch), read.instead).used(first, first)

    def reduced(self) -> "Sessions":
        """The one in use, with few keys of missing messages."""
        return Sessions(tuple(_with_skipped(each, REDUCED_SKIPPED) for each in self.kept[:1]))

    def bare(self) -> "Sessions":
        """The one in use, without any key of a missing message."""
        return Sessions(tuple(_with_skipped(each, 0) for each in self.kept[:1]))


def _with_skipped(session: Session, most: int) -> Session:
    """With the newest so many keys of missing messages."""
    skipped = session.ratchet.skipped
    if len(skipped) <= most:
        return session
    return replace(session, ratchet=replace(session.ratchet, skipped=skipped[len(skipped) - max(0, most) :]), cut=True)


SESSION = "session/"
"""How the names of the records of sessions begin."""


def name_of(peer: Peer) -> str:
    """The name of the record."""
    return f"{SESSION}{peer.namespace.short}/{peer.device_id}/{peer.jid}"


def kept_with(store: Store, peer: Peer) -> Sessions:
    """The sessions with a device."""
    return store.get(name_of(peer), Sessions) or Sessions()


def in_use(store: Store, peer: Peer, epoch: int) -> Session | None:
    """The session that may be sent in, None when one has to be begun."""
    kept = kept_with(store, peer).kept
    return kept[0] if kept and kept[0].epoch == epoch else None


@dataclass(frozen=True, slots=True)
class Read:
    """What came of the part of a message that was for us."""

    key: bytes = field(repr=False)
    session: Session
    instead: Session | None
    heartbeat: bool


def require_known(identity: bytes, known: bytes | None) -> None:
    """Raises WrongIdentity when another key is known of the device."""
    if known is not None and known != identity:
        raise WrongIdentity


# ---------------------------------------------------------------- beginning
def begun(device: Device, draw: Draw, bundle: Bundle, plaintext: bytes) -> tuple[Session, bytes]:
    """A session from a bundle, and its first message. Raises BadBundle."""
    if not bundle.prekeys:
        raise BadBundle
    chosen = bundle.prekeys[int.from_bytes(draw("omemo-choice", 8), "big") % len(bundle.prekeys)]
    ephemeral = draw("omemo-ephemeral", 32)
    offered = agreement.Offered(bundle.identity_key, bundle.signed_key, chosen.public)
    encoded = _encoded(bundle)
    turn = Turn(bundle.namespace, draw, _own(bundle.namespace, device) + encoded)
    made: tuple[Ratchet, bytes] | None = None
    try:
        secret = agreement.initiated(bundle.namespace, device.identity, ephemeral, offered)
        made = ratchet.begun(turn, secret, bundle.signed_key, plaintext)
    except Undecryptable:
        made = None
    if made is None:
        raise BadBundle
    own = _own_plain(bundle.namespace, device)
    exchange = KeyExchange(chosen.id, bundle.signed_id, own, curve.public_key(ephemeral))
    session = Session(bundle.identity_key, encoded, True, False, exchange, device.epoch, made[0])
    return session, exchange_octets(bundle.namespace, exchange, made[1])


def accepted(
    device: Device, keys: Keys, exchange: KeyExchange, octets: bytes, *, namespace: Namespace, draw: Draw
) -> Read:
    """A session that a peer begins, and what its first message says. Raises OmemoError."""
    signed, prekey = keys.signed_prekey(exchange.signed_id), keys.prekey(exchange.prekey_id)
    if signed is None or prekey is None:
        raise UnknownPreKey
    identity = identity_of(namespace, exchange)
    secrets = agreement.Own(device.identity, signed.private, prekey.private)
    secret = agreement.accepted(namespace, secrets, identity, exchange.ephemeral)
    encoded = encoded_key(namespace, exchange.identity)
    turn = Turn(namespace, draw, encoded + _own(namespace, device))
    state, key = ratchet.answered(turn, secret, signed.private, octets)
    return Read(key, Session(identity, encoded, False, True, exchange, device.epoch, state), None, False)


def identity_of(namespace: Namespace, exchange: KeyExchange) -> bytes:
    """The initiator's identity key as a point of Curve25519. Raises Undecryptable."""
    if namespace is Namespace.AXOLOTL:
        return exchange.identity
    identity = curve.agreement_key(exchange.identity)
    if identity is None:
        raise Undecryptable
    return identity


# ---------------------------------------------------------------- going on
def sealed(
    device: Device, namespace: Namespace, draw: Draw, session: Session, plaintext: bytes
) -> tuple[Session, bytes, bool]:
    """The session after it, the part of a message for its device, and whether that brings a key exchange."""
    turn = Turn(namespace, draw, _identities(device, namespace, session, sending=True))
    state, octets = ratchet.sealed(turn, session.ratchet, plaintext)
    exchanging = session.begun_here and not session.confirmed
    if exchanging:
        octets = exchange_octets(namespace, session.exchange, octets)
    return replace(session, ratchet=state), octets, exchanging


def opened(device: Device, namespace: Namespace, draw: Draw, session: Session, octets: bytes) -> Read:
    """What a message in this session says. Raises OmemoError."""
    turn = Turn(namespace, draw, _identities(device, namespace, session, sending=False))
    before, found = session.ratchet, None
    try:
        _require_unused(session, namespace, octets)
        found = ratchet.opened(turn, before, octets)
    except Replayed:
        found = None
    if found is None:
        raise TooManySkipped if session.cut else Replayed
    state, key = found
    full = len(state.skipped) >= MAX_SKIPPED  # the ratchet dropped the oldest, or will
    moved = state.own_key != before.own_key
    epoch = device.epoch if moved else session.epoch
    left = (*session.left, before.their_key)[-LEFT_KEYS:] if moved else session.left
    state = replace(
        state, skipped=tuple(each for each in state.skipped if each.ratchet_key in (*left, state.their_key))
    )
    after = replace(session, ratchet=state, confirmed=True, epoch=epoch, left=left, cut=session.cut or full)
    earlier = 0 if moved else _length(before)
    return Read(key, after, session, earlier <= HEARTBEAT < _length(state))


def _require_unused(session: Session, namespace: Namespace, octets: bytes) -> None:
    """Raises Replayed for a message under a ratchet key that was left behind, unless its own key was kept.

    The ratchet would take it for a step to a new key, and find only that it does not open.
    """
    frame = read_frame(namespace, octets)
    place = (frame.ratchet_key, frame.counter)
    if frame.ratchet_key in session.left and place not in [(s.ratchet_key, s.counter) for s in session.ratchet.skipped]:
        raise Replayed


def _length(state: Ratchet) -> int:
    return 0 if state.receiving is None else state.receiving.length


def opened_in_any(device: Device, namespace: Namespace, draw: Draw, kept: Sessions, octets: bytes) -> Read:
    """What a message says, in whichever session it is. Raises OmemoError."""
    faults: set[type[Exception]] = set()
    for session in kept.kept:
        try:
            return opened(device, namespace, draw, session, octets)
        except (Replayed, TooManySkipped, Undecryptable) as error:
            faults.add(type(error))
    for fault in (Replayed, TooManySkipped):
        if fault in faults:
            raise fault
    raise Undecryptable


def same_begun(kept: Sessions, exchange: KeyExchange) -> Session | None:
    """The session that this very key exchange made before."""
    return next((each for each in kept.kept if not each.begun_here and each.exchange == exchange), None)


# ---------------------------------------------------------------- what is authenticated with each message
def _own_plain(namespace: Namespace, device: Device) -> bytes:
    return device.public if namespace is Namespace.AXOLOTL else device.signing


def _own(namespace: Namespace, device: Device) -> bytes:
    return encoded_key(namespace, _own_plain(namespace, device))


def _encoded(bundle: Bundle) -> bytes:
    older = bundle.namespace is Namespace.AXOLOTL
    return encoded_key(bundle.namespace, bundle.identity_key if older else bundle.signing_key)


def _identities(device: Device, namespace: Namespace, session: Session, *, sending: bool) -> bytes:
    """omemo:2: the initiator's key, then the responder's. The older form: the sender's, then the receiver's."""
    own_first = session.begun_here if namespace is Namespace.OMEMO_2 else sending
    own = _own(namespace, device)
    return own + session.encoded if own_first else session.encoded + own
