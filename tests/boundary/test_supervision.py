"""Ends, restarts and orders of real processes."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.boundary.running import Running, until

pytestmark = [pytest.mark.boundary, pytest.mark.timeout(180)]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    started = Running(tmp_path)
    try:
        yield started.up()
    finally:
        started.end()


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_killed_enclave_is_replaced_and_joined_with_the_same_gateway(running: Running) -> None:
    gateway, enclave = running.child("gateway"), running.child("enclave")
    enclave.kill()
    until(lambda: running.restarts()["enclave"] == 1, "a restart")
    running.ready(5.0)
    assert running.child("gateway").pid == gateway.pid
    until(lambda: len(running.events("enclave.ready")) == 2, "the gateway to greet the new enclave")


def test_a_killed_gateway_is_replaced_and_gets_a_new_enclave(running: Running) -> None:
    gateway, enclave = running.child("gateway"), running.child("enclave")
    gateway.kill()
    until(lambda: running.restarts() == {"gateway": 1, "enclave": 1}, "both restarts")
    running.ready(5.0)
    assert gone(enclave)
    until(lambda: len(running.events("enclave.ready")) == 2, "the new gateway to greet the new enclave")


def test_both_killed_at_once_come_back(running: Running) -> None:
    # both looked up first: once one is dead, the supervisor ends the other by itself
    for child in [running.child(role) for role in ("gateway", "enclave")]:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    until(lambda: running.restarts()["gateway"] == 1, "a restart")
    running.ready(10.0)
    until(lambda: len(running.events("enclave.ready")) == 2, "they greet each other")


@pytest.mark.parametrize("role", ["enclave", "gateway"])
def test_many_kills_in_a_row_do_not_slow_the_restarts_down(running: Running, role: str) -> None:
    for number in range(1, 9):
        running.child(role).kill()
        until(lambda number=number: running.restarts()[role] >= number, "a restart")  # type: ignore[misc]
        running.ready(6.0)
    assert {event["pause_s"] for event in running.events("supervisor.ended") if event["process"] == role} <= {0.0, 0.1}


def test_a_stopped_enclave_does_not_keep_the_operator_waiting_for_ever(running: Running) -> None:
    enclave = running.child("enclave")
    enclave.suspend()
    try:
        started = time.monotonic()
        assert running.status()["legs"] == []
        assert time.monotonic() - started < 10
    finally:
        enclave.resume()
    until(lambda: len(running.status()["legs"]) > 0, "the enclave's answer")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_drains_and_ends_with_status_0(running: Running, number: signal.Signals) -> None:
    children = running.children()
    assert len(children) == 2
    running.signal(number)
    assert running.status_of_exit() == 0
    assert all(gone(child) for child in children)
    assert not running.socket.exists()
    assert len(running.events("gateway.drained")) == 1
    assert len(running.events("supervisor.stopped")) == 1


def test_when_the_supervisor_is_killed_its_children_end(running: Running) -> None:
    children = running.children()
    running.signal(signal.SIGKILL)
    running.status_of_exit()
    until(lambda: all(gone(child) for child in children), "the children's end", 5.0)


def test_a_killed_supervisor_can_be_started_again_at_once(running: Running) -> None:
    for _ in range(3):
        running.signal(signal.SIGKILL)
        running.status_of_exit()
        running.up()


def test_a_stopped_supervisor_that_is_killed_takes_stopped_children_along(running: Running) -> None:
    children = running.children()
    for child in children:
        child.suspend()
    running.signal(signal.SIGKILL)
    running.status_of_exit()
    until(lambda: all(gone(child) for child in children), "the children's end", 5.0)


def test_a_second_supervisor_in_the_same_folder_is_refused(running: Running) -> None:
    second = subprocess.run(running.command(), capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1
    assert "another Lockgate is running" in second.stdout + second.stderr
    assert running.states() == {"gateway": "ready", "enclave": "ready"}


def test_sighup_brings_new_contacts_to_both_processes(running: Running) -> None:
    before = {role: running.child(role).pid for role in ("gateway", "enclave")}
    running.configure(("echo", "carol"))
    running.signal(signal.SIGHUP)
    until(lambda: len(running.events("supervisor.reloaded")) == 1, "the reload")
    assert {leg["contact"] for leg in running.status()["legs"]} == {"echo", "carol"}
    until(lambda: len(running.events("gateway.remapped")) == 1, "the gateway's word")
    assert {role: running.child(role).pid for role in ("gateway", "enclave")} == before


def test_new_contacts_survive_a_restart_of_the_enclave(running: Running) -> None:
    running.configure(("echo", "carol"))
    running.signal(signal.SIGHUP)
    until(lambda: len(running.events("supervisor.reloaded")) == 1, "the reload")
    running.child("enclave").kill()
    until(lambda: running.restarts()["enclave"] == 1, "a restart")
    running.ready()
    until(lambda: {leg["contact"] for leg in running.status()["legs"]} == {"echo", "carol"}, "both contacts")


def test_sighup_with_a_wrong_configuration_changes_nothing_and_says_why(running: Running) -> None:
    running.configure(("echo", "carol"))
    running.config.write_text(running.config.read_text().replace("alice@localhost", "no address"))
    running.signal(signal.SIGHUP)
    until(lambda: bool(running.events("supervisor.reload-refused")), "the refusal")
    refusal = running.events("supervisor.reload-refused")[0]
    assert refusal["where"] == "accounts.alice.xmpp"
    assert refusal["detail"]
    assert refusal["remedy"]
    assert {leg["contact"] for leg in running.status()["legs"]} == {"echo"}
    assert running.states() == {"gateway": "ready", "enclave": "ready"}


def test_sighup_names_what_needs_a_restart(running: Running) -> None:
    running.config.write_text(running.config.read_text().replace("gateway.localhost", "other.localhost"))
    running.signal(signal.SIGHUP)
    until(lambda: len(running.events("supervisor.reloaded")) == 1, "the reload")
    assert [event["where"] for event in running.events("supervisor.restart-needed")] == ["xmpp"]


def test_sighup_does_not_take_on_a_network_whose_adapter_is_not_loaded(running: Running) -> None:
    text = running.config.read_text().replace("loopback: {user: alice}", "MATRIX\n    loopback: {user: alice}")
    (running.folder / "secrets" / "password").touch(0o600)
    (running.folder / "secrets" / "password").write_text("x\n")
    matrix = 'matrix: {user: "@alice:localhost", password_file: secrets/password}'
    text = text.replace("require: none", "require: none, network: loopback").replace("MATRIX", matrix)
    running.config.write_text(f"matrix: {{homeserver: http://127.0.0.1:9}}\n{text}")
    running.signal(signal.SIGHUP)
    until(lambda: bool(running.events("supervisor.reload-refused")), "the refusal")
    assert running.events("supervisor.reload-refused")[0]["detail"] == "a restart is needed"
    running.child("enclave").kill()
    until(lambda: running.restarts()["enclave"] == 1, "a restart")
    running.ready()


def confined(*names: str) -> list[str]:
    return [sys.executable, "-m", "tests.boundary.confined", ",".join(names), "--"]


@pytest.fixture
def poor_host(tmp_path: Path) -> Iterator[Running]:
    """A host without Landlock and namespaces."""
    made = Running(tmp_path, confined("landlock", "unshare"))
    try:
        yield made
    finally:
        made.end()


def test_where_the_lockdown_is_not_sufficient_it_refuses_to_start(poor_host: Running) -> None:
    poor_host.begin()
    assert poor_host.status_of_exit() == 3
    (refused,) = poor_host.events("supervisor.lockdown-refused")
    assert "landlock" in refused["detail"]
    assert "empty-root" in refused["detail"]
    starts = [event for event in poor_host.events("supervisor.started") if event["process"] == "enclave"]
    assert len(starts) == 1


def test_where_the_operator_wants_less_it_runs_nevertheless(poor_host: Running) -> None:
    poor_host.configure(lockdown="best-effort")
    poor_host.up()
    assert {m["name"] for m in poor_host.status()["lockdown"]["measures"] if not m["achieved"]} >= {"landlock"}


def test_in_a_container_without_namespaces_landlock_is_enough(tmp_path: Path) -> None:
    running = Running(tmp_path, confined("unshare"))
    try:
        running.up()
        missing = {m["name"] for m in running.status()["lockdown"]["measures"] if not m["achieved"]}
        assert missing >= {"own-network", "own-user", "empty-root"}
        assert running.status()["lockdown"]["sufficient"]
    finally:
        running.end()


def test_a_gateway_that_cannot_open_the_ledger_ends_the_run(tmp_path: Path) -> None:
    running = Running(tmp_path)
    (tmp_path / "ledger").mkdir(mode=0o700)
    (tmp_path / "ledger" / "ledger.db").write_bytes(b"this is no database at all" * 1000)
    try:
        running.begin()
        assert running.status_of_exit(60.0) == 1
        assert running.events("supervisor.gateway-refused")
    finally:
        running.end()


def test_nothing_is_left_in_the_folder_but_the_ledger_and_the_lock(running: Running) -> None:
    running.signal(signal.SIGTERM)
    running.status_of_exit()
    names = {name for name in os.listdir(running.folder / "ledger") if not name.startswith("ledger.db")}
    assert names == {"supervisor.lock", "ledger.files"}
    assert [path for path in (running.folder / "ledger" / "ledger.files").rglob("*") if path.is_file()] == []
