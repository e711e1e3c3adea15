"""Polls in words (MSC3381, stable and unstable names): the question with its answers, votes, the end.

| record | kind |
|---|---|
| `polls/<mxid>` | Polls: the newest few, so that votes can be told by the answers' texts |
"""

from dataclasses import dataclass, field

from adapters.inside_api import ContactPolicy, Step
from adapters.matrix.inside_html import one_line
from crypto.content import Mark, Style
from crypto.olm.canonical import decoded
from crypto.olm.errors import Malformed

_UNSTABLE = "org.matrix.msc3381.poll."
START = frozenset({"m.poll.start", f"{_UNSTABLE}start"})
RESPONSE = frozenset({"m.poll.response", f"{_UNSTABLE}response"})
END = frozenset({"m.poll.end", f"{_UNSTABLE}end"})
TYPES = START | RESPONSE | END
MOST_POLLS = 8
MOST_ANSWERS = 20
MAX_QUESTION = 340
MAX_ANSWER = 200
_TEXT = ("m.text", "org.matrix.msc1767.text")
Objects = dict[str, object]


@dataclass(frozen=True, slots=True)
class Poll:
    """A question, and its answers: id and text."""

    question: str = field(repr=False)
    answers: tuple[tuple[str, str], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Polls:
    """By event of the start, the newest last."""

    started: tuple[tuple[str, Poll], ...] = ()


def poll_of(content: bytes) -> Poll:
    """The poll that a start event's content makes. Raises Malformed."""
    whole = decoded(content, Objects)
    told = whole.get("m.poll", whole.get("m.poll.start", whole.get(f"{_UNSTABLE}start")))
    if not isinstance(told, dict):
        raise Malformed
    listed = told.get("answers")
    answers = [_answer(item) for item in listed[:MOST_ANSWERS]] if isinstance(listed, list) else []
    question = _text(told.get("question"))[:MAX_QUESTION]
    if not question or not answers:
        raise Malformed
    return Poll(question, tuple(answers))


def choices_of(content: bytes) -> tuple[str, ...]:
    """The ids of the answers that a response chooses. Raises Malformed."""
    whole = decoded(content, Objects)
    told = whole.get("m.selections", whole.get("m.poll.response", whole.get(f"{_UNSTABLE}response")))
    chosen = told.get("answers") if isinstance(told, dict) else told
    if not isinstance(chosen, list):
        raise Malformed
    return tuple(item for item in chosen[:MOST_ANSWERS] if isinstance(item, str))


def asked_in_words(poll: Poll) -> tuple[str, tuple[Mark, ...]]:
    """The question and a numbered list."""
    body, marks = f"Poll: {poll.question}", []
    for number, (_, answer) in enumerate(poll.answers, 1):
        start = len(body) + 1
        body += f"\n{answer}"
        marks.append(Mark(start, len(body), Style.ITEM, str(number)))
    return body, tuple(marks)


def vote_in_words(poll: Poll | None, chosen: tuple[str, ...]) -> str:
    """What somebody voted for."""
    if not chosen:
        return "Withdrew the vote."
    answers = dict(poll.answers) if poll is not None else {}
    named = [answers[choice] for choice in chosen if choice in answers]
    return f"Voted: {', '.join(named)}" if named else "Voted in a poll."


def end_in_words(poll: Poll | None, content: bytes) -> str:
    """That it is over, and the outcome as the other client tells it."""
    outcome = _text(decoded(content, Objects))[:MAX_QUESTION]
    named = f"The poll “{poll.question}” has ended." if poll is not None else "A poll has ended."
    return f"{named} {outcome}" if outcome else named


def keep(step: Step, contact: ContactPolicy, event_id: str, poll: Poll) -> None:
    """Remember a poll of the contact's."""
    known = step.records.get(f"polls/{contact.address}", Polls) or Polls()
    others = tuple(item for item in known.started if item[0] != event_id)
    step.records.put(f"polls/{contact.address}", Polls((*others, (event_id, poll))[-MOST_POLLS:]))


def kept(step: Step, contact: ContactPolicy, event_id: str) -> Poll | None:
    """The poll that began with the event."""
    known = step.records.get(f"polls/{contact.address}", Polls) or Polls()
    return dict(known.started).get(event_id)


def _answer(item: object) -> tuple[str, str]:
    text = _text(item)[:MAX_ANSWER]
    name = item.get("m.id", item.get("id")) if isinstance(item, dict) else None
    if not isinstance(name, str) or not text:
        raise Malformed
    return name[:MAX_ANSWER], text


def _text(value: object) -> str:
    """The text of an extensible event's part: a string, or the first representation that has one."""
    if not isinstance(value, dict):
        return ""
    for name in (*_TEXT, "body"):
        found = value.get(name)
        if isinstance(found, list):
            bodies = (item.get("body") for item in found if isinstance(item, dict))
            found = next((body for body in bodies if isinstance(body, str)), None)
        if isinstance(found, str):
            return one_line(found)
    return ""
