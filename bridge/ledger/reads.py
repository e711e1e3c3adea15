"""The reads of the SQLite ledger: functions of a connection; they see what is durable."""

import sqlite3

from bridge.ledger.model import Depths, Held, Lane, Parked, TraceRow
from bridge.ledger.writes import VALUES
from bridge.wire.link import Carry, Input, SealedRecord


def inbox(db: sqlite3.Connection, account: str, after: int, limit: int) -> list[Input]:
    """Waiting inputs of the account behind a position."""
    rows = db.execute(
        "SELECT position, source, network, name, key, code, body FROM inbox"
        " WHERE account = ? AND state = 'waiting' AND position > ? ORDER BY position LIMIT ?",
        (account, after, limit),
    ).fetchall()
    return [
        Input(
            position=position, account=account, source=source, network=network, name=name, key=key, code=code, body=body
        )
        for position, source, network, name, key, code, body in rows
    ]


def lane(db: sqlite3.Connection, which: Lane, after: int, limit: int) -> list[Held]:
    """Requests of a lane behind a number."""
    rows = db.execute(
        'SELECT id, key, request, "values", trace, attempts, next_at FROM outbox'
        " WHERE network = ? AND account = ? AND lane = ? AND id > ? ORDER BY id LIMIT ?",
        (which.network, which.account, which.lane, after, limit),
    ).fetchall()
    return [
        Held(
            number,
            which.account,
            Carry(
                key=key,
                network=which.network,
                request=request,
                lane=which.lane,
                values=VALUES.validate_json(values),
                trace=trace,
            ),
            attempts,
            next_at,
        )
        for number, key, request, values, trace, attempts, next_at in rows
    ]


def newest_request(db: sqlite3.Connection) -> int:
    """The highest number in the outbox."""
    found: int | None = db.execute("SELECT max(id) FROM outbox").fetchone()[0]
    return found or 0


def lanes(db: sqlite3.Connection) -> list[Lane]:
    """Lanes that hold requests."""
    return [Lane(*row) for row in db.execute("SELECT DISTINCT network, account, lane FROM outbox")]


def records(db: sqlite3.Connection, account: str, after: str, limit: int) -> list[SealedRecord]:
    """Sealed records of the account whose names come behind `after`."""
    rows = db.execute(
        "SELECT name, version, sealed FROM state WHERE account = ? AND name > ? ORDER BY name LIMIT ?",
        (account, after, limit),
    ).fetchall()
    return [SealedRecord(name=name, version=version, sealed=sealed) for name, version, sealed in rows]


def waiting_accounts(db: sqlite3.Connection) -> list[str]:
    """Accounts with waiting inputs."""
    return [row[0] for row in db.execute("SELECT DISTINCT account FROM inbox WHERE state = 'waiting'")]


def known_accounts(db: sqlite3.Connection) -> list[str]:
    """Accounts that have sealed state."""
    return [row[0] for row in db.execute("SELECT DISTINCT account FROM state")]


def next_timer(db: sqlite3.Connection) -> int | None:
    """Time of the earliest timer."""
    found: int | None = db.execute("SELECT min(at_ms) FROM timers").fetchone()[0]
    return found


def mark(db: sqlite3.Connection, account: str, network: str, name: str) -> str | None:
    """A mark's value."""
    row = db.execute(
        "SELECT value FROM marks WHERE account = ? AND network = ? AND name = ?", (account, network, name)
    ).fetchone()
    return None if row is None else str(row[0])


def depths(db: sqlite3.Connection) -> Depths:
    """How much is waiting."""
    row = db.execute(
        "SELECT (SELECT count(*) FROM inbox WHERE state = 'waiting'),"
        " (SELECT count(*) FROM inbox WHERE state = 'parked'), (SELECT count(*) FROM outbox)"
    ).fetchone()
    return Depths(*row)


def counters(db: sqlite3.Connection) -> dict[str, int]:
    """All counters."""
    return dict(db.execute("SELECT code, count FROM counters ORDER BY code").fetchall())


def parked(db: sqlite3.Connection, limit: int) -> list[Parked]:
    """Inputs that were set aside, the oldest first."""
    rows = db.execute(
        "SELECT position, account, source, network, name, refusal, received_at, length(body) FROM inbox"
        " WHERE state = 'parked' ORDER BY position LIMIT ?",
        (limit,),
    )
    return [Parked(*row) for row in rows]


def traces(db: sqlite3.Connection, position: int | None, limit: int) -> list[TraceRow]:
    """Stages of one message, or the newest stages of all, in the order in which they were reached."""
    if position is not None:
        found = db.execute(
            "SELECT position, account, stage, code, at FROM traces WHERE position = ? ORDER BY id DESC LIMIT ?",
            (position, limit),
        )
    else:
        found = db.execute("SELECT position, account, stage, code, at FROM traces ORDER BY id DESC LIMIT ?", (limit,))
    return [TraceRow(*row) for row in found][::-1]
