"""A step and its records in memory, so that an inside half can be driven without the enclave's spine.

Records go through `pickled` between steps when a codec is given, and a step that raises leaves them unchanged.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar, cast

from adapters.inside_api import AccountPolicy, AnyValue, InsideHalf
from bridge.wire.link import Input
from crypto.commands import Answer, Order
from crypto.content import Part
from crypto.message import Message, Signal

T = TypeVar("T")
_LISTS = (
    "carries",
    "reports",
    "traces",
    "deliveries",
    "signals",
    "notices",
    "pulls",
    "parts",
    "moves",
    "done",
    "failures",
)


class MemoryRecords:
    """Records of one half in a dictionary. `written` counts what the last step rewrote."""

    def __init__(self) -> None:
        self.held: dict[str, object] = {}
        self.written: set[str] = set()

    def get(self, name: str, kind: type[T]) -> T | None:
        """The record of that name; a record of another kind is a mistake of ours."""
        value = self.held.get(name)
        assert value is None or isinstance(value, kind), f"{name} is no {kind.__name__}"
        return value

    def put(self, name: str, value: object) -> None:
        """Set the record."""
        self.held[name] = value
        self.written.add(name)

    def delete(self, name: str) -> None:
        """Remove the record."""
        if self.held.pop(name, None) is not None:
            self.written.add(name)

    def names(self, prefix: str) -> Iterable[str]:
        """Names with that prefix, sorted."""
        return sorted(name for name in self.held if name.startswith(prefix))


@dataclass(frozen=True)
class Carried:
    """A request that a step sent out."""

    request: str
    values: Mapping[str, AnyValue]
    lane: str
    key: str
    trace: int | None


@dataclass
class MemoryStep:
    """Collects the effects of the steps it is used for, in order, until they are taken."""

    account: AccountPolicy
    records: MemoryRecords
    now: int = 1_800_000_000_000
    seed: str = "seed"
    position: int = 0
    half: InsideHalf | None = None
    """When given, every carried request must fit the shape that this half declares."""
    carries: list[Carried] = field(default_factory=list)
    wakes: dict[str, int] = field(default_factory=dict)
    reports: list[tuple[str, str | None]] = field(default_factory=list)
    traces: list[tuple[int, str, str | None]] = field(default_factory=list)
    deliveries: list[tuple[str, Message]] = field(default_factory=list)
    signals: list[tuple[str, Signal]] = field(default_factory=list)
    notices: list[tuple[str, str]] = field(default_factory=list)
    pulls: list[tuple[str, str, int]] = field(default_factory=list)
    parts: list[tuple[str, str, Part]] = field(default_factory=list)
    moves: list[str] = field(default_factory=list)
    done: list[tuple[str, str]] = field(default_factory=list)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    _drawn: int = 0

    def now_ms(self) -> int:
        """The time that the test set."""
        return self.now

    def draw(self, name: str, size: int) -> bytes:
        """Octets that depend on the seed, the name and how many were drawn before."""
        self._drawn += 1
        return hashlib.shake_128(f"{self.seed}/{self._drawn}/{name}".encode()).digest(size)

    def carry(
        self,
        request: str,
        values: Mapping[str, AnyValue],
        *,
        lane: str,
        key: str | None = None,
        trace: int | None = None,
    ) -> str:
        """Note the request; its key is drawn when none is given."""
        if self.half is not None:
            assert self.half.requests[request].fits(values), f"{request} does not fit its declared shape"
        key = key or self.draw("carry", 12).hex()
        self.carries.append(Carried(request, dict(values), lane, key, trace))
        return key

    def wake_at(self, name: str, at_ms: int) -> None:
        """Note the timer."""
        self.wakes[name] = at_ms

    def report(self, code: str, contact: str | None = None) -> None:
        """Note the report."""
        self.reports.append((code, contact))

    def trace(self, position: int, stage: str, code: str | None = None) -> None:
        """Note the stage."""
        self.traces.append((position, stage, code))

    def deliver(self, contact: str, message: Message) -> None:
        """Note the message that was opened."""
        self.deliveries.append((contact, message))

    def signal(self, contact: str, signal: Signal) -> None:
        """Note the signal."""
        self.signals.append((contact, signal))

    def notify(self, contact: str, code: str) -> None:
        """Note what the user is to be told."""
        self.notices.append((contact, code))

    def pull(self, contact: str, message_id: str, offset: int) -> None:
        """Note the part of a file that is wanted."""
        self.pulls.append((contact, message_id, offset))

    def part(self, contact: str, message_id: str, part: Part) -> None:
        """Note the part that was handed over."""
        self.parts.append((contact, message_id, part))

    def command(self, contact: str, order: Order) -> Answer | None:
        """There are no commands here."""
        return None

    def commands(self) -> Mapping[str, str]:
        """None."""
        return {}

    def moved(self, contact: str) -> None:
        """Note it: nobody here drives it."""
        self.moves.append(contact)

    def delivered(self, contact: str, message_id: str) -> None:
        """Note the message that the network has."""
        self.done.append((contact, message_id))

    def failed(self, contact: str, message_id: str, code: str) -> None:
        """Note the message that will not arrive."""
        self.failures.append((contact, message_id, code))

    # ---------------------------------------------------------------- for tests
    def take(self) -> list[Carried]:
        """The requests since the last call."""
        taken, self.carries = self.carries, []
        return taken

    def codes(self) -> list[str]:
        """The codes reported so far."""
        return [code for code, _ in self.reports]

    def commit(self, act: Callable[[], object]) -> None:
        """Run one step: position counts up; when it raises, records and effects are as before."""
        held, lists = (
            dict(self.records.held),
            {name: list(cast(list[object], getattr(self, name))) for name in _LISTS},
        )
        self.position += 1
        self.records.written = set()
        try:
            act()
        except BaseException:
            self.records.held = held
            for name, value in lists.items():
                setattr(self, name, value)
            raise

    def input(
        self,
        source: Literal["arrival", "answer", "wake"],
        name: str,
        body: bytes = b"",
        *,
        network: str,
        key: str | None = None,
        code: str = "ok",
    ) -> Input:
        """An inbox entry at the current position."""
        return Input(
            position=self.position,
            account=self.account.id,
            source=source,
            network=network,
            name=name,
            key=key,
            code=code,
            body=body,
        )
