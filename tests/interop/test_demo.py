"""`make demo`: the main job on real servers, and that nothing stays behind however it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from rig.services import ROOT

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]


@contextmanager
def _demo(folder: Path, *words: str) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-m", "demo", *words],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _read_until(process: "subprocess.Popen[str]", words: str) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return lines
    pytest.fail(f"the demo ended before “{words}”:\n{''.join(lines)}")


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _all_gone(processes: list[psutil.Process]) -> None:
    deadline = time.monotonic() + 15
    while left := [process for process in processes if _alive(process)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_twenty_messages_arrive_once_in_order_intact_and_encrypted(short_path: Path) -> None:
    with _demo(short_path) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        assert process.wait() == 0, output
    assert "Verdict: every message arrived exactly once, in order, intact, encrypted on both legs." in output
    assert "  NO  " not in output
    assert list(short_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process_and_no_folder(short_path: Path, number: signal.Signals) -> None:
    with _demo(short_path) as process:
        _read_until(process, "message 2 of 10")
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) >= 6  # two servers, two clients, supervisor, gateway, enclave
        process.send_signal(number)
        assert process.stdout is not None
        output = process.stdout.read()
        assert process.wait() == 130, output
    _all_gone(started)
    assert list(short_path.iterdir()) == []


def test_a_killed_demo_leaves_no_process(short_path: Path) -> None:
    with _demo(short_path) as process:
        _read_until(process, "message 2 of 10")
        started = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    _all_gone(started)


def test_a_kept_demo_tells_addresses_and_passwords_and_runs_until_interrupted(short_path: Path) -> None:
    with _demo(short_path, "--keep") as process:
        lines = _read_until(process, "Logs:")
        text = "".join(lines)
        assert "alice@xmpp.localhost" in text
        assert "@bob:matrix.localhost" in text
        assert text.count("password") >= 2
        time.sleep(1)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        process.stdout.read()
        assert process.wait() == 0
    assert list(short_path.iterdir()) == []


def test_with_profanity_behind_the_companion_all_claims_hold(short_path: Path) -> None:
    with _demo(short_path, "--client", "profanity") as process:
        said, _ = process.communicate(timeout=200)
        assert process.returncode == 0, said[-4000:]
    assert "Verdict: every message arrived exactly once" in said
    assert "  NO   " not in said


@pytest.mark.parametrize("server", ["prosody", "ejabberd"])
def test_with_profanitys_own_omemo_all_claims_hold(short_path: Path, server: str) -> None:
    with _demo(short_path, "--client", "profanity-omemo", "--server", server) as process:
        said, _ = process.communicate(timeout=200)
        assert process.returncode == 0, said[-4000:]
    assert "Verdict: every message arrived exactly once" in said
    assert "yes  Profanity marks every message, hers and Bob's, as encrypted" in said
    assert "  NO   " not in said
    assert list(short_path.iterdir()) == []
