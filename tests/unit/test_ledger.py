"""The SQLite ledger: what is durable, what belongs together, who may open it."""

import asyncio
import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.ledger.errors import (
    LedgerClosed,
    LedgerCorrupt,
    LedgerForeign,
    LedgerFull,
    LedgerLocked,
    LedgerNewer,
    LedgerUnreachable,
    StepRefused,
)
from bridge.ledger.model import Depths, Finished, Held, Lane
from bridge.ledger.place import connect
from bridge.ledger.sqlite import Inspector, SqliteLedger
from bridge.ledger.writes import REFUSED_WAKE_MS
from bridge.wire.link import Remember, Report, Trace, WakeAt
from tests.unit.ledger_parts import carry, stepped

LANE = Lane("loopback", "alice", "lane")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "var" / "ledger.db"


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[SqliteLedger]:
    opened = SqliteLedger(path)
    yield opened
    with contextlib.suppress(sqlite3.ProgrammingError, OSError):
        await opened.close()


async def arrive(ledger: SqliteLedger, *bodies: bytes, account: str = "alice") -> list[int]:
    return await ledger.append_arrivals(account, "xmpp", [("stanza", body) for body in bodies])


def on_disk(path: Path) -> set[str]:
    return {each.name for each in path.parent.iterdir()}


def content(path: Path) -> bytes:
    return path.read_bytes()


async def records(ledger: SqliteLedger, account: str = "alice") -> dict[str, tuple[int, bytes]]:
    return {record.name: (record.version, record.sealed) async for record in ledger.read_records(account)}


async def test_arrivals_wait_in_the_order_in_which_they_came(ledger: SqliteLedger) -> None:
    positions = await arrive(ledger, b"one", b"two")
    positions += await arrive(ledger, b"three")
    found = ledger.read_inbox("alice", 0, 10)
    assert positions == sorted(set(positions))
    assert [(entry.position, entry.body) for entry in found] == list(
        zip(positions, [b"one", b"two", b"three"], strict=True)
    )
    assert {(entry.source, entry.network, entry.name, entry.code) for entry in found} == {
        ("arrival", "xmpp", "stanza", "ok")
    }
    assert ledger.waiting == 3


async def test_a_mark_and_its_arrivals_are_stored_together(ledger: SqliteLedger, path: Path) -> None:
    await ledger.append_arrivals("alice", "matrix", [("event", b"e")], mark=("since", "s1"))
    await ledger.append_arrivals("alice", "matrix", [], mark=("since", "s2"))
    assert ledger.mark("alice", "matrix", "since") == "s2"
    assert ledger.mark("alice", "xmpp", "since") is None


async def test_a_step_consumes_its_input_and_leaves_all_its_effects(ledger: SqliteLedger) -> None:
    (position,) = await arrive(ledger, b"one")
    step = stepped(
        position,
        1,
        carries=(carry("k1", trace=position),),
        wakes=(WakeAt(network="xmpp", name="later", at_ms=5),),
        traces=(Trace(position=position, stage="opened"),),
        reports=(Report(code="negotiated", count=2),),
    )
    applied = await ledger.commit_steps([step])
    assert [(held.account, held.carry) for held in applied.released] == [("alice", step.carries[0])]
    assert applied.steps == {"alice": 1}
    assert ledger.read_inbox("alice", 0, 10) == []
    assert ledger.read_lane(LANE, 0, 10) == list(applied.released)
    assert await records(ledger) == {"root": (1, b"root 1")}
    assert ledger.next_timer() == 5
    assert ledger.counters() == {"negotiated": 2}
    assert ledger.depths() == Depths(inbox=0, parked=0, outbox=1)
    assert ledger.waiting == 0


async def test_one_bad_step_undoes_the_whole_batch_and_nothing_else(ledger: SqliteLedger) -> None:
    first, second = await arrive(ledger, b"one", b"two")
    bad = asyncio.ensure_future(ledger.commit_steps([stepped(first, 1, carries=(carry("k"),)), stepped(second + 7, 2)]))
    good = asyncio.ensure_future(arrive(ledger, b"three"))  # of the same group commit
    with pytest.raises(StepRefused):
        await bad
    assert len(await good) == 1
    assert [entry.body for entry in ledger.read_inbox("alice", 0, 10)] == [b"one", b"two", b"three"]
    assert await records(ledger) == {}
    assert ledger.lanes() == []
    assert ledger.waiting == 3


@pytest.mark.parametrize("again", [1, 0])
async def test_a_step_number_must_increase(ledger: SqliteLedger, again: int) -> None:
    first, second = await arrive(ledger, b"one", b"two")
    await ledger.commit_steps([stepped(first, 1)])
    late = stepped(second, again, remembers=(Remember(name="other", version=9, sealed=b"x"),))
    with pytest.raises(StepRefused):
        await ledger.commit_steps([late])
    assert await records(ledger) == {"root": (1, b"root 1")}


async def test_a_step_that_changes_no_state_bears_an_old_number(ledger: SqliteLedger) -> None:
    first, second = await arrive(ledger, b"one", b"two")
    await ledger.commit_steps([stepped(first, 4)])
    applied = await ledger.commit_steps([stepped(second, 3, remembers=(), carries=(carry("k"),))])
    assert applied.steps == {}
    assert len(applied.released) == 1


async def test_an_older_version_of_a_record_is_refused(ledger: SqliteLedger) -> None:
    first, second = await arrive(ledger, b"one", b"two")
    await ledger.commit_steps([stepped(first, 1, remembers=(Remember(name="r", version=5, sealed=b"new"),))])
    for stale in (Remember(name="r", version=5, sealed=b"old"), Remember(name="r", version=4, sealed=None)):
        with pytest.raises(StepRefused):
            await ledger.commit_steps([stepped(second, 2, remembers=(stale,))])
    assert await records(ledger) == {"r": (5, b"new")}


async def test_a_deleted_record_is_gone_and_may_come_back(ledger: SqliteLedger) -> None:
    positions = await arrive(ledger, b"1", b"2", b"3")
    for step, (position, sealed) in enumerate(zip(positions, (b"a", None, b"b"), strict=True), 1):
        await ledger.commit_steps(
            [stepped(position, step, remembers=(Remember(name="r", version=step, sealed=sealed),))]
        )
        assert await records(ledger) == ({} if sealed is None else {"r": (step, sealed)})


async def test_another_accounts_input_cannot_be_consumed(ledger: SqliteLedger) -> None:
    (position,) = await arrive(ledger, b"one", account="bob")
    with pytest.raises(StepRefused):
        await ledger.commit_steps([stepped(position, 1, account="alice")])


async def test_a_refused_input_is_parked_with_its_code_and_nothing_else_of_its_step_is_kept(
    ledger: SqliteLedger, path: Path
) -> None:
    (position,) = await arrive(ledger, b"odd")
    await ledger.commit_steps([stepped(position, 1, carries=(carry("k"),), refused="raised-value-error")])
    await ledger.commit_steps([stepped(0, 1, refused="raised-value-error")])
    assert ledger.read_inbox("alice", 0, 10) == []
    assert ledger.lanes() == []
    assert ledger.waiting == 0
    inspector = Inspector(path)
    (parked,) = inspector.parked()
    assert (parked.position, parked.refusal, parked.size) == (position, "raised-value-error", 3)
    assert [(row.stage, row.code) for row in inspector.traces(position)] == [
        ("received", None),
        ("parked", "raised-value-error"),
    ]
    inspector.close()
    assert await ledger.release_parked(position) == "alice"
    assert await ledger.release_parked(position) is None
    assert [entry.body for entry in ledger.read_inbox("alice", 0, 10)] == [b"odd"]
    assert ledger.waiting == 1


async def test_a_released_input_stands_behind_all_others_with_its_trace(ledger: SqliteLedger, path: Path) -> None:
    odd, later = await arrive(ledger, b"odd", b"later")
    await ledger.park(odd, "malformed")
    assert await ledger.release_parked(odd) == "alice"
    first, second = ledger.read_inbox("alice", 0, 10)
    assert (first.position, first.body, second.body) == (later, b"later", b"odd")
    assert second.position > later
    inspector = Inspector(path)
    assert [row.stage for row in inspector.traces(second.position)] == ["received", "parked", "received"]
    assert inspector.traces(odd) == []
    inspector.close()


async def test_an_outcome_replaces_the_request_by_its_answer(ledger: SqliteLedger, path: Path) -> None:
    (position,) = await arrive(ledger, b"one")
    applied = await ledger.commit_steps([stepped(position, 1, carries=(carry("k1", trace=position), carry("k2")))])
    first, second = applied.released
    assert await ledger.finish_carries([Finished(first, "ok", b"response"), Finished(second, "forbidden", b"")]) == 2
    assert await ledger.finish_carries([Finished(first, "ok", b"twice")]) == 0
    assert ledger.waiting == 2
    assert [(e.source, e.name, e.key, e.code, e.body) for e in ledger.read_inbox("alice", 0, 10)] == [
        ("answer", "echo", "k1", "ok", b"response"),
        ("answer", "echo", "k2", "forbidden", b""),
    ]
    assert ledger.lanes() == []
    inspector = Inspector(path)
    assert [row.stage for row in inspector.traces(position)] == ["received", "sent"]
    inspector.close()


async def test_timers_become_inputs_when_due_and_not_before(ledger: SqliteLedger) -> None:
    wakes = (WakeAt(network="xmpp", name="a", at_ms=10), WakeAt(network="xmpp", name="b", at_ms=20))
    await ledger.commit_steps([stepped(0, 1, wakes=wakes)])
    await ledger.commit_steps([stepped(0, 2, wakes=(WakeAt(network="xmpp", name="a", at_ms=15),))])
    assert await ledger.fire_timers(14) == frozenset()
    assert await ledger.fire_timers(15) == {"alice"}
    assert await ledger.fire_timers(15) == frozenset()
    assert [(e.source, e.name) for e in ledger.read_inbox("alice", 0, 10)] == [("wake", "a")]
    assert ledger.next_timer() == 20
    assert ledger.waiting == 1


async def test_a_wake_that_was_refused_comes_again_and_is_parked_once(path: Path) -> None:
    ledger = SqliteLedger(path, now_ms=lambda: 1_000)
    for again in range(3):
        await ledger.commit_steps([stepped(0, again + 1, wakes=(WakeAt(network="xmpp", name="a", at_ms=9),))])
        await ledger.fire_timers(1_000)
        (entry,) = ledger.read_inbox("alice", 0, 10)
        await ledger.commit_steps([stepped(entry.position, 1, refused="raised-odd")])
        assert ledger.next_timer() == 1_000 + REFUSED_WAKE_MS
        with contextlib.closing(Inspector(path)) as inspector:
            assert [each.position for each in inspector.parked()] == [entry.position]
    assert ledger.waiting == 0
    await ledger.commit_steps([stepped(0, 9, wakes=(WakeAt(network="xmpp", name="a", at_ms=7),))])
    await ledger.fire_timers(8)
    (entry,) = ledger.read_inbox("alice", 0, 10)
    await ledger.commit_steps([stepped(0, 10, wakes=(WakeAt(network="xmpp", name="a", at_ms=2_000),))])
    await ledger.commit_steps([stepped(entry.position, 1, refused="raised-odd")])
    assert ledger.next_timer() == 2_000, "what is due before stays so"
    await ledger.close()


async def test_tries_are_remembered_with_the_request(ledger: SqliteLedger) -> None:
    applied = await ledger.commit_steps([stepped(0, 1, carries=(carry("k1"),))])
    await ledger.note_attempt(applied.released[0], 3, 99)
    (held,) = ledger.read_lane(LANE, 0, 10)
    assert (held.attempts, held.next_at_ms) == (3, 99)


async def test_everything_is_there_again_after_reopening(path: Path) -> None:
    ledger = SqliteLedger(path)
    (position,) = await arrive(ledger, b"one")
    await arrive(ledger, b"two")
    await ledger.commit_steps([stepped(position, 1, carries=(carry("k1"),))])
    await ledger.close()
    again = SqliteLedger(path)
    assert again.waiting == 1
    assert [entry.body for entry in again.read_inbox("alice", 0, 10)] == [b"two"]
    assert [held.carry.key for held in again.read_lane(LANE, 0, 10)] == ["k1"]
    assert again.known_accounts() == ["alice"]
    assert again.waiting_accounts() == ["alice"]
    assert (await arrive(again, b"three"))[0] > position + 1
    await again.close()


async def test_old_traces_are_dropped_and_pages_given_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.ledger.sqlite.KEPT_TRACES", 5)
    ledger = SqliteLedger(path)
    await arrive(ledger, *[b"x" * 4000] * 200)
    grown = ledger._reader.execute("PRAGMA page_count").fetchone()[0]
    await ledger.commit_steps([stepped(e.position, e.position) for e in ledger.read_inbox("alice", 0, 1000)])
    for _ in range(3):
        await ledger.maintain()
    inspector = Inspector(path)
    assert len(inspector.traces()) == 5
    inspector.close()
    assert ledger._reader.execute("PRAGMA page_count").fetchone()[0] < grown / 2
    await ledger.close()


async def test_deleted_content_is_overwritten_in_the_file(path: Path) -> None:
    ledger = SqliteLedger(path)
    (position,) = await arrive(ledger, b"ZEBRA-CIPHERTEXT" * 600)
    await ledger.commit_steps([stepped(position, 1)])
    await ledger.close()
    assert on_disk(path) == {"ledger.db", "ledger.db.lock"}
    assert b"ZEBRA-CIPHERTEXT" not in content(path)


async def test_only_its_owner_may_read_it(ledger: SqliteLedger, path: Path) -> None:
    await arrive(ledger, b"x")
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}
    assert modes == dict.fromkeys(["ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.lock"], 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_second_gateway_is_turned_away(ledger: SqliteLedger, path: Path) -> None:
    with pytest.raises(LedgerLocked):
        SqliteLedger(path)
    code = f"from pathlib import Path\nfrom bridge.ledger.sqlite import SqliteLedger\nSqliteLedger(Path({str(path)!r}))"
    ended = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], capture_output=True, check=False)
    assert ended.returncode != 0
    assert b"Another gateway is using this ledger" in ended.stderr


async def test_the_lock_is_free_again_after_closing(path: Path) -> None:
    for _ in range(2):
        await SqliteLedger(path).close()


def test_a_database_of_something_else_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (a)")
        db.commit()
    before = path.read_bytes()
    with pytest.raises(LedgerForeign):
        SqliteLedger(path)
    with pytest.raises(LedgerForeign):
        Inspector(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"my notes\n" * 1000)
    with pytest.raises(LedgerForeign):
        SqliteLedger(path)
    assert path.read_bytes() == b"my notes\n" * 1000


async def test_a_ledger_of_a_newer_version_is_refused(path: Path) -> None:
    await SqliteLedger(path).close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerNewer):
        SqliteLedger(path)


async def test_a_damaged_ledger_is_refused(path: Path) -> None:
    ledger = SqliteLedger(path)
    await arrive(ledger, *[b"x" * 3000] * 20)
    await ledger.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(8192))
    with pytest.raises(LedgerCorrupt):
        SqliteLedger(path)


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(LedgerUnreachable):
        SqliteLedger(tmp_path / "file" / "ledger.db")


def test_a_link_to_somewhere_else_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LedgerUnreachable):
        SqliteLedger(tmp_path / "ledger.db")
    assert not (tmp_path / "elsewhere").exists()


async def test_a_ledger_that_nobody_has_open_can_be_inspected(path: Path) -> None:
    ledger = SqliteLedger(path)
    await arrive(ledger, b"one")
    await ledger.close()
    inspector = Inspector(path)
    assert inspector.depths() == Depths(inbox=1, parked=0, outbox=0)
    inspector.close()
    await SqliteLedger(path).close()


async def test_a_full_disk_stores_nothing_and_says_so_and_recovers(ledger: SqliteLedger) -> None:
    (kept,) = await arrive(ledger, b"kept")
    pages = ledger._group._db.execute("PRAGMA page_count").fetchone()[0]
    ledger._group._db.execute(f"PRAGMA max_page_count = {pages + 2}")
    small = asyncio.ensure_future(ledger.set_mark("alice", "xmpp", "m", "v"))
    big = asyncio.ensure_future(arrive(ledger, b"x" * 100_000))
    for write in (small, big):  # both were of the group that could not be committed
        with pytest.raises(LedgerFull):
            await write
    assert ledger.mark("alice", "xmpp", "m") is None
    assert [e.position for e in ledger.read_inbox("alice", 0, 10)] == [kept]
    assert ledger.waiting == 1
    ledger._group._db.execute("PRAGMA max_page_count = 1000000")
    await arrive(ledger, b"x" * 100_000)
    assert ledger.waiting == 2


async def test_closing_finishes_what_was_asked_for(path: Path) -> None:
    ledger = SqliteLedger(path)
    asked = [asyncio.ensure_future(arrive(ledger, b"%d" % n)) for n in range(50)]
    await asyncio.sleep(0)
    await ledger.close()
    assert [len(each.result()) for each in asked] == [1] * 50
    with pytest.raises(LedgerClosed):
        await arrive(ledger, b"late")


async def test_a_caller_that_gives_up_does_not_disturb_the_others(ledger: SqliteLedger) -> None:
    gives_up = asyncio.ensure_future(arrive(ledger, b"one"))
    stays = asyncio.ensure_future(arrive(ledger, b"two"))
    await asyncio.sleep(0)
    gives_up.cancel()
    await stays
    stored = [e.body for e in ledger.read_inbox("alice", 0, 10)]
    assert b"two" in stored
    assert ledger.waiting == len(stored)


async def test_what_others_read_meanwhile_does_not_stop_the_writer(ledger: SqliteLedger, path: Path) -> None:
    reader = connect(path, read_only=True)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM inbox").fetchone()
    await arrive(ledger, b"one")
    assert reader.execute("SELECT count(*) FROM inbox").fetchone()[0] == 0
    reader.execute("COMMIT")
    with pytest.raises(sqlite3.OperationalError):
        reader.execute("DELETE FROM inbox")
    reader.close()


def test_held_requests_do_not_show_their_content() -> None:
    assert "secret" not in repr(Held(1, "alice", carry("k", body=b"secret")))


async def test_state_that_was_replaced_or_deleted_is_in_no_file_after_maintenance(
    ledger: SqliteLedger, path: Path
) -> None:
    """Sealed with a key that lives long: what it sealed before must not be there when somebody takes both."""
    for step in range(1, 40):
        (position,) = await arrive(ledger, b"in %d" % step)
        records = tuple(Remember(name=f"{n:032x}", version=step, sealed=b"SEALED-%d-" % step * 50) for n in range(5))
        await ledger.commit_steps([stepped(position, step, remembers=records)])
    (position,) = await arrive(ledger, b"last")
    gone = tuple(Remember(name=f"{n:032x}", version=40, sealed=None) for n in range(4))
    await ledger.commit_steps([stepped(position, 40, remembers=gone)])
    await ledger.maintain()
    held = b"".join(file.read_bytes() for file in path.parent.iterdir() if file.is_file())
    assert b"SEALED-39-" in held, "the one that is still there"
    assert held.count(b"SEALED-39-") == 50
    for step in range(1, 39):
        assert b"SEALED-%d-" % step not in held
