"""The three processes as they run: what each has open, loaded and left, seen from outside."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bridge.spawn import ENCLAVE, environment
from tests.boundary.running import Running

pytestmark = pytest.mark.boundary
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="looking into a process that is not dumpable needs root")

LIBRARIES_INSIDE = ("vodozemac", "gmpy2", "xeddsa")
LIBRARIES_OUTSIDE = ("_ssl", "_sqlite3", "_asyncio", "aiohttp", "slixmpp", "lxml")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    started = Running(tmp_path_factory.mktemp("lockgate"))
    try:
        yield started.up()
    finally:
        started.end()


def fields(pid: int) -> dict[str, str]:
    """/proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def descriptors(pid: int) -> dict[int, str]:
    folder = Path(f"/proc/{pid}/fd")
    return {int(entry.name): os.readlink(entry) for entry in folder.iterdir()}


def files_mapped(pid: int) -> set[str]:
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {parts[5] for parts in (line.split(maxsplit=5) for line in lines) if len(parts) == 6}


def pid_of(running: Running, role: str) -> int:
    return running.pid if role == "supervisor" else int(running.child(role).pid)


def test_it_says_that_it_is_up_and_what_the_lockdown_achieved(running: Running) -> None:
    assert len(running.events("lockgate is up")) == 1
    assert len(running.events("supervisor.lockdown")) == 1
    lockdown = running.status()["lockdown"]
    assert lockdown["sufficient"]
    assert {m["name"] for m in lockdown["measures"] if m["achieved"]} >= {"seccomp", "no-capabilities", "not-dumpable"}


def test_the_enclave_is_filtered_and_has_no_privileges(running: Running) -> None:
    seen = fields(pid_of(running, "enclave"))
    assert seen["Seccomp"] == "2"
    assert seen["NoNewPrivs"] == "1"
    assert seen["Threads"] == "1"
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(seen[name], 16) == 0, name


def test_the_gateway_cannot_trace_other_processes_even_as_root(running: Running) -> None:
    seen = fields(pid_of(running, "gateway"))
    assert seen["NoNewPrivs"] == "1"
    for name in ("CapPrm", "CapEff", "CapAmb"):
        assert int(seen[name], 16) & ~0x2 == 0, name


@root_only
def test_the_enclave_is_not_root(running: Running) -> None:
    assert set(fields(pid_of(running, "enclave"))["Uid"].split()) == {"65534"}


@root_only
def test_the_enclave_has_two_sockets_and_nothing_else(running: Running) -> None:
    seen = descriptors(pid_of(running, "enclave"))
    assert [seen.pop(standard) for standard in (0, 1, 2)] == ["/dev/null"] * 3
    assert len(seen) == 2
    assert all(target.startswith("socket:") for target in seen.values()), seen


@root_only
def test_the_enclave_shares_no_namespace_of_the_network_files_or_users(running: Running) -> None:
    achieved = {m["name"] for m in running.status()["lockdown"]["measures"] if m["achieved"]}
    if not {"own-network", "own-user", "empty-root"} <= achieved:
        pytest.skip("this host has no namespaces for us")
    pid = pid_of(running, "enclave")
    for name in ("net", "mnt", "ipc", "uts", "user"):
        assert os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}"), name
    interfaces = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    assert os.listdir(f"/proc/{pid}/root/") == []


@pytest.mark.parametrize("role", ["supervisor", "gateway", "enclave"])
def test_no_process_is_dumpable_or_leaves_a_core(running: Running, role: str) -> None:
    pid = pid_of(running, role)
    # a process that is not dumpable belongs to root in /proc, whoever it runs as
    assert os.stat(f"/proc/{pid}/mem").st_uid == 0
    limits = Path(f"/proc/{pid}/limits")
    if os.access(limits, os.R_OK):
        (core,) = [line for line in limits.read_text().splitlines() if line.startswith("Max core file size")]
        assert core.split()[4:6] == ["0", "0"]


@root_only
def test_the_libraries_of_the_inside_are_in_the_enclave_only(running: Running) -> None:
    for role in ("supervisor", "gateway"):
        mapped = files_mapped(pid_of(running, role))
        assert [file for file in mapped if any(name in file for name in LIBRARIES_INSIDE)] == [], role
    assert any("vodozemac" in file for file in files_mapped(pid_of(running, "enclave")))


@root_only
def test_the_libraries_of_the_outside_are_not_in_the_enclave(running: Running) -> None:
    names = [Path(file).name for file in files_mapped(pid_of(running, "enclave"))]
    assert [name for name in names if name.startswith(LIBRARIES_OUTSIDE)] == []


@root_only
def test_the_enclaves_environment_holds_its_allocator_and_nothing_of_ours(running: Running) -> None:
    text = Path(f"/proc/{pid_of(running, 'enclave')}/environ").read_bytes().decode()
    # glibc cuts its tunables into pieces in place
    names = {entry.partition("=")[0] for entry in text.split("\0") if entry and not entry.startswith("glibc.")}
    assert names <= {*environment(ENCLAVE, {}), "PYTHONPATH"}
    assert not {"PATH", "HOME", "LOCKGATE_CONFIG"} & names


@root_only
@pytest.mark.parametrize("role", ["supervisor", "enclave"])
def test_only_the_gateway_has_sockets_of_a_network(running: Running, role: str) -> None:
    assert psutil.Process(pid_of(running, role)).net_connections("inet") == []


def test_no_child_holds_the_secrets_files_or_the_configuration(running: Running) -> None:
    for role in ("gateway", "enclave"):
        try:
            opened = descriptors(pid_of(running, role)).values()
        except PermissionError:
            continue
        assert not [file for file in opened if "secrets" in file or file.endswith("config.yaml")]


def test_only_the_owner_may_open_the_admin_socket(running: Running) -> None:
    mode = stat.S_IMODE(running.socket.stat().st_mode)
    assert mode == 0o600
    assert stat.S_IMODE(running.socket.parent.stat().st_mode) == 0o700


def test_the_admin_socket_answers_nonsense_with_a_code(running: Running) -> None:
    lines = [
        b"{", b"[]", b"{}", b'{"op": "fly"}', b"\xff\xfe", b'{"op": "trust"}',
        b'{"op": "trust", "account": 1, "contact": "echo", "decision": "verify"}',
        b'{"op": "trust", "account": "alice", "contact": "echo", "decision": "love"}',
        b'{"op": "trust", "account": "alice", "contact": "echo", "decision": "verify", "network": "A B"}',
        b'{"op": "trust", "account": "mallory", "contact": "echo", "decision": "verify"}',
        b'{"op": "trust", "account": "alice", "contact": "echo", "decision": "approve", "key": "short"}',
        b'{"op": "recovery-key", "account": ["alice"]}',
        b'{"op": "recovery-key", "account": "alice"}',
        b'{"op": "recover", "account": "alice"}',
        b'{"op": "recover", "account": "alice", "secret": "\\u0000"}',
        b'{"op": "recover", "account": "alice", "secret": "a phrase"}',
        b"[" * 40_000,
    ]  # fmt: skip
    replies = running.ask(*lines)
    assert [reply.get("error", reply.get("code")) for reply in replies] == [
        "not-json", "not-json", "unknown-op", "unknown-op", "not-json", "malformed", "malformed", "malformed",
        "malformed", "unknown", "malformed", "unknown", "unknown", "malformed", "malformed", "unknown", "not-json",
    ]  # fmt: skip
    assert running.states() == {"gateway": "ready", "enclave": "ready"}


def test_a_trust_decision_reaches_the_enclave(running: Running) -> None:
    order = b'{"op": "trust", "account": "alice", "contact": "echo", "decision": "verify"}'
    (reply,) = running.ask(order)
    assert set(reply) == {"code"}
    assert reply["code"] != "no-answer"
