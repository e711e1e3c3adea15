"""`lockgate trace` and `lockgate parked`: what the ledger knows, read beside the gateway; parked inputs released."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from bridge.cli import output
from bridge.cli.admin import ask
from bridge.config.load import load_config
from bridge.errors import OperatorError, Problem, WorldError
from bridge.ledger.errors import LedgerError
from bridge.ledger.model import Parked, TraceRow
from bridge.ledger.sqlite import Inspector
from bridge.wire.gateway_control import MAX_RELEASED

MOST_STAGES = 8
"""Stages that one message can reach."""


def _read(config: Path, position: int | None, rows: int) -> tuple[list[TraceRow], list[Parked]]:
    path = load_config(config).storage.path
    trouble: Problem
    if not path.exists():
        raise WorldError(Problem("no-ledger", str(path), "there is no ledger yet", "Start it: lockgate run -c FILE"))
    try:
        inspector = Inspector(path)
        try:
            return inspector.traces(position, rows), inspector.parked()
        finally:
            inspector.close()
    except LedgerError as error:
        trouble = Problem(error.code, str(path), error.sentence, "See the log of the gateway.")
    raise WorldError(trouble)


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000).astimezone().isoformat(sep=" ", timespec="milliseconds")


def _by_message(rows: list[TraceRow]) -> Iterator[list[TraceRow]]:
    """The stages of each message, the newest message last."""
    messages: dict[int, list[TraceRow]] = {}
    for row in rows:
        messages.setdefault(row.position, []).append(row)
    for position in sorted(messages):
        yield messages[position]


def _stages(rows: list[TraceRow]) -> str:
    return " → ".join(f"{row.stage.upper()}{f' ({row.code})' if row.code else ''}" for row in rows)


def _row(rows: list[TraceRow]) -> tuple[object, ...]:
    first, last = rows[0], rows[-1]
    return first.position, first.account, _time(first.at_ms), f"{last.at_ms - first.at_ms} ms", _stages(rows)


def show_traces(config: Path, *, message: int | None, account: str | None, limit: int, as_json: bool) -> None:
    """The newest messages and their stages."""
    found, _ = _read(config, message, limit * MOST_STAGES if account is None else 100_000)
    rows = [row for row in found if account in (None, row.account)]
    messages = list(_by_message(rows))[-limit:]
    if as_json:
        output.as_json([[asdict(row) for row in rows] for rows in messages])
        return
    output.table(
        ("MESSAGE", "ACCOUNT", "RECEIVED", "TOOK", "STAGES"),
        [_row(rows) for rows in messages],
    )


def release_parked(config: Path, positions: list[int] | None, account: str | None) -> None:
    """Have the gateway try inputs again: those of the positions, or all (of the account)."""
    _, inputs = _read(config, None, 1)
    chosen = [entry.position for entry in inputs if account in (None, entry.account)]
    if positions is not None:
        for position in positions:
            if position not in chosen:
                raise _not_parked(position)
        chosen = positions
    if not chosen:
        output.line("Nothing is parked.")
        return
    reply = ask(load_config(config).admin_socket, {"op": "release", "positions": chosen[:MAX_RELEASED]})
    count = reply.get("released")
    output.line(f"{count} of {len(chosen)} inputs are tried again; those that fail are parked once more.")


def _not_parked(position: int) -> OperatorError:
    remedy = "See: lockgate parked. A message that waits for a key there is tried by itself when the key comes."
    return OperatorError(Problem("not-parked", str(position), "there is no parked input of this number", remedy))


def show_parked(config: Path, *, as_json: bool) -> None:
    """Inputs that were set aside, and messages whose last stage is `parked`."""
    rows, inputs = _read(config, None, 100_000)
    known = {entry.position for entry in inputs}
    waiting = [rows[-1] for rows in _by_message(rows) if rows[-1].stage == "parked" and rows[-1].position not in known]
    if as_json:
        output.as_json({"inputs": [asdict(entry) for entry in inputs], "messages": [asdict(row) for row in waiting]})
        return
    if not inputs and not waiting:
        output.line("Nothing is parked.")
        return
    listed = [(e.position, e.account, _time(e.received_at_ms), e.network, e.name, e.refusal) for e in inputs]
    listed += [(row.position, row.account, _time(row.at_ms), "", "message", row.code or "") for row in waiting]
    output.table(("MESSAGE", "ACCOUNT", "SINCE", "NETWORK", "KIND", "REASON"), sorted(listed))
