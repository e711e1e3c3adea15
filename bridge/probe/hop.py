"""What a probe says about one hop."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a hop stands."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Hop:
    """One hop: its name, how it stands, what was found, and what to do when that is not right."""

    name: str
    state: State
    found: str
    remedy: str = ""


def ok(name: str, found: str) -> Hop:
    """All is well."""
    return Hop(name, State.OK, found)


def warning(name: str, found: str, remedy: str) -> Hop:
    """It works, but."""
    return Hop(name, State.WARNING, found, remedy)


def failed(name: str, found: str, remedy: str) -> Hop:
    """It does not work."""
    return Hop(name, State.FAILED, found, remedy)


def skipped(name: str, found: str) -> Hop:
    """It was not tried, and why."""
    return Hop(name, State.SKIPPED, found)
