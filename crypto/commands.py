"""Orders to the gateway itself, and its answers, as they travel between two adapter halves, inside the enclave only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from crypto.message import Standing


@dataclass(frozen=True, slots=True)
class Order:
    """One stage of a command, as the user's client asks for it (XEP-0050 has the words)."""

    node: str
    action: str
    """`execute`, `next`, `prev`, `complete`, `cancel`."""
    standing: Standing
    session: str = ""
    answers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Question:
    """One field of a form."""

    name: str
    kind: str
    """`fixed` (to be read), `text-single` (to be copied), `list-single`, `hidden`."""
    label: str = ""
    value: str = field(default="", repr=False)
    choices: tuple[tuple[str, str], ...] = ()
    """Value and label of each."""


@dataclass(frozen=True, slots=True)
class Form:
    """What the user is asked, or shown."""

    title: str
    words: str = field(repr=False)
    questions: tuple[Question, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a stage."""

    state: str
    """`executing`, `completed`, `canceled`."""
    session: str
    form: Form | None = None
    note: str = field(default="", repr=False)
    failed: bool = False
    """Whether the note tells of a failure."""
