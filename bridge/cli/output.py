"""What commands print: coloured tables on a terminal, plain lines with tabs in a pipe. NO_COLOR is respected."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from bridge.errors import ConfigError, Failure, Problem

if TYPE_CHECKING:
    from rich.console import Console


def safe(text: object) -> str:
    """A text of outside origin without characters that could move the cursor or hide something."""
    return "".join(char if char.isprintable() else "�" for char in str(text))


def fancy(stream: TextIO | None = None) -> bool:
    """Whether the stream is a terminal for people."""
    return (stream or sys.stdout).isatty() and os.environ.get("TERM", "") != "dumb"


def console(stream: TextIO | None = None) -> "Console":
    """A rich console for a terminal; colours are left out when NO_COLOR is set."""
    from rich.console import Console

    return Console(file=stream or sys.stdout, highlight=False)


def line(text: str = "", style: str | None = None) -> None:
    """One line, as it is."""
    if style is not None and fancy():
        console().print(text, style=style, markup=False, soft_wrap=True)
    else:
        print(text, flush=True)


def as_json(value: object) -> None:
    """For programs."""
    print(json.dumps(value, ensure_ascii=False, indent=2 if fancy() else None))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], styles: Mapping[str, str] | None = None) -> None:
    """A table on a terminal; else a line of column names and a line per row, separated by tabs."""
    if not fancy():
        print("\t".join(columns))
        for row in rows:
            print("\t".join(safe(cell) for cell in row))
        return
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        shown.add_column(name, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(safe(cell), style=(styles or {}).get(str(cell), "")) for cell in row))
    console().print(shown)


def failure(error: Failure) -> None:
    """Tell on standard error what was found, where, and what to do."""
    if isinstance(error, ConfigError):
        count = len(error.problems)
        _tell(f"{error.file} cannot be used: {count} {'mistake' if count == 1 else 'mistakes'}.", "bold red")
    for problem in error.problems:
        _problem(problem, error.file if isinstance(error, ConfigError) else "")


def _problem(problem: Problem, file: str) -> None:
    at = f"{file}:{problem.line}" if file and problem.line else file
    place = "  ".join(part for part in (at, problem.where) if part)
    _tell(safe(f"{place}: {problem.found}" if place else problem.found), "red")
    if problem.remedy:
        _tell(f"    {safe(problem.remedy)}", None)


def _tell(text: str, style: str | None) -> None:
    if fancy(sys.stderr):
        console(sys.stderr).print(text, style=style or "", markup=False, soft_wrap=True)
    else:
        print(text, file=sys.stderr, flush=True)
