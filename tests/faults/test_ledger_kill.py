"""kill -9 of a gateway at random instants under traffic: nothing lost, nothing repeated but with its key, in order."""

import contextlib
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

KILLS = 25
LAST = 40_000


def start(ledger: Path, output: Path, last: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.ledger_writer", str(ledger), str(output), str(last)],
        cwd=Path(__file__).parents[2],
    )


def carried(output: Path) -> list[tuple[str, int]]:
    lines = output.read_bytes().split(b"\n")[:-1] if output.exists() else []
    return [(key.decode(), int(number)) for key, number in (line.split() for line in lines)]


def check(output: Path, upto: int | None) -> int:
    """The far network keeps the first of requests with one key; returns how many it kept."""
    kept: dict[str, int] = {}
    for key, number in carried(output):
        assert kept.setdefault(key, number) == number
    numbers = list(kept.values())
    assert numbers == list(range(1, len(numbers) + 1))
    assert upto is None or len(numbers) == upto
    return len(numbers)


@pytest.mark.timeout(300)
def test_a_gateway_killed_at_random_instants_loses_and_repeats_nothing(tmp_path: Path) -> None:
    ledger, output = tmp_path / "ledger.db", tmp_path / "carried"
    dice = random.Random(8)
    under_traffic = 0
    for _ in range(KILLS):
        before = len(carried(output))
        process = start(ledger, output, LAST)
        deadline = time.monotonic() + 30
        while len(carried(output)) == before and time.monotonic() < deadline:
            time.sleep(0.01)  # it is at work now
        time.sleep(dice.uniform(0, 0.15))
        process.kill()
        under_traffic += process.wait() == -9
        check(output, None)
    last = mark(ledger) + 500
    assert start(ledger, output, last).wait(120) == 0
    check(output, last)
    assert under_traffic == KILLS
    with contextlib.closing(sqlite3.connect(ledger)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        for table in ("inbox", "outbox"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def mark(ledger: Path) -> int:
    """The number up to which the source was acknowledged."""
    with contextlib.closing(sqlite3.connect(ledger)) as db:
        row = db.execute("SELECT value FROM marks WHERE name = 'since'").fetchone()
    return int(row[0]) if row else 0
