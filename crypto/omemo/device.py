"""A device of OMEMO's: its identity key, one for both forms, and for each form its signed prekeys and prekeys."""

from dataclasses import dataclass, field, replace

from crypto.errors import Misuse
from crypto.omemo import curve
from crypto.omemo.frames import encoded_key
from crypto.omemo.model import Bundle, PreKey
from crypto.omemo.names import MAX_DEVICE_ID, PREKEYS, SIGNED_PREKEY_MS, Namespace
from crypto.omemo.store import Draw, Store

DEVICE = "device"
_MOST_ID = (1 << 24) - 1
"""Ids of prekeys go round here: libsignal's are not larger."""


@dataclass(frozen=True, slots=True)
class Device:
    """The device. `seed`: what the identity key is made from; its public forms, often used, stand beside it.

    `public` is its point of Curve25519, `signing` that of Ed25519. `epoch`: how often its sessions were retired.
    """

    id: int
    seed: bytes = field(repr=False)
    public: bytes
    signing: bytes
    epoch: int = 0

    @property
    def identity(self) -> bytes:
        """The private identity key: 32 octets."""
        return curve.private_key(self.seed)


@dataclass(frozen=True, slots=True)
class SignedPreKey:
    """A signed prekey; the signature is over its public part as the form encodes it."""

    id: int
    private: bytes = field(repr=False)
    signature: bytes


@dataclass(frozen=True, slots=True)
class OneTimeKey:
    """A prekey that nobody has used yet."""

    id: int
    private: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keys:
    """The prekeys of one form. `before`: the signed prekey before this one. `used`: some are gone since the upkeep."""

    signed: SignedPreKey
    before: SignedPreKey | None
    since_ms: int
    prekeys: tuple[OneTimeKey, ...]
    next_id: int
    used: bool = False

    def prekey(self, id_: int) -> OneTimeKey | None:
        """The prekey of that id."""
        return next((key for key in self.prekeys if key.id == id_), None)

    def signed_prekey(self, id_: int) -> SignedPreKey | None:
        """The signed prekey of that id, the present one or the one before."""
        return next((key for key in (self.signed, self.before) if key is not None and key.id == id_), None)

    def without(self, id_: int) -> "Keys":
        """After a prekey was used: it never is again."""
        return replace(self, prekeys=tuple(key for key in self.prekeys if key.id != id_), used=True)


@dataclass(frozen=True, slots=True)
class Own:
    """Who this device is. `identity_key`: 32 octets, Curve25519, what fingerprints are made of."""

    device_id: int
    identity_key: bytes


def device_from(device_id: int, seed: bytes) -> Device:
    """The device whose identity key is made from 32 secret octets."""
    public = curve.public_key(curve.private_key(seed))
    return Device(device_id, seed, public, curve.signing_key(public))


def keys_name(namespace: Namespace) -> str:
    """The name of the record that holds the prekeys of a form."""
    return f"keys/{namespace.short}"


def drawn_device_id(draw: Draw) -> int:
    """A new device id: 1 to 2^31 - 1."""
    return 1 + int.from_bytes(draw("omemo-device-id", 8), "big") % MAX_DEVICE_ID


def created(store: Store, draw: Draw, *, device_id: int, now_ms: int) -> None:
    """Make the device. Raises Misuse when there is one: its identity is for good."""
    if store.get(DEVICE, Device) is not None or not 1 <= device_id <= MAX_DEVICE_ID:
        raise Misuse("there is a device already, or the id is none")
    device = device_from(device_id, draw("omemo-identity", 32))
    store.put(DEVICE, device)
    for namespace in Namespace:
        signed = _signed_prekey(device, namespace, 1, draw)
        store.put(keys_name(namespace), _refilled(Keys(signed, None, now_ms, (), 1), draw))


def device_of(store: Store) -> Device:
    """The device. Raises Misuse when there is none."""
    device = store.get(DEVICE, Device)
    if device is None:
        raise Misuse("there is no device")
    return device


def keys_of(store: Store, namespace: Namespace) -> Keys:
    """Its prekeys. Raises Misuse when there are none."""
    keys = store.get(keys_name(namespace), Keys)
    if keys is None:
        raise Misuse("there is no device")
    return keys


def own(store: Store) -> Own | None:
    """Who this device is, None before it was made."""
    device = store.get(DEVICE, Device)
    return None if device is None else Own(device.id, device.public)


def public_bundle(store: Store, namespace: Namespace) -> Bundle:
    """What it publishes."""
    keys = keys_of(store, namespace)
    device = device_of(store)
    return Bundle(
        namespace,
        device.public,
        device.signing,
        keys.signed.id,
        curve.public_key(keys.signed.private),
        keys.signed.signature,
        tuple(PreKey(key.id, curve.public_key(key.private)) for key in keys.prekeys),
    )


def maintained(store: Store, draw: Draw, now_ms: int) -> tuple[Namespace, ...]:
    """Upkeep: the signed prekey is changed once in a week, prekeys that were used are made up for.

    Returns the forms whose bundles changed and are to be published.
    """
    device = device_of(store)
    changed = []
    for namespace in Namespace:
        keys = keys_of(store, namespace)
        if now_ms - keys.since_ms >= SIGNED_PREKEY_MS:
            signed = _signed_prekey(device, namespace, _after(keys.signed.id), draw)
            keys = replace(keys, signed=signed, before=keys.signed, since_ms=now_ms, used=True)
        if keys.used:
            store.put(keys_name(namespace), _refilled(keys, draw))
            changed.append(namespace)
    return tuple(changed)


def retired(store: Store) -> None:
    """No session that there is now is sent in again until its ratchet has moved on by its peer's doing.

    For a state that may be older than what went out: a message key would be used twice.
    """
    device = device_of(store)
    store.put(DEVICE, replace(device, epoch=device.epoch + 1))


def _signed_prekey(device: Device, namespace: Namespace, id_: int, draw: Draw) -> SignedPreKey:
    private = draw("omemo-signed-prekey", 32)
    text = encoded_key(namespace, curve.public_key(private))
    return SignedPreKey(id_, private, curve.signature(device.identity, text, draw))


def _refilled(keys: Keys, draw: Draw) -> Keys:
    prekeys, id_ = list(keys.prekeys), keys.next_id
    while len(prekeys) < PREKEYS:
        prekeys.append(OneTimeKey(id_, draw("omemo-prekey", 32)))
        id_ = _after(id_)
    return replace(keys, prekeys=tuple(prekeys), next_id=id_, used=False)


def _after(id_: int) -> int:
    return id_ % _MOST_ID + 1
