"""What passes between the engine and the half: peers, bundles, device lists, messages."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from crypto.omemo.names import Namespace
from crypto.xml import Element


@dataclass(frozen=True, slots=True)
class Peer:
    """A device of somebody else's, in one form of OMEMO. `jid`: bare, in its normal form."""

    namespace: Namespace
    jid: str
    device_id: int


@dataclass(frozen=True, slots=True)
class PreKey:
    """A public prekey: 32 octets, Curve25519."""

    id: int
    public: bytes


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a device publishes so that others can begin sessions with it. All keys have 32 octets.

    `identity_key` is the identity key as a point of Curve25519, `signing_key` the same as one of Ed25519;
    `signature` (64 octets, EdDSA) is theirs over `signed_key`, as the form encodes it.
    """

    namespace: Namespace
    identity_key: bytes
    signing_key: bytes
    signed_id: int
    signed_key: bytes
    signature: bytes
    prekeys: tuple[PreKey, ...]


@dataclass(frozen=True, slots=True)
class ListedDevice:
    """An entry of a device list. A label counts only when its signature verifies: see `label_is_signed`."""

    id: int
    label: str | None = None
    label_signature: bytes | None = None


@dataclass(frozen=True, slots=True)
class DeviceList:
    """The devices that an account announces."""

    namespace: Namespace
    devices: tuple[ListedDevice, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        """Their ids."""
        return tuple(device.id for device in self.devices)


@dataclass(frozen=True, slots=True)
class Key:
    """The part of a message that is for one device. `jid`: whose it is, where the form says so."""

    jid: str | None
    device_id: int
    prekey: bool
    octets: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """`<encrypted/>`. `payload` is None in messages that only carry keys; `iv` is None in omemo:2."""

    namespace: Namespace
    sender_device: int
    keys: tuple[Key, ...]
    iv: bytes | None = field(default=None, repr=False)
    payload: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Recipient:
    """A device to encrypt for. `bundle`: to begin a session from; `known`: the identity key that it must have."""

    peer: Peer
    bundle: Bundle | None = None
    known: bytes | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A device that nothing could be encrypted for, and why."""

    peer: Peer
    code: str


@dataclass(frozen=True, slots=True)
class Encrypted:
    """One `<encrypted/>` for each form that somebody is reached in."""

    elements: Mapping[Namespace, Element]
    refused: tuple[Refused, ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """What came of a message. Nothing is said here about whether its sender is trusted.

    `plaintext`: None when it only carried keys. `identity_key`: of the sending device, Curve25519. `prekey`: it came
    with what makes a session; `new_session`: one was made from it. `answer_due`: an empty message should go back.
    `keys_used`: a prekey is gone, the bundle is to be maintained and published.
    """

    plaintext: bytes | None = field(repr=False)
    peer: Peer
    identity_key: bytes
    prekey: bool
    new_session: bool
    answer_due: bool
    keys_used: bool
