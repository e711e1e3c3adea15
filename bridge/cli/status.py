"""`lockgate status`: how a running gateway stands."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
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
    "weak": "bold red",
    "bound": "green",
    "no": "yellow",
    "yes": "green",
    "verified": "green",
    "ours": "green",
    "elsewhere": "yellow",
    "foreign": "yellow",
    "no-storage-key": "yellow",
    "invited": "yellow",
    "changed": "bold red",
    "distrusted": "red",
    "undecided": "yellow",
    "blind": "yellow",
    "gone": "bold red",
    "replaced": "bold red",
    "identity-changed": "bold red",
}
PEER = ("account", "contact", "network", "identity", "key", "served", "withheld", "rotated", "proof")
OWN = ("account", "network", "state", "key", "recovery_key", "backup", "problem", "recovered")
LEG = ("account", "contact", "network", "assurance", "state", "verified", "sas", "peer", "waiting", "string")


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


def is_weak(leg: Mapping[str, object]) -> bool:
    """Whether somebody between could make the leg's string the same at both ends."""
    return isinstance(leg.get("sas"), str) and leg.get("sas_bound") is False


def with_kinds(legs: object) -> list[dict[str, object]]:
    """The legs, each with the kind of its string: `bound`, `weak`; none where there is no string."""
    found = [leg for leg in legs if isinstance(leg, dict)] if isinstance(legs, list) else []
    kinds = {False: "bound", True: "weak"}
    return [{**leg, "string": kinds[is_weak(leg)] if leg.get("sas") else None, "proof": proof(leg)} for leg in found]


def grouped(key: object) -> str:
    """A key for people, in groups of four."""
    text = cell(key)
    return " ".join(text[i : i + 4] for i in range(0, len(text), 4))


def peers(legs: object) -> list[dict[str, object]]:
    """What is known of the contacts' identities, an entry for each leg that has such."""
    found = [leg for leg in legs if isinstance(leg, dict)] if isinstance(legs, list) else []
    return [_peer(leg, told) for leg in found if isinstance(told := leg.get("identity"), dict)]


def _peer(leg: Mapping[str, object], told: Mapping[str, object]) -> dict[str, object]:
    where = {name: leg.get(name) for name in ("account", "contact", "network")}
    devices = {name: _joined(told.get(name)) for name in ("served", "withheld")}
    at = _time(told.get("rotated_ms"))
    identity = {"identity": told.get("state"), "key": grouped(told.get("key")), **devices, "rotated": at}
    return {**where, **identity, "proof": proof(leg)}


def proof(leg: Mapping[str, object]) -> str | None:
    """Why a leg is believed, by whom and since when; None where nothing of that is known."""
    told = leg.get("proof")
    if not isinstance(told, dict):
        return None
    how, by, at = _HOW.get(str(told.get("how")), cell(told.get("how"))), told.get("by"), _time(told.get("at_ms"))
    return " ".join(filter(None, (how, f"by the {by}" if by in _WHO else "", at)))


_WHO = ("operator", "user")
_HOW = {
    "emoji": "emoji compared",
    "numbers": "numbers compared",
    "code": "code scanned",
    "key": "key compared",
    "string": "string compared",
    "approved": "approved",
    "first-use": "first use",
}


def _time(ms: object) -> str | None:
    return datetime.fromtimestamp(ms // 1000, UTC).isoformat() if isinstance(ms, int) and ms else None


def _joined(ids: object) -> str:
    return " ".join(map(str, ids)) if isinstance(ids, list) else ""


def show_status(config: Path, *, as_json: bool) -> None:
    """Ask the gateway and show its reply."""
    reply = ask(load_config(config).admin_socket, {"op": "status"})
    if as_json:
        output.as_json(reply)
        return
    _section("Processes", _columns(reply.get("processes")), reply.get("processes"))
    _lockdown(reply.get("lockdown"))
    _section("Connections", _columns(reply.get("health")), reply.get("health"))
    _section("Legs", LEG, with_kinds(reply.get("legs")))
    _section("Contacts' identities", PEER, peers(reply.get("legs")))
    _section("Accounts' own identities", OWN, reply.get("identities"))
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
