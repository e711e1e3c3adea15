"""The messages for one contact on their way: what waits, what was sent, what to do when no receipt comes.

A message is kept until the other end acknowledges it. In every new session all unacknowledged messages are sent
again, in order, under the same ids; the receiver drops those it had. Within a session the ciphertext itself is
repeated (`client.tail`). Pure: the time is an argument, in seconds of any clock that does not run backwards.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from client.pace import Backoff
from client.store import KeptMessage
from client.tail import Tail

Stanza = TypeVar("Stanza")


@dataclass(frozen=True, slots=True)
class DeliveryTimes:
    """Limits of one contact's delivery. Seconds, but for `window` (messages) and `probes` (repetitions)."""

    receipt_s: float = 5.0
    """How long to wait for a receipt before the stanzas are repeated; doubles."""
    receipt_most_s: float = 60.0
    bounce_s: float = 0.25
    """How long to wait after the server sent a stanza back; doubles."""
    bounce_most_s: float = 15.0
    window: int = 32
    """Messages sent but not acknowledged. With as many receipts between them they still fit the receiver's ring."""
    rest_s: float = 0.75
    """How long to wait after the acknowledgement of a stanza that was repeated alone, before the rest is; or twice as
    long as that acknowledgement took."""
    probes: int = 3
    """Repetitions without a sign of life after which the session counts as lost; and probes of the way without an
    answer after which the stanzas are repeated all the same."""


class Verdict(Enum):
    """What the time that has passed calls for."""

    NOTHING = "nothing"
    PROBE = "probe"
    """Find out whether the other end can be reached again; nothing is sent before that."""
    REPEAT = "repeat"
    """Send the stanzas of `repetition` again, octet for octet."""
    RENEW = "renew"
    """The session is of no use any more: negotiate another."""


class Delivery(Generic[Stanza]):
    """All messages for one contact."""

    def __init__(self, waiting: Iterable[KeptMessage], times: DeliveryTimes) -> None:
        self._times = times
        self._messages: dict[str, KeptMessage] = {message.id: message for message in waiting}
        self._unacknowledged: set[str] = set()
        self._tail: Tail[Stanza] = Tail()
        self._receipt = Backoff(times.receipt_s, times.receipt_most_s)
        self._bounce = Backoff(times.bounce_s, times.bounce_most_s)
        self._probes = 0
        self._held_until: float | None = None
        self._unanswered = 0
        self._due_at: float | None = None
        self._sent_at: dict[str, float] = {}
        self._latency_s = 0.0
        self._alone: str | None = None
        self._repeated_at_s = 0.0
        self._rest_wanted = False

    # ------------------------------------------------------------ what there is
    @property
    def waiting(self) -> Sequence[str]:
        """Ids of all messages that are not acknowledged, oldest first."""
        return list(self._messages)

    @property
    def deadline(self) -> float | None:
        """When `verdict` should be asked again."""
        return self._held_until if self._held_until is not None else self._due_at

    def holds(self, message_id: str) -> bool:
        """Whether the message is among those waiting."""
        return message_id in self._messages

    def tail(self) -> Sequence[Stanza]:
        """What may not have arrived, in the order it was sent."""
        return self._tail.stanzas()

    def repetition(self) -> Sequence[Stanza]:
        """What the verdict to repeat means: the tail up to the oldest message, or all of it."""
        return self._tail.stanzas() if self._alone is None else self._tail.until(self._alone)

    def unsent(self) -> KeptMessage | None:
        """The next message to send in this session; None when there is none, or it must wait."""
        if self._held_until is not None or len(self._unacknowledged) >= self._times.window:
            return None
        return next((m for m in self._messages.values() if m.id not in self._unacknowledged), None)

    # ------------------------------------------------------------ what happens
    def add(self, message: KeptMessage) -> None:
        """One more message, behind all others."""
        self._messages[message.id] = message

    def sent(self, stanza: Stanza, message_id: str | None, now_s: float) -> None:
        """A stanza went out in this session; `message_id` is None when it holds no message."""
        self._tail.sent(stanza, message_id)
        if message_id is not None:
            self._unacknowledged.add(message_id)
            self._sent_at[message_id] = now_s
            if self._due_at is None:
                self._due_at = now_s + self._patience_s

    def acknowledged(self, message_id: str, now_s: float) -> bool:
        """A receipt came; false when no such message waits."""
        if self._messages.pop(message_id, None) is None:
            return False
        self._unacknowledged.discard(message_id)
        self._tail.arrived(message_id)
        self._receipt, self._bounce, self._probes = self._receipt.reset(), self._bounce.reset(), 0
        if (sent_s := self._sent_at.pop(message_id, None)) is not None:
            self._latency_s = now_s - sent_s
        # More receipts follow by themselves unless the rest is lost as well.
        self._rest_wanted = message_id == self._alone
        self._alone = None
        # On a slow way that was the receipt for what was sent first, and the next one takes as long.
        rest_s = max(self._times.rest_s, 2 * (now_s - self._repeated_at_s))
        wait_s = min(rest_s, self._patience_s) if self._rest_wanted else self._patience_s
        self._due_at = now_s + wait_s if self._unacknowledged else None
        return True

    @property
    def _patience_s(self) -> float:
        """How long to wait for a receipt: longer where they are known to take long (a server may shape traffic)."""
        return max(self._receipt.pause_s, min(2 * self._latency_s, self._times.receipt_most_s))

    def failed(self, message_id: str, now_s: float) -> bool:
        """The message was refused for good: it arrived, but goes no further. False when no such message waits."""
        return self.acknowledged(message_id, now_s)

    def bounced(self, now_s: float) -> None:
        """The server sent a stanza back: hold everything for a while. More of the same change nothing."""
        if self._held_until is None:
            self._hold(now_s)
            self._unanswered = 0

    def _hold(self, now_s: float) -> None:
        self._held_until = now_s + self._bounce.pause_s
        self._bounce = self._bounce.failed()

    def alive(self) -> bool:
        """There is a sign of life of the other end; true when it ends a hold and the tail should be repeated."""
        self._probes = 0
        held, self._held_until = self._held_until is not None, None
        return held and bool(len(self._tail))

    def session_over(self) -> None:
        """Forget what was sent in the session; all messages wait again."""
        self._unacknowledged.clear()
        self._tail = Tail()
        self._probes = 0
        self._held_until = self._due_at = self._alone = None
        self._rest_wanted = False
        self._sent_at.clear()

    def verdict(self, now_s: float) -> Verdict:
        """What is to be done now. The times move on: ask once per deadline."""
        if self._held_until is not None:
            return self._held(now_s, self._held_until)
        if self._due_at is None or now_s < self._due_at:
            return Verdict.NOTHING
        if self._rest_wanted:
            # The oldest came through, and then nothing: what was sent after it is lost too.
            return self._repeated(now_s, whole=True)
        self._receipt = self._receipt.failed()
        self._probes += 1
        if self._probes > self._times.probes:
            return Verdict.RENEW
        return self._repeated(now_s, whole=False)

    def _held(self, now_s: float, until_s: float) -> Verdict:
        if now_s < until_s:
            return Verdict.NOTHING
        self._unanswered += 1
        if self._unanswered > self._times.probes:
            self._held_until = None
            return self._repeated(now_s, whole=True)
        self._hold(now_s)
        return Verdict.PROBE

    def _repeated(self, now_s: float, *, whole: bool) -> Verdict:
        """All of the tail, or only what is oldest: on a slow way the rest may well be on it still."""
        self._rest_wanted = False
        self._alone = None if whole else self._tail.oldest
        self._repeated_at_s = now_s
        # A receipt that comes now does not say which of the two it is for.
        if self._alone is None:
            self._sent_at.clear()
        else:
            self._sent_at.pop(self._alone, None)
        self._due_at = now_s + self._patience_s if self._unacknowledged else None
        if not len(self._tail):
            return Verdict.NOTHING
        return Verdict.REPEAT if self._tail.repeatable else Verdict.RENEW
