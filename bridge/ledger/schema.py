"""Tables of the ledger, and the steps from each version of them to the next."""

import sqlite3

from bridge.ledger.errors import LedgerForeign, LedgerNewer

APPLICATION_ID = 0x4C6B6774
"""`Lkgt`, in the header of the file: tells a ledger from other SQLite files."""

TABLES_1 = (
    # Positions are never used twice (autoincrement): a trace names one message for ever.
    """CREATE TABLE inbox (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        account TEXT NOT NULL,
        source TEXT NOT NULL CHECK (source IN ('arrival', 'answer', 'wake')),
        network TEXT NOT NULL,
        name TEXT NOT NULL,
        key TEXT,
        code TEXT NOT NULL,
        body BLOB NOT NULL,
        state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'parked')),
        refusal TEXT,
        received_at INTEGER NOT NULL
    ) STRICT""",
    "CREATE INDEX inbox_waiting ON inbox (account, position) WHERE state = 'waiting'",
    "CREATE INDEX inbox_parked ON inbox (position) WHERE state = 'parked'",
    """CREATE TABLE state (
        account TEXT NOT NULL,
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        sealed BLOB NOT NULL,
        PRIMARY KEY (account, name)
    ) STRICT""",
    """CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        account TEXT NOT NULL,
        network TEXT NOT NULL,
        lane TEXT NOT NULL,
        key TEXT NOT NULL,
        request TEXT NOT NULL,
        "values" BLOB NOT NULL,
        trace INTEGER,
        attempts INTEGER NOT NULL DEFAULT 0,
        next_at INTEGER NOT NULL DEFAULT 0
    ) STRICT""",
    "CREATE INDEX outbox_lane ON outbox (network, account, lane, id)",
    """CREATE TABLE timers (
        account TEXT NOT NULL,
        network TEXT NOT NULL,
        name TEXT NOT NULL,
        at_ms INTEGER NOT NULL,
        PRIMARY KEY (account, network, name)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX timers_due ON timers (at_ms)",
    """CREATE TABLE marks (
        account TEXT NOT NULL,
        network TEXT NOT NULL,
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (account, network, name)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE traces (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        position INTEGER NOT NULL,
        account TEXT NOT NULL,
        stage TEXT NOT NULL,
        code TEXT,
        at INTEGER NOT NULL
    ) STRICT""",
    "CREATE TABLE steps (account TEXT PRIMARY KEY, step INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE counters (code TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT, WITHOUT ROWID",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (TABLES_1,)
"""Entry n leads from version n to version n + 1. An entry that was released is never changed."""


def migrate(connection: sqlite3.Connection) -> int:
    """Bring the tables to the current version, each step in a transaction of its own; returns the version found.

    LedgerForeign: a database of something else. LedgerNewer: of a later version of ours.
    """
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if application != APPLICATION_ID and not (empty and application == 0 and found == 0):
        raise LedgerForeign
    if found > len(MIGRATIONS):
        raise LedgerNewer(f"version {found}, this program knows {len(MIGRATIONS)}")
    for version in range(found, len(MIGRATIONS)):
        connection.execute("BEGIN IMMEDIATE")
        for statement in MIGRATIONS[version]:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version + 1}")
        connection.execute("COMMIT")
    return found
