"""Timers that several contacts share: whoever needs one later takes it from nobody.

| record | kind |
|---|---|
| `wake/<name>` | Due: what was asked for last, and has not come |
"""

from dataclasses import dataclass

from adapters.inside_api import Step


@dataclass(frozen=True, slots=True)
class Due:
    """When that timer goes off."""

    at_ms: int


def wake_by(step: Step, name: str, at_ms: int) -> None:
    """Be woken then, or before: whoever is woken looks at all that there is, and asks again for what is not due."""
    known = step.records.get(_record(name), Due)
    if known is None or not step.now_ms() < known.at_ms <= at_ms:
        step.records.put(_record(name), Due(at_ms))
        step.wake_at(name, at_ms)


def woken(step: Step, name: str) -> None:
    """It went off."""
    step.records.delete(_record(name))


def _record(name: str) -> str:
    return f"wake/{name}"
