"""Stream management (XEP-0198) as two queues without I/O: what came from a peer, and what is on its way to it.

A stanza that came is acknowledged only when everything that was made of it has been taken by the far sides, so a
loss anywhere between the two ends leaves it unacknowledged at its sender.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

Print = tuple[str, ...]
"""What tells a stanza from its neighbours: name and first-level attributes."""
_MODULUS = 1 << 32


class WrongCount(Exception):
    """The peer acknowledges what it was never sent."""


class Ticket:
    """One stanza that came, until all that was made of it has been taken. Begins with one open end: its handling."""

    __slots__ = ("_arrivals", "_open", "mark")

    def __init__(self, arrivals: "Arrivals", mark: Print) -> None:
        self._arrivals = arrivals
        self._open = 1
        self.mark = mark

    @property
    def settled(self) -> bool:
        """Whether nothing is open any more."""
        return self._open <= 0

    def add(self, ends: int) -> None:
        """So many things were made of it."""
        self._open += ends

    def settle(self) -> None:
        """One of them was taken, or the handling is over."""
        self._open -= 1
        if self._open == 0:
            self._arrivals.settled()


class Arrivals:
    """Stanzas from one peer, in order, and how many of them are handled."""

    def __init__(self) -> None:
        self.handled = 0
        self._waiting: deque[Ticket] = deque()
        self._repeats: deque[Ticket] = deque()

    @property
    def waiting(self) -> int:
        """How many came that are not handled."""
        return len(self._waiting)

    def began(self) -> None:
        """The count begins now, at zero; what came before is not counted."""
        self.handled = 0
        self._waiting = deque()
        self._repeats.clear()

    def arrived(self, mark: Print) -> Ticket | None:
        """A stanza came; None for one that came before and is still being handled."""
        if self._repeats:
            if self._repeats[0].mark == mark:
                self._repeats.popleft()
                self.settled()
                return None
            self._forget_repeats()
        ticket = Ticket(self, mark)
        self._waiting.append(ticket)
        return ticket

    def resuming(self) -> None:
        """The peer is told `handled`, and will repeat what is waiting, in order, or leave it out."""
        self._repeats = deque(self._waiting)

    def settled(self) -> None:
        """A ticket was settled: count those at the front."""
        while self._waiting and self._waiting[0].settled:
            if self._repeats and self._repeats[0] is self._waiting[0]:
                return  # its repetition counts for the peer, and is still to come
            self._waiting.popleft()
            self.handled = (self.handled + 1) % _MODULUS

    def _forget_repeats(self) -> None:
        """The peer went on with something else: it counts from there, as if the rest had never come."""
        for ticket in self._repeats:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
        self._repeats.clear()
        self.settled()


@dataclass(slots=True)
class _Departure:
    octets: bytes = field(repr=False)
    ticket: Ticket | None
    taken: Callable[[], None] | None


class Departures:
    """Stanzas on their way to one peer, kept until it acknowledges them."""

    def __init__(self) -> None:
        self._acknowledged = 0
        self._kept: deque[_Departure] = deque()
        self.octets = 0

    def __len__(self) -> int:
        return len(self._kept)

    def began(self) -> None:
        """The count begins now, at zero."""
        self._acknowledged = 0

    def add(self, octets: bytes, ticket: Ticket | None, taken: Callable[[], None] | None = None) -> None:
        """One more; `ticket` is settled, and `taken` called, once it is acknowledged."""
        self._kept.append(_Departure(octets, ticket, taken))
        self.octets += len(octets)

    def acknowledged(self, handled: int) -> None:
        """The peer has handled so many in all. Raises WrongCount."""
        count = (handled - self._acknowledged) % _MODULUS
        if count > len(self._kept):
            raise WrongCount("more was acknowledged than was sent")
        self._acknowledged = handled % _MODULUS
        for _ in range(count):
            done = self._kept.popleft()
            self.octets -= len(done.octets)
            if done.ticket is not None:
                done.ticket.settle()
            if done.taken is not None:
                done.taken()

    def unacknowledged(self) -> list[bytes]:
        """What has to be sent again, in order."""
        return [kept.octets for kept in self._kept]
