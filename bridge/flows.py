"""Which inputs of which account are with the enclave: the book-keeping of one link, without any I/O."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from bridge.wire.link import Input, Stepped

WINDOW_INPUTS = 256
WINDOW_OCTETS = 4 << 20


class Unexpected(Exception):
    """The enclave answered something it was not asked, or in another order."""

    def __init__(self) -> None:
        super().__init__("the enclave answered out of turn")


class Presence(Enum):
    """Where an account's state is, as far as this link knows."""

    ABSENT = "not brought in"
    RESTORING = "handed over, not yet accepted"
    PRESENT = "accepted"
    REFUSED = "not accepted"


@dataclass(slots=True)
class Flow:
    """One account on one link."""

    account: str
    presence: Presence = Presence.ABSENT
    after: int = 0
    """Position of the last input handed over."""
    unanswered: deque[tuple[int, int]] = field(default_factory=deque)
    """Position and size, in the order handed over."""
    uncommitted: deque[tuple[int, int]] = field(default_factory=deque)
    used: int = 0
    """Turn number of its last input, for putting the least used account out."""

    @property
    def busy(self) -> bool:
        """Whether inputs of it are under way."""
        return bool(self.unanswered or self.uncommitted)

    @property
    def head(self) -> int | None:
        """The first position that is not committed."""
        first = self.uncommitted or self.unanswered
        return first[0][0] if first else None


class Flows:
    """All accounts on one link, and the window that bounds what is under way."""

    def __init__(self) -> None:
        self._flows: dict[str, Flow] = {}
        self._inputs = 0
        self._octets = 0
        self._turn = 0

    def of(self, account: str) -> Flow:
        """The flow of an account."""
        return self._flows.setdefault(account, Flow(account))

    def __iter__(self) -> Iterator[Flow]:
        return iter(self._flows.values())

    @property
    def in_flight(self) -> int:
        """Inputs handed over and not committed."""
        return self._inputs

    def heads(self) -> list[int]:
        """The first uncommitted position of each account."""
        return [flow.head for flow in self._flows.values() if flow.head is not None]

    def owed(self) -> frozenset[int | str]:
        """What the enclave owes an answer to: the first input of each account, and states handed over."""
        inputs = {flow.unanswered[0][0] for flow in self if flow.unanswered}
        return frozenset(inputs | {flow.account for flow in self if flow.presence is Presence.RESTORING})

    def room(self, *, careful: bool) -> int:
        """How many inputs may be handed over now."""
        if careful:
            return 1 - min(self._inputs, 1)
        return 0 if self._octets >= WINDOW_OCTETS else max(0, WINDOW_INPUTS - self._inputs)

    def hand_over(self, flow: Flow, inputs: Sequence[Input]) -> list[Input]:
        """Of these inputs, those that fit the window; they count as under way from now on."""
        taken: list[Input] = []
        for entry in inputs:
            size = len(entry.body)
            if self._inputs and self._octets + size > WINDOW_OCTETS:
                break
            flow.unanswered.append((entry.position, size))
            flow.after = entry.position
            self._inputs += 1
            self._octets += size
            taken.append(entry)
        self._turn += 1
        flow.used = self._turn
        return taken

    def answered(self, step: Stepped) -> None:
        """An answer came. Unexpected: it is not the one that is due."""
        flow = self._flows.get(step.account)
        if flow is None:
            raise Unexpected
        if step.position == 0:
            return
        if not flow.unanswered or flow.unanswered[0][0] != step.position:
            raise Unexpected
        flow.uncommitted.append(flow.unanswered.popleft())

    def committed(self, steps: Sequence[Stepped]) -> list[int]:
        """These answers are in the ledger; returns their positions."""
        positions: list[int] = []
        for step in steps:
            if step.position:
                position, size = self._flows[step.account].uncommitted.popleft()
                self._inputs -= 1
                self._octets -= size
                positions.append(position)
        return positions

    def present(self) -> int:
        """How many accounts are in the enclave's memory."""
        return sum(1 for flow in self if flow.presence in (Presence.PRESENT, Presence.RESTORING))

    def least_used(self) -> Flow | None:
        """The account to put out first, None when all are busy."""
        idle = [flow for flow in self if flow.presence is Presence.PRESENT and not flow.busy]
        return min(idle, key=lambda flow: flow.used, default=None)
