"""The ciphertext stanzas of one session that may not have arrived, so that they can be repeated octet for octet.

The protocol between a gateway's component and its server acknowledges nothing: a stanza may vanish in a socket
without an error. A repetition of the very same stanzas, in order, heals that: a receiver drops what it had (it
remembers the MACs it accepted last) and accepts what it lacked, because that is the next one by counter.
See docs/decisions/0040-repeat-the-ciphertext.md.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

REPEATABLE = 64
"""Stanzas a receiver recognises as repetitions (the size of its ring)."""

Stanza = TypeVar("Stanza")


@dataclass(frozen=True, slots=True)
class Sent(Generic[Stanza]):
    """One stanza as it was sent; `message_id` is the message in it, None for a receipt or the like."""

    stanza: Stanza = field(repr=False)
    message_id: str | None = None


class Tail(Generic[Stanza]):
    """What was sent in a session since the last stanza that is known to have arrived."""

    def __init__(self) -> None:
        self._sent: deque[Sent[Stanza]] = deque()
        self._cut = False

    def __len__(self) -> int:
        return len(self._sent)

    def sent(self, stanza: Stanza, message_id: str | None = None) -> None:
        """A stanza went out.

        When there are too many, the oldest are let go: most likely they arrived. If they did not, the repetition
        does not verify over there, the session ends, and messages are sent again in a new one.
        """
        self._sent.append(Sent(stanza, message_id))
        if len(self._sent) > REPEATABLE:
            self._cut = self._cut or self._sent.popleft().message_id is not None

    def arrived(self, message_id: str) -> None:
        """The message was acknowledged: it and everything before it arrived (the counters prove it)."""
        if not any(sent.message_id == message_id for sent in self._sent):
            return
        while self._sent.popleft().message_id != message_id:
            pass
        self._cut = False

    @property
    def repeatable(self) -> bool:
        """Whether a repetition can be recognised: false when an unacknowledged message had to be let go."""
        return bool(self._sent) and not self._cut

    def stanzas(self) -> Sequence[Stanza]:
        """All of them, oldest first."""
        return [sent.stanza for sent in self._sent]

    @property
    def oldest(self) -> str | None:
        """The id of the oldest message among them."""
        return next((sent.message_id for sent in self._sent if sent.message_id is not None), None)

    def until(self, message_id: str) -> Sequence[Stanza]:
        """The stanzas up to that message; all of them when it is not there."""
        found: list[Stanza] = []
        for sent in self._sent:
            found.append(sent.stanza)
            if sent.message_id == message_id:
                break
        return found
