"""What an endpoint keeps over restarts: one SQLite file, for its owner only.

Kept are the messages that nobody has acknowledged yet, the ids of messages that were received, the retained secrets
of earlier sessions with whether the user verified them, the profile each contact's client speaks, the public keys that
contacts showed, and how strong sessions with them were. Session keys
are never kept: forward secrecy is worth more than a session that survives a restart.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

SEEN_KEPT = 1024
"""Ids of received messages kept per contact; twice what a gateway may have outstanding."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS contact (
    jid TEXT PRIMARY KEY, profile TEXT,
    sessions INTEGER NOT NULL DEFAULT 0, sealed_receipts INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS retained (jid TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS outgoing (
    n INTEGER PRIMARY KEY AUTOINCREMENT, jid TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL,
    more BLOB NOT NULL DEFAULT x'', UNIQUE (jid, id));
CREATE TABLE IF NOT EXISTS seen (
    n INTEGER PRIMARY KEY AUTOINCREMENT, jid TEXT NOT NULL, id TEXT NOT NULL, UNIQUE (jid, id));
CREATE TABLE IF NOT EXISTS kept (
    jid TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (jid, name));
PRAGMA user_version = 1;
"""


class StoreUnusable(Exception):
    """The store's file cannot be used; the sentence says why."""


@dataclass(frozen=True, slots=True)
class KeptMessage:
    """A message that waits for its acknowledgement. `id` is its origin-id (XEP-0359), the same in every session."""

    id: str
    body: str = field(repr=False)
    more: bytes = field(default=b"", repr=False)
    """What stands beside the text, XML (`client.content`)."""


class Store(Protocol):
    """Where an endpoint keeps things. `jid` is always the contact's bare JID. All calls are durable on return."""

    def contacts(self) -> Sequence[str]:
        """Contacts there ever was a session with, or for whom messages wait."""

    def had_session(self, jid: str) -> bool:
        """Whether there ever was a session with the contact."""

    def profile(self, jid: str) -> str | None:
        """Name of the profile the contact's client spoke last, None when unknown."""

    def established(self, jid: str, profile: str) -> None:
        """A session with the contact became active, in this profile."""

    def seals_receipts(self, jid: str) -> bool:
        """Whether the contact's client ever sent an encrypted receipt."""

    def sealed_receipt(self, jid: str) -> None:
        """The contact's client sent one."""

    def kept(self, jid: str, name: str) -> bytes | None:
        """What `keep` was given; `jid` is empty for what concerns all contacts."""

    def keep(self, jid: str, name: str, value: bytes) -> None:
        """Keep something small under a name: public keys that were seen, what sessions were like."""

    def retained(self, jid: str) -> bytes | None:
        """The retained secrets of sessions with the contact, as `keep_retained` was given them."""

    def keep_retained(self, jid: str, value: bytes) -> None:
        """Replace the retained secrets of the contact; the old ones are overwritten in the file."""

    def waiting(self, jid: str) -> Sequence[KeptMessage]:
        """Messages not yet acknowledged, oldest first."""

    def queue(self, jid: str, message: KeptMessage) -> None:
        """Add a message. ValueError when one of this id is waiting already."""

    def settle(self, jid: str, message_id: str) -> None:
        """A message was acknowledged, or failed for good: forget it."""

    def seen(self, jid: str, message_id: str) -> bool:
        """Whether a message of this id was received before."""

    def see(self, jid: str, message_id: str) -> None:
        """A message of this id was received and shown."""

    def close(self) -> None:
        """Let go of the file."""


class SqliteStore:
    """A `Store` in one file of mode 0600 (":memory:" for one that is not kept)."""

    def __init__(self, path: str | Path) -> None:
        """Open or create. Raises StoreUnusable when the file is none of ours, in use, or open to others."""
        self._path = str(path)
        if self._path != ":memory:":
            _require_private(Path(path))
        try:
            self._db = self._opened()
        except sqlite3.Error as error:
            raise StoreUnusable(f"{self._path} cannot be used as a store: {error}") from None

    def _opened(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, isolation_level=None, timeout=2)
        # One endpoint per store: two of them would send the same messages and rotate each other's secrets.
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA secure_delete = ON")
        database.executescript(_SCHEMA)
        if "more" not in {row[1] for row in database.execute("PRAGMA table_info(outgoing)")}:  # an older version's
            database.execute("ALTER TABLE outgoing ADD COLUMN more BLOB NOT NULL DEFAULT x''")
        return database

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def contacts(self) -> Sequence[str]:
        """Contacts there ever was a session with, or for whom messages wait."""
        rows = self._db.execute("SELECT jid FROM contact WHERE sessions > 0 UNION SELECT jid FROM outgoing ORDER BY 1")
        return [str(row[0]) for row in rows]

    def had_session(self, jid: str) -> bool:
        """Whether there ever was a session with the contact."""
        row = self._db.execute("SELECT sessions FROM contact WHERE jid = ?", (jid,)).fetchone()
        return row is not None and row[0] > 0

    def profile(self, jid: str) -> str | None:
        """Name of the profile the contact's client spoke last, None when unknown."""
        row = self._db.execute("SELECT profile FROM contact WHERE jid = ?", (jid,)).fetchone()
        return None if row is None else row[0]

    def established(self, jid: str, profile: str) -> None:
        """A session with the contact became active, in this profile."""
        self._db.execute(
            "INSERT INTO contact (jid, profile, sessions) VALUES (?, ?, 1)"
            " ON CONFLICT (jid) DO UPDATE SET profile = excluded.profile, sessions = sessions + 1",
            (jid, profile),
        )

    def seals_receipts(self, jid: str) -> bool:
        """Whether the contact's client ever sent an encrypted receipt."""
        row = self._db.execute("SELECT sealed_receipts FROM contact WHERE jid = ?", (jid,)).fetchone()
        return row is not None and row[0] > 0

    def sealed_receipt(self, jid: str) -> None:
        """The contact's client sent one."""
        self._db.execute("UPDATE contact SET sealed_receipts = 1 WHERE jid = ?", (jid,))

    def retained(self, jid: str) -> bytes | None:
        """The retained secrets of sessions with the contact, as `keep_retained` was given them."""
        row = self._db.execute("SELECT value FROM retained WHERE jid = ?", (jid,)).fetchone()
        return None if row is None else bytes(row[0])

    def keep_retained(self, jid: str, value: bytes) -> None:
        """Replace the retained secrets of the contact; the old ones are overwritten in the file."""
        self._db.execute(
            "INSERT INTO retained (jid, value) VALUES (?, ?) ON CONFLICT (jid) DO UPDATE SET value = excluded.value",
            (jid, value),
        )
        # Old secrets must not linger in the write-ahead log either.
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def kept(self, jid: str, name: str) -> bytes | None:
        """What `keep` was given; `jid` is empty for what concerns all contacts."""
        row = self._db.execute("SELECT value FROM kept WHERE jid = ? AND name = ?", (jid, name)).fetchone()
        return None if row is None else bytes(row[0])

    def keep(self, jid: str, name: str, value: bytes) -> None:
        """Keep something small under a name."""
        self._db.execute("INSERT OR REPLACE INTO kept (jid, name, value) VALUES (?, ?, ?)", (jid, name, value))

    def waiting(self, jid: str) -> Sequence[KeptMessage]:
        """Messages not yet acknowledged, oldest first."""
        rows = self._db.execute("SELECT id, body, more FROM outgoing WHERE jid = ? ORDER BY n", (jid,))
        return [KeptMessage(id, body, bytes(more)) for id, body, more in rows]

    def queue(self, jid: str, message: KeptMessage) -> None:
        """Add a message. ValueError when one of this id is waiting already."""
        try:
            kept = (jid, message.id, message.body, message.more)
            self._db.execute("INSERT INTO outgoing (jid, id, body, more) VALUES (?, ?, ?, ?)", kept)
        except sqlite3.IntegrityError:
            taken = True
        else:
            taken = False
        if taken:
            raise ValueError("a message of this id is waiting already")

    def settle(self, jid: str, message_id: str) -> None:
        """A message was acknowledged, or failed for good: forget it."""
        self._db.execute("DELETE FROM outgoing WHERE jid = ? AND id = ?", (jid, message_id))

    def seen(self, jid: str, message_id: str) -> bool:
        """Whether a message of this id was received before."""
        row = self._db.execute("SELECT 1 FROM seen WHERE jid = ? AND id = ?", (jid, message_id)).fetchone()
        return row is not None

    def see(self, jid: str, message_id: str) -> None:
        """A message of this id was received and shown."""
        with self._transaction():
            self._db.execute("INSERT OR IGNORE INTO seen (jid, id) VALUES (?, ?)", (jid, message_id))
            self._db.execute(
                "DELETE FROM seen WHERE jid = ?1 AND n <= "
                "(SELECT n FROM seen WHERE jid = ?1 ORDER BY n DESC LIMIT 1 OFFSET ?2)",
                (jid, SEEN_KEPT),
            )

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def _require_private(path: Path) -> None:
    """Create the file for its owner only, or make sure that it is."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            mode = os.fstat(handle).st_mode & 0o777
        finally:
            os.close(handle)
    except OSError as error:
        raise StoreUnusable(f"{path} cannot be opened: {error.strerror}") from None
    if mode & 0o077:
        raise StoreUnusable(f"{path} can be read by others (mode {mode:04o}); chmod 600 it")
