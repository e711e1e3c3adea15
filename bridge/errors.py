"""Failures that a person can act on, outside the enclave.

Split by blame first. Each names what was found, where, and what to do about it, in sentences that are safe to
show and to log: a secret never gets into one.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: its kind, the place it was found at, what was found, and what would be right."""

    code: str
    """A word for tests and counters, for example `unknown-key`."""
    where: str
    """The place for people: a path in the configuration (`accounts.alice.xmpp`), a file, an address."""
    found: str
    """A sentence."""
    remedy: str
    """A sentence."""
    line: int | None = None
    """Line of the file, from 1."""


class Failure(Exception):
    """An expected failure: shown to the operator without a traceback."""

    exit_code = 1

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(f"{p.where}: {p.found}" if p.where else p.found for p in problems))
        self.problems = problems


class OperatorError(Failure):
    """The operator's input is at fault: the command line, the configuration, a file of theirs."""

    exit_code = 2


class ConfigError(OperatorError):
    """The configuration cannot be used. `problems` lists every mistake of the file, in the order of its lines."""

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        super().__init__(*problems)
        self.file = file


class WorldError(Failure):
    """Something outside does not answer as it should: a server, a socket, a disk."""
