"""The file of a SQLite ledger: who may read it, who may open it, and what a connection is set to."""

import fcntl
import os
import sqlite3
from pathlib import Path

from bridge.ledger.errors import LedgerCorrupt, LedgerError, LedgerForeign, LedgerLocked, LedgerUnreachable
from bridge.ledger.group import ledger_error
from bridge.ledger.schema import APPLICATION_ID, migrate

CHECKED_AT_OPEN = 64 << 20
"""Octets up to which the whole file is checked when it is opened."""


def prepare(path: Path) -> None:
    """Make the folder (0700) and the file (0600) if they are missing; take the file from everybody else."""
    trouble = ""
    try:
        path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        os.fchmod(descriptor, 0o600)
        os.close(descriptor)
    except OSError as error:
        trouble = os.strerror(error.errno or 0)
    if trouble:
        raise LedgerUnreachable(trouble)


def lock(path: Path) -> int:
    """The descriptor of the lock file, locked until it is closed or the process dies. LedgerLocked."""
    descriptor = -1
    try:
        descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
    except OSError as error:
        raise LedgerUnreachable(os.strerror(error.errno or 0)) from None
    else:
        return descriptor
    raise LedgerLocked


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection, set up. Raises sqlite3.Error."""
    mode = "ro" if read_only else "rw"
    db = sqlite3.connect(
        f"file:{path.as_posix().replace('%', '%25').replace('?', '%3f').replace('#', '%23')}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,  # statements and commits never overlap, but run in two threads
        cached_statements=256,
        timeout=5,
    )
    if read_only:
        db.execute("PRAGMA query_only = 1")
    return db


def open_writer(path: Path) -> sqlite3.Connection:
    """The writing connection, tables brought up to date. LedgerForeign, LedgerNewer, LedgerCorrupt, LedgerError."""
    try:
        db = connect(path)
    except sqlite3.Error as error:
        raise _open_error(error) from None
    try:
        # Auto-vacuum can be chosen only before the first table is made.
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA secure_delete = ON")
        migrate_first = db.execute("PRAGMA application_id").fetchone()[0]
        if migrate_first == 0 and db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            raise LedgerForeign  # before the journal mode, which is written into the file
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA journal_size_limit = 67108864")
        db.execute("PRAGMA trusted_schema = OFF")
        migrate(db)
        _check(db, path)
    except LedgerError:
        db.close()
        raise
    except sqlite3.Error as error:
        db.close()
        raise _open_error(error) from None
    return db


def open_reader(path: Path) -> sqlite3.Connection:
    """A reading connection. LedgerForeign, LedgerCorrupt, LedgerUnreachable."""
    try:
        db = connect(path, read_only=True)
        ours = db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    except sqlite3.Error as error:
        raise _open_error(error) from None
    if not ours:
        db.close()
        raise LedgerForeign
    return db


def _check(db: sqlite3.Connection, path: Path) -> None:
    if path.stat().st_size <= CHECKED_AT_OPEN and db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise LedgerCorrupt


def _open_error(error: sqlite3.Error) -> LedgerError:
    primary = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if primary == sqlite3.SQLITE_NOTADB:
        return LedgerForeign()
    if primary in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY):
        return LedgerUnreachable(getattr(error, "sqlite_errorname", "") or "")
    return ledger_error(error)
