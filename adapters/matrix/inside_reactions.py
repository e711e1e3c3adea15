"""Reactions as Matrix has them, one event for each, and as XEP-0444 has them: all that somebody feels about a message.

| record | kind |
|---|---|
| `reacting/<mxid>` | Reactions of the user, in the contact's room |
| `reacted/<mxid>` | Reactions of the contact |
"""

import unicodedata
from dataclasses import dataclass, field

from adapters.inside_api import ContactPolicy, Step

MOST_TARGETS = 64
"""Messages whose reactions are remembered, for each contact and direction."""
MOST_EMOJIS = 8
"""Reactions of one person to one message."""
MAX_CHARACTERS = 16
_JOINERS = frozenset("\u200d\u20e3") | {chr(code) for code in range(0xE0020, 0xE0080)}
"""What emoji are put together with beside printable characters: joiner, keycap, tags of flags."""
_INFORMATION = "\u2139"
"""The one letter that is an emoji."""


@dataclass(frozen=True, slots=True)
class Reactions:
    """By event reacted to, the newest last: each emoji with the event of the reaction."""

    targets: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = field(default=(), repr=False)

    def to(self, target: str) -> tuple[tuple[str, str], ...]:
        """What there is of one event."""
        return next((pairs for event, pairs in self.targets if event == target), ())

    def put(self, target: str, pairs: tuple[tuple[str, str], ...]) -> "Reactions":
        """With these of that event instead."""
        others = tuple(item for item in self.targets if item[0] != target)
        return Reactions((*others, (target, pairs))[-MOST_TARGETS:] if pairs else others)


def emoji_of(text: str) -> str:
    """A reaction that may be shown and sent: short, one line, nothing invisible. Empty when it is none.

    No words and no numbers: in clear the user must not say any, and a homeserver must not in the contact's name.
    """
    text = text.strip(" ")
    kinds = [unicodedata.category(char) for char in text]
    letters = [char for char, kind in zip(text, kinds, strict=True) if kind.startswith("L") and char != _INFORMATION]
    worded = bool(letters) or sum(kind.startswith("N") for kind in kinds) > 1
    fits = 0 < len(text) <= MAX_CHARACTERS and not worded and any(kind != "Mn" for kind in kinds)
    return text if fits and all(char.isprintable() or char in _JOINERS for char in text) else ""


def emojis_of(pairs: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """The emojis, each once, in the order in which they came."""
    return tuple(dict.fromkeys(emoji for emoji, _ in pairs))


# ---------------------------------------------------------------- the user's
def ours(step: Step, contact: ContactPolicy, target: str) -> tuple[tuple[str, str], ...]:
    """The user's reactions to an event."""
    return (step.records.get(f"reacting/{contact.address}", Reactions) or Reactions()).to(target)


def set_ours(step: Step, contact: ContactPolicy, target: str, pairs: tuple[tuple[str, str], ...]) -> None:
    """They are these now."""
    known = step.records.get(f"reacting/{contact.address}", Reactions) or Reactions()
    step.records.put(f"reacting/{contact.address}", known.put(target, pairs))


# ---------------------------------------------------------------- the contact's
def added(step: Step, contact: ContactPolicy, target: str, emoji: str, event_id: str) -> tuple[str, ...] | None:
    """The contact reacted: all their reactions to the event then. None when that changes nothing."""
    known = step.records.get(f"reacted/{contact.address}", Reactions) or Reactions()
    pairs = known.to(target)
    if any(event == event_id for _, event in pairs) or len(pairs) >= MOST_EMOJIS:
        return None
    step.records.put(f"reacted/{contact.address}", known.put(target, (*pairs, (emoji, event_id))))
    return None if emoji in emojis_of(pairs) else emojis_of((*pairs, (emoji, event_id)))


def removed(step: Step, contact: ContactPolicy, event_id: str) -> tuple[str, tuple[str, ...] | None] | None:
    """The contact took a reaction back: the event it was about, and what is left (None: no other than before).

    None when the event is no reaction of theirs.
    """
    known = step.records.get(f"reacted/{contact.address}", Reactions) or Reactions()
    for target, pairs in known.targets:
        left = tuple(pair for pair in pairs if pair[1] != event_id)
        if left != pairs:
            step.records.put(f"reacted/{contact.address}", known.put(target, left))
            return target, emojis_of(left) if {*emojis_of(left)} != {*emojis_of(pairs)} else None
    return None
