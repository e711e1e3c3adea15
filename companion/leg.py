"""One of the companion's two streams, with stream management (XEP-0198) over it once the peer speaks it."""

from collections.abc import Callable

from companion.acks import Arrivals, Departures, Print, Ticket

NS_SM = "urn:xmpp:sm:3"
_ASK = f"<r xmlns='{NS_SM}'/>".encode()


class Leg:
    """Stanzas to and from one peer. Outlives connections: `connected` and `disconnected` say when it has one."""

    def __init__(self, on_progress: Callable[[], None]) -> None:
        """`on_progress` is called whenever the peer has acknowledged something."""
        self.managed = False
        self.arrivals = Arrivals()
        self.departures = Departures()
        self._on_progress = on_progress
        self._write: Callable[[bytes], None] | None = None
        self._early: list[bytes] = []
        self._asked = False
        self._told = -1
        self._owes = False

    @property
    def up(self) -> bool:
        """Whether there is a connection."""
        return self._write is not None

    def connected(self, write: Callable[[bytes], None]) -> None:
        """There is a connection to write to."""
        self._write = write
        self._asked = self._owes = False
        early, self._early = self._early, []
        for octets in early:
            self._out(octets)

    def disconnected(self) -> None:
        """There is none."""
        self._write = None

    def began(self) -> None:
        """Stream management is on: both counts begin."""
        self.managed = True
        self.arrivals.began()
        self.departures.began()
        self._told = 0

    def resuming(self) -> int:
        """How many are handled: to be told to the peer, which repeats the others from there."""
        self.arrivals.resuming()
        self._told = self.arrivals.handled
        return self._told

    def resumed(self, handled: int) -> None:
        """The stream was resumed; the peer has handled so many. Sends the others again. Raises WrongCount."""
        self.departures.acknowledged(handled)
        for octets in self.departures.unacknowledged():
            self._out(octets)
        self._on_progress()
        self._ask()

    def send(self, octets: bytes, ticket: Ticket | None, taken: Callable[[], None] | None = None) -> None:
        """Send a stanza; `ticket` is settled, and `taken` called, when the peer has taken it."""
        if self.managed:
            self.departures.add(octets, ticket, taken)
            self._out(octets)
            self._ask()
            return
        if self._write is None:
            self._early.append(octets)  # before the peer's first connection: there is no second without management
        elif taken is not None:
            taken()
        self._out(octets)
        if ticket is not None:
            ticket.settle()

    def out(self, octets: bytes) -> None:
        """Send what is not a stanza; lost when there is no connection."""
        self._out(octets)

    def arrived(self, mark: Print) -> Ticket | None:
        """A stanza came; None when it is a repetition of one that is being handled."""
        return self.arrivals.arrived(mark)

    def peer_asked(self) -> None:
        """The peer wants to know how much is handled: told now, and again when it is more."""
        self._tell()
        self._owes = self.arrivals.waiting > 0

    def peer_told(self, handled: int) -> None:
        """The peer has handled so many. Raises WrongCount."""
        self._asked = False
        self.departures.acknowledged(handled)
        self._on_progress()
        self._ask()

    def tell_progress(self) -> None:
        """Tell the peer what was handled since it asked."""
        if self._owes and self.arrivals.handled != self._told:
            self._tell()
            self._owes = self.arrivals.waiting > 0

    def _tell(self) -> None:
        self._told = self.arrivals.handled
        self._out(f"<a xmlns='{NS_SM}' h='{self._told}'/>".encode())

    def _ask(self) -> None:
        if self.managed and not self._asked and len(self.departures) and self._write is not None:
            self._asked = True
            self._out(_ASK)

    def _out(self, octets: bytes) -> None:
        if self._write is not None:
            self._write(octets)
