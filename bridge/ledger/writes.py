"""The writes of the SQLite ledger: functions of a connection that stands inside a transaction.

None of them begins or ends a transaction; when one raises, the caller rolls back what it did.
"""

import sqlite3
from collections.abc import Iterable, Sequence

from pydantic import TypeAdapter

from bridge.ledger.errors import StepRefused
from bridge.ledger.model import Applied, Finished, Held
from bridge.wire.link import Carry, Remember, Stepped
from bridge.wire.values import Values

VALUES: TypeAdapter[Values] = TypeAdapter(Values)

INSERT_INBOX = (
    "INSERT INTO inbox (account, source, network, name, key, code, body, received_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
INSERT_TRACE = "INSERT INTO traces (position, account, stage, code, at) VALUES (?, ?, ?, ?, ?)"
SET_MARK = (
    "INSERT INTO marks (account, network, name, value) VALUES (?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET value = excluded.value"
)
SET_TIMER = (
    "INSERT INTO timers (account, network, name, at_ms) VALUES (?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET at_ms = excluded.at_ms"
)
SET_TIMER_BY = (
    "INSERT INTO timers (account, network, name, at_ms) VALUES (?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET at_ms = min(at_ms, excluded.at_ms)"
)
FORGET_PARKED_WAKES = (
    "DELETE FROM inbox WHERE account = ? AND network = ? AND name = ?"
    " AND source = 'wake' AND state = 'parked' AND position != ?"
)
REFUSED_WAKE_MS = 300_000
"""After how long a wake that the enclave refused is tried again."""
ADD_COUNT = "INSERT INTO counters (code, count) VALUES (?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count"
SET_STEP = "INSERT INTO steps (account, step) VALUES (?, ?) ON CONFLICT DO UPDATE SET step = excluded.step"
SET_STATE = (
    "INSERT INTO state (account, name, version, sealed) VALUES (?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET version = excluded.version, sealed = excluded.sealed"
    " WHERE excluded.version > state.version"
)
INSERT_OUTBOX = (
    'INSERT INTO outbox (account, network, lane, key, request, "values", trace) VALUES (?, ?, ?, ?, ?, ?, ?)'
)


def append_inbox(
    db: sqlite3.Connection,
    row: tuple[str, str, str, str, str | None, str, bytes, int],
) -> int:
    """Add one entry (account, source, network, name, key, code, body, time) to the inbox; returns its position."""
    return db.execute(INSERT_INBOX, row).lastrowid or 0


def append_arrivals(
    db: sqlite3.Connection,
    account: str,
    network: str,
    entries: Sequence[tuple[str, bytes]],
    *,
    mark: tuple[str, str] | None,
    now_ms: int,
) -> list[int]:
    """Add arrivals and set a mark."""
    positions = [
        append_inbox(db, (account, "arrival", network, name, None, "ok", body, now_ms)) for name, body in entries
    ]
    db.executemany(INSERT_TRACE, [(position, account, "received", None, now_ms) for position in positions])
    if mark is not None:
        db.execute(SET_MARK, (account, network, *mark))
    return positions


def apply_steps(db: sqlite3.Connection, steps: Sequence[Stepped], now_ms: int) -> Applied:
    """Consume inputs, write their effects. StepRefused: nothing of the batch may stay."""
    released: list[Held] = []
    last: dict[str, int] = {}
    counted: dict[str, int] = {}
    for step in steps:
        for report in step.reports:
            counted[report.code] = counted.get(report.code, 0) + report.count
        if step.refused is not None:
            _refuse(db, step, now_ms)
            continue
        _consume(db, step)
        if step.remembers:
            _advance(db, step, last)
        for remember in step.remembers:
            _remember(db, step.account, remember)
        released.extend(_append_carry(db, step.account, carry) for carry in step.carries)
        if step.wakes:
            db.executemany(SET_TIMER, [(step.account, w.network, w.name, w.at_ms) for w in step.wakes])
        if step.traces:
            db.executemany(INSERT_TRACE, [(t.position, step.account, t.stage, t.code, now_ms) for t in step.traces])
    db.executemany(SET_STEP, list(last.items()))
    add_counts(db, counted.items())
    return Applied(tuple(released), last)


def _refuse(db: sqlite3.Connection, step: Stepped, now_ms: int) -> None:
    if step.position:  # an order of the control channel that was refused leaves nothing to set aside
        assert step.refused is not None
        park(db, step.position, step.account, step.refused, now_ms)
        _wake_again(db, step.position, now_ms)


def _wake_again(db: sqlite3.Connection, position: int, now_ms: int) -> None:
    """A wake that was refused comes again by itself: nobody else would repeat it. Of those only the last is parked."""
    row = db.execute(
        "SELECT account, network, name FROM inbox WHERE position = ? AND source = 'wake'", (position,)
    ).fetchone()
    if row is not None:
        db.execute(SET_TIMER_BY, (*row, now_ms + REFUSED_WAKE_MS))
        db.execute(FORGET_PARKED_WAKES, (*row, position))


def _consume(db: sqlite3.Connection, step: Stepped) -> None:
    if step.position == 0:  # caused by an order of the control channel: there is no input to consume
        return
    gone = db.execute(
        "DELETE FROM inbox WHERE position = ? AND account = ? AND state = 'waiting'", (step.position, step.account)
    )
    if gone.rowcount != 1:
        raise StepRefused("the input is not waiting")


def _advance(db: sqlite3.Connection, step: Stepped, last: dict[str, int]) -> None:
    """Steps that change the state are numbered; the others bear the number of the last that did."""
    known = last.get(step.account)
    if known is None:
        row = db.execute("SELECT step FROM steps WHERE account = ?", (step.account,)).fetchone()
        known = row[0] if row else -1
    if step.step <= known:
        raise StepRefused("the step number does not increase")
    last[step.account] = step.step


def _remember(db: sqlite3.Connection, account: str, record: Remember) -> None:
    if record.sealed is not None:
        stored = db.execute(SET_STATE, (account, record.name, record.version, record.sealed))
        if stored.rowcount != 1:
            raise StepRefused("the version of a record does not increase")
        return
    row = db.execute("SELECT version FROM state WHERE account = ? AND name = ?", (account, record.name)).fetchone()
    if row is None:
        return  # made and deleted between two commits: there is nothing to delete
    if record.version <= row[0]:
        raise StepRefused("the version of a deleted record does not increase")
    db.execute("DELETE FROM state WHERE account = ? AND name = ?", (account, record.name))


def _append_carry(db: sqlite3.Connection, account: str, carry: Carry) -> Held:
    values = VALUES.dump_json(carry.values)
    cursor = db.execute(
        INSERT_OUTBOX, (account, carry.network, carry.lane, carry.key, carry.request, values, carry.trace)
    )
    return Held(cursor.lastrowid or 0, account, carry)


def park(db: sqlite3.Connection, position: int, account: str | None, code: str, now_ms: int) -> None:
    """Set a waiting input aside with a code. StepRefused when there is no such input."""
    row = db.execute("SELECT account FROM inbox WHERE position = ? AND state = 'waiting'", (position,)).fetchone()
    if row is None or account not in (None, row[0]):
        raise StepRefused("the input is not waiting")
    db.execute("UPDATE inbox SET state = 'parked', refusal = ? WHERE position = ?", (code, position))
    db.execute(INSERT_TRACE, (position, row[0], "parked", code, now_ms))


def release_parked(db: sqlite3.Connection, position: int, now_ms: int) -> str | None:
    """Let a parked input wait again, behind all others: a session reads forward only. Returns its account."""
    rows = db.execute(
        "DELETE FROM inbox WHERE position = ? AND state = 'parked'"
        " RETURNING account, source, network, name, key, code, body, received_at",
        (position,),
    ).fetchall()
    if not rows:
        return None
    moved = append_inbox(db, rows[0])
    db.execute("UPDATE traces SET position = ? WHERE position = ?", (moved, position))
    db.execute(INSERT_TRACE, (moved, rows[0][0], "received", None, now_ms))
    return str(rows[0][0])


def finish_carries(db: sqlite3.Connection, finished: Sequence[Finished], now_ms: int) -> int:
    """Replace requests by their answers; returns how many answers stand in the inbox now."""
    return sum(_finish(db, each, now_ms) for each in finished)


def _finish(db: sqlite3.Connection, finished: Finished, now_ms: int) -> int:
    held, carry = finished.held, finished.held.carry
    if db.execute("DELETE FROM outbox WHERE id = ?", (held.id,)).rowcount != 1:
        return 0
    if carry.trace is not None and finished.code == "ok":
        db.execute(INSERT_TRACE, (carry.trace, held.account, "sent", None, now_ms))
    if not finished.told:
        return 0
    answer = ("answer", carry.network, carry.request, carry.key, finished.code, finished.body, now_ms)
    append_inbox(db, (held.account, *answer))
    return 1


def note_attempt(db: sqlite3.Connection, held: Held, attempts: int, next_at_ms: int) -> None:
    """Remember a try that did not come through."""
    db.execute("UPDATE outbox SET attempts = ?, next_at = ? WHERE id = ?", (attempts, next_at_ms, held.id))


def fire_timers(db: sqlite3.Connection, now_ms: int, limit: int) -> list[str]:
    """Turn due timers into `wake` entries, the earliest first, at most `limit`; returns the account of each."""
    due = db.execute(
        "SELECT account, network, name FROM timers WHERE at_ms <= ? ORDER BY at_ms LIMIT ?", (now_ms, limit)
    ).fetchall()
    for account, network, name in due:
        append_inbox(db, (account, "wake", network, name, None, "ok", b"", now_ms))
    db.executemany("DELETE FROM timers WHERE account = ? AND network = ? AND name = ?", due)
    return [row[0] for row in due]


def add_counts(db: sqlite3.Connection, counts: Iterable[tuple[str, int]]) -> None:
    """Add to counters."""
    db.executemany(ADD_COUNT, list(counts))


def prune_traces(db: sqlite3.Connection, *, keep: int, older_than_ms: int, limit: int) -> int:
    """Delete traces beyond the newest `keep` and those that are too old, at most `limit`; returns how many went."""
    newest = db.execute("SELECT coalesce(max(id), 0) FROM traces").fetchone()[0]
    gone = db.execute(
        "DELETE FROM traces WHERE id IN (SELECT id FROM traces WHERE id <= ? OR at < ? ORDER BY id LIMIT ?)",
        (newest - keep, older_than_ms, limit),
    )
    return gone.rowcount


def give_back_pages(db: sqlite3.Connection, limit: int) -> None:
    """Shrink the file by at most `limit` free pages."""
    free: int = db.execute("PRAGMA freelist_count").fetchone()[0]
    for _ in range(min(free, limit)):
        # One by one: the module ends a statement at its first row without columns, which is one page.
        db.execute("PRAGMA incremental_vacuum(1)")
