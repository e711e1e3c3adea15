"""What crosses the enclave link, both ways: two closed unions."""

from typing import Annotated, Literal

from pydantic import Field

from bridge.wire.values import MAX_BODY, AccountId, ContactId, Name, OpaqueId, Strict, Values

PROTOCOL_VERSION = 1
Position = Annotated[int, Field(ge=0, lt=1 << 53)]
"""Row number of the inbox; 0 is a step that an order of the control channel caused."""


# ---------------------------------------------------------------- gateway -> enclave (hostile)
class Hello(Strict):
    """First frame of a link."""

    t: Literal["hello"] = "hello"
    version: int


class SealedRecord(Strict):
    """One record of an account's state as the ledger keeps it: opaque name, version, ciphertext."""

    name: OpaqueId
    version: int = Field(ge=1, lt=1 << 53)
    sealed: bytes = Field(max_length=2 * MAX_BODY)


class Restore(Strict):
    """All records of an account, in one or more frames; must precede the account's first input."""

    t: Literal["restore"] = "restore"
    account: AccountId
    records: tuple[SealedRecord, ...] = Field(max_length=4096)
    last: bool


class Evict(Strict):
    """The account may be put out of memory."""

    t: Literal["evict"] = "evict"
    account: AccountId


class Input(Strict):
    """One inbox entry.

    `arrival`: something came from `network`; `name` is the kind the adapter declares, `body` its bytes.
    `answer`: the outcome of an earlier request; `name` is the request, `key` its idempotency key, `code` is
    `ok` or the failure, `body` the response.
    `wake`: a time that was asked for has come; `name` is the name of the timer.
    """

    t: Literal["input"] = "input"
    position: Position
    account: AccountId
    source: Literal["arrival", "answer", "wake"]
    network: Name
    name: Name
    key: OpaqueId | None = None
    code: Name = "ok"
    body: bytes = Field(default=b"", max_length=MAX_BODY)


class Committed(Strict):
    """The ledger holds the account's steps up to this number."""

    t: Literal["committed"] = "committed"
    account: AccountId
    step: int = Field(ge=0, lt=1 << 53)


ToEnclave = Annotated[Hello | Restore | Evict | Input | Committed, Field(discriminator="t")]


# ---------------------------------------------------------------- enclave -> gateway
class Carry(Strict):
    """An outgoing request. `key` is its idempotency key; entries of one `lane` are carried in order.

    `trace` is the inbox position of the message it belongs to, for `lockgate trace`.
    """

    key: OpaqueId
    network: Name
    request: Name
    lane: OpaqueId
    values: Values
    trace: Position | None = None


class Remember(Strict):
    """A sealed state delta; `sealed` None deletes the record."""

    name: OpaqueId
    version: int = Field(ge=1, lt=1 << 53)
    sealed: bytes | None


class WakeAt(Strict):
    """Ask for a `wake` input at a time (milliseconds since 1970); replaces the timer of that name."""

    network: Name
    name: Name
    at_ms: int = Field(ge=0, lt=1 << 53)


class Report(Strict):
    """Something to count: a code, never a text."""

    code: Name
    contact: ContactId | None = None
    count: int = Field(default=1, ge=1, lt=1 << 32)


class Trace(Strict):
    """A stage that the message of an inbox position has reached inside."""

    position: Position
    stage: Literal["opened", "permitted", "sealed", "acknowledged", "parked", "refused"]
    code: Name | None = None


class Stepped(Strict):
    """The effects of one input, to be committed in one transaction. `refused`: the input was not consumed."""

    t: Literal["stepped"] = "stepped"
    position: Position
    account: AccountId
    step: int = Field(ge=0, lt=1 << 53)
    carries: tuple[Carry, ...] = ()
    remembers: tuple[Remember, ...] = ()
    wakes: tuple[WakeAt, ...] = ()
    reports: tuple[Report, ...] = ()
    traces: tuple[Trace, ...] = ()
    refused: Name | None = None


class Ready(Strict):
    """Answer to `Hello`: the enclave is locked down and configured."""

    t: Literal["ready"] = "ready"
    version: int


class Restored(Strict):
    """Answer to the last `Restore` of an account: `ok`, or why the state was not accepted."""

    t: Literal["restored"] = "restored"
    account: AccountId
    code: Name


FromEnclave = Annotated[Ready | Restored | Stepped, Field(discriminator="t")]
