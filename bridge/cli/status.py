"""`lockgate status`: how a running gateway stands."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bridge.cli import output
from bridge.cli.admin import ask
from bridge.config.load import load_config

STYLES = {
    "up": "green",
    "ready": "green",
    "running": "green",
    "active": "green",
    "end-to-end": "green",
    "down": "red",
    "refused": "red",
    "none": "yellow",
    "held": "yellow",
    "no": "yellow",
    "yes": "green",
}
LEG = ("account", "contact", "network", "assurance", "state", "verified", "sas", "peer", "waiting")


def cell(value: object) -> str:
    """A value of the reply for a table."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def rows(entries: object, columns: Sequence[str]) -> list[list[str]]:
    """Rows of a table from a list of objects."""
    if not isinstance(entries, list):
        return []
    return [[cell(entry.get(name)) for name in columns] for entry in entries if isinstance(entry, dict)]


def show_status(config: Path, *, as_json: bool) -> None:
    """Ask the gateway and show its reply."""
    reply = ask(load_config(config).admin_socket, {"op": "status"})
    if as_json:
        output.as_json(reply)
        return
    _section("Processes", _columns(reply.get("processes")), reply.get("processes"))
    _lockdown(reply.get("lockdown"))
    _section("Connections", _columns(reply.get("health")), reply.get("health"))
    _section("Legs", LEG, reply.get("legs"))
    unloaded = reply.get("unloaded")
    if isinstance(unloaded, list) and unloaded:
        output.line(f"Not in memory until their next message: {output.safe(', '.join(map(str, unloaded)))}")
        output.line()
    counters = reply.get("counters")
    if isinstance(counters, dict) and counters:
        _titled("Counters", ("COUNTER", "COUNT"), sorted(counters.items()))


def _columns(entries: object) -> Sequence[str]:
    """The names of the entries' fields, in the order of the first."""
    first = entries[0] if isinstance(entries, list) and entries else {}
    return tuple(first) if isinstance(first, dict) else ()


def _section(title: str, columns: Sequence[str], entries: object) -> None:
    found = rows(entries, columns)
    if found:
        _titled(title, [name.upper().replace("_", " ") for name in columns], found)


def _titled(title: str, columns: Sequence[str], listed: Iterable[Sequence[object]]) -> None:
    output.line(title, "bold")
    output.table(columns, listed, STYLES)
    output.line()


def _lockdown(lockdown: Any) -> None:
    if not isinstance(lockdown, dict):
        return
    measures = lockdown.get("measures")
    if isinstance(measures, list):
        missing = [str(m.get("name")) for m in measures if isinstance(m, dict) and not m.get("achieved")]
        reached = len(measures) - len(missing)
        text = f"Enclave lockdown: {reached} of {len(measures)} measures"
        output.line(text + (f"; missing: {', '.join(map(output.safe, missing))}" if missing else ""))
    else:
        output.line(output.safe(f"Enclave lockdown: {', '.join(f'{k} {cell(v)}' for k, v in lockdown.items())}"))
    output.line()
