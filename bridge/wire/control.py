"""What crosses the control channel of the enclave: supervisor <-> enclave. A closed union each way."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from bridge.wire.values import AccountId, AddressText, ContactId, Name, OpaqueId, Strict

AssuranceName = Literal["end-to-end", "end-to-end-no-forward-secrecy", "transport", "none"]
MAX_ACCOUNTS = 1024
MAX_OPTION = 400 << 10
"""Characters of the longest option: a certificate of 256 KiB in base64."""
MAX_OPTIONS = 64


# ---------------------------------------------------------------- supervisor -> enclave (trusted)
class Option(Strict):
    """One setting of the near network's sessions, as a flat text; some are secrets."""

    name: Name
    value: str = Field(max_length=MAX_OPTION, repr=False)


Options = Annotated[tuple[Option, ...], Field(max_length=MAX_OPTIONS, repr=False)]


class ContactMap(Strict):
    """One contact of the operator's map."""

    id: ContactId
    network: Name
    address: AddressText
    alias: AddressText
    require: AssuranceName
    options: Options = ()
    """What differs from the account's."""


class FarAddress(Strict):
    """The user's own address on a far network."""

    network: Name
    address: AddressText


class AccountMap(Strict):
    """One account of the operator's map. `slot` is its place in the shared register."""

    id: AccountId
    slot: int = Field(ge=0, lt=MAX_ACCOUNTS)
    near_network: Name
    near_address: AddressText
    far_addresses: tuple[FarAddress, ...]
    contacts: tuple[ContactMap, ...]
    options: Options = ()


class EnclaveConfigure(Strict):
    """First order to an enclave: the sealing key and the map. `adapters` names the inside halves to load from."""

    t: Literal["configure"] = "configure"
    sealing_key: bytes = Field(min_length=32, max_length=32, repr=False)
    accounts: tuple[AccountMap, ...] = Field(max_length=MAX_ACCOUNTS)


class EnclaveRemap(Strict):
    """The operator changed the map."""

    t: Literal["remap"] = "remap"
    accounts: tuple[AccountMap, ...] = Field(max_length=MAX_ACCOUNTS)


class AskStatus(Strict):
    """How do the legs stand?"""

    t: Literal["ask-status"] = "ask-status"
    nonce: int = Field(ge=0, lt=1 << 53)


SasText = Annotated[str, StringConstraints(pattern=r"^[a-z0-9 ]{1,64}$")]
IdentityKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]{43}$")]
"""A public key of 32 octets, unpadded base64."""
RecoverySecret = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Fingerprint = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A public key of 32 octets, in hexadecimal digits, as OMEMO clients show it."""
MAX_DEVICES_TOLD = 64


class TrustDecision(Strict):
    """The operator decided about a contact's leg."""

    t: Literal["trust"] = "trust"
    nonce: int = Field(ge=0, lt=1 << 53)
    account: AccountId
    contact: ContactId
    network: Name
    decision: Literal["verify", "verify-weak-string", "approve", "distrust"]
    """`verify-weak-string`: `verify`, with consent to a string that somebody between can try out."""
    sas: SasText | None = None
    """The string that was compared, where the leg has one: the decision holds for no other session."""
    key: IdentityKey | None = None
    """The identity that was compared, where the leg has one: the decision holds for no other."""
    device_key: Fingerprint | None = None
    """The key of one of the user's devices: the decision is about that, and about nothing else."""


class ShowRecoveryKey(Strict):
    """The operator wants the recovery key of an account's own identity, which is shown once."""

    t: Literal["show-recovery-key"] = "show-recovery-key"
    nonce: int = Field(ge=0, lt=1 << 53)
    account: AccountId
    network: Name


class Recover(Strict):
    """Join the identity that the account has on a network already. Answered by Decided."""

    t: Literal["recover"] = "recover"
    nonce: int = Field(ge=0, lt=1 << 53)
    account: AccountId
    network: Name
    secret: RecoverySecret = Field(repr=False)
    """Its recovery key or passphrase."""


class Verify(Strict):
    """The operator takes part in the verification of a contact (adapters.inside_api.Verifying)."""

    t: Literal["verify"] = "verify"
    nonce: int = Field(ge=0, lt=1 << 53)
    account: AccountId
    contact: ContactId
    network: Name
    action: Literal["begin", "begin-to-device", "begin-code", "show", "match", "differ", "cancel"]
    compared: SasText | None = None
    """The mark of what was shown: the decision holds for no other verification."""


ToEnclaveControl = Annotated[
    EnclaveConfigure | EnclaveRemap | AskStatus | TrustDecision | ShowRecoveryKey | Recover | Verify,
    Field(discriminator="t"),
]


# ---------------------------------------------------------------- enclave -> supervisor
class Measure(Strict):
    """One measure of the lockdown: whether it was reached, and the error number when it was not."""

    name: Name
    achieved: bool
    errno: int = Field(default=0, ge=0, lt=4096)


class Locked(Strict):
    """First word of an enclave, before it read a byte: what its lockdown achieved, and whether that is enough."""

    t: Literal["locked"] = "locked"
    measures: tuple[Measure, ...]
    sufficient: bool


class Configured(Strict):
    """The map was taken."""

    t: Literal["configured"] = "configured"


class PeerIdentity(Strict):
    """The identity of a contact (adapters.inside_api.PeerIdentity)."""

    state: Literal["none", "pinned", "verified", "changed", "gone"]
    key: IdentityKey | None
    served: tuple[OpaqueId, ...] = Field(max_length=MAX_DEVICES_TOLD)
    withheld: tuple[OpaqueId, ...] = Field(max_length=MAX_DEVICES_TOLD)
    rotated_ms: int = Field(ge=0)


class OwnIdentity(Strict):
    """The account's own identity on a network (adapters.inside_api.OwnIdentity)."""

    account: AccountId
    network: Name
    state: Literal["none", "preparing", "ours", "elsewhere", "replaced"]
    key: IdentityKey | None
    recovery_key: Literal["none", "to-show", "shown"]
    problem: Name | None
    recovered: Name | None
    backup: Name = "none"


class Proof(Strict):
    """Why an identity or a session is believed (adapters.inside_api.Proof)."""

    how: Name
    by: Name
    at_ms: int = Field(ge=0)


class UserDevice(Strict):
    """A device of the user's (adapters.inside_api.UserDevice)."""

    id: int = Field(ge=0, lt=1 << 32)
    state: Name
    key: Fingerprint | Literal[""]
    active: bool
    by: Name = "nobody"
    voucher: int = Field(default=0, ge=0, lt=1 << 32)


class ContactDevice(Strict):
    """The device that stands for a contact (adapters.inside_api.ContactDevice)."""

    id: int = Field(ge=0, lt=1 << 32)
    key: Fingerprint
    devices: tuple[UserDevice, ...] = Field(default=(), max_length=MAX_DEVICES_TOLD)


class Leg(Strict):
    """One leg to one contact (adapters.inside_api.LegStatus)."""

    account: AccountId
    contact: ContactId
    network: Name
    assurance: AssuranceName
    state: Name
    verified: bool
    sas: SasText | None
    sas_bound: bool = False
    peer: AddressText | None
    waiting: int = Field(ge=0)
    identity: PeerIdentity | None = None
    proof: Proof | None = None
    device: ContactDevice | None = None


class Counter(Strict):
    """How often a report code came."""

    code: Name
    count: int = Field(ge=0)


class Status(Strict):
    """Answer to AskStatus. `unloaded` lists accounts whose state is not in memory."""

    t: Literal["status"] = "status"
    nonce: int
    legs: tuple[Leg, ...]
    counters: tuple[Counter, ...]
    unloaded: tuple[AccountId, ...]
    identities: tuple[OwnIdentity, ...] = ()


class Decided(Strict):
    """Answer to TrustDecision and Recover: `ok`, or why not; `started` when what comes of it is told by the status."""

    t: Literal["decided"] = "decided"
    nonce: int
    code: Name


class RecoveryKeyShown(Strict):
    """Answer to ShowRecoveryKey. The key goes to the operator, and nowhere else."""

    t: Literal["recovery-key-shown"] = "recovery-key-shown"
    nonce: int
    code: Name
    key: Annotated[str, StringConstraints(pattern=r"^[1-9A-HJ-NP-Za-km-z ]{1,128}$")] | None = Field(
        default=None, repr=False
    )


class VerificationTold(Strict):
    """Answer to Verify: how the verification stands (adapters.inside_api.Shown). `cancelled`: why, or `ok`."""

    t: Literal["verification-told"] = "verification-told"
    nonce: int
    code: Name
    state: Name
    way: Name
    emoji: tuple[Annotated[int, Field(ge=0, lt=64)], ...] = Field(default=(), max_length=7, repr=False)
    decimal: tuple[Annotated[int, Field(ge=1000, lt=9192)], ...] = Field(default=(), max_length=3, repr=False)
    cancelled: Name = "ok"
    by_us: bool = False
    mark: SasText | None = Field(default=None, repr=False)
    scan: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2}){1,1024}$")] | None = Field(default=None, repr=False)
    """What the other end may scan: octets of a QR code, in hexadecimal digits."""


FromEnclaveControl = Annotated[
    Locked | Configured | Status | Decided | RecoveryKeyShown | VerificationTold, Field(discriminator="t")
]
