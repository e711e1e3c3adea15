"""What each process loads: the list of its imports, told by the interpreter itself (`-v`)."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from adapters.registry import BUILTIN, CONTROL_INSIDE
from bridge.config.handover import gateway_serve
from bridge.config.load import load
from bridge.register_page import RegisterPage
from bridge.spawn import ENCLAVE, GATEWAY, command, environment
from bridge.wire.codec import FROM_ENCLAVE_CONTROL, FROM_GATEWAY_CONTROL, TO_GATEWAY_CONTROL, Codec
from bridge.wire.control import Locked
from bridge.wire.framing import Deframer
from bridge.wire.gateway_control import GatewayServe, Serving
from tests.boundary.running import Running, until

pytestmark = [pytest.mark.boundary, pytest.mark.timeout(120)]

INSIDE = re.compile(
    r"(crypto|vodozemac|gmpy2|doubleratchet|xeddsa)(\.|$)|adapters\.(\w+\.inside(_\w+)?|inside_api)$|client(\.|$)"
)
OUTSIDE = re.compile(
    r"bridge\.(?!wire(\.|$))|adapters\.(\w+\.outside(_\w+)?|outside_api|\w+\.transport)$|client(\.|$)"
    r"|(slixmpp|nio|omemo|twomemo|oldmemo|aiohttp|aiohttp_socks|sqlite3|structlog|logging|asyncio|ssl|lxml|subprocess|multiprocessing|typer|rich)(\.|$)"
)
NETWORKING = re.compile(r"(slixmpp|nio|aiohttp|sqlite3)(\.|$)|adapters\.(\w+\.outside(_\w+)?|\w+\.transport)$")


def imported(told: str) -> set[str]:
    """Module names of an import report."""
    return set(re.findall(r"^import '([\w.]+)' # ", told, re.MULTILINE))


def word(sock: socket.socket, codec: Codec[object]) -> list[object]:  # type: ignore[type-var]
    """The next words on a control channel; none when it has ended."""
    deframer = Deframer()
    while data := sock.recv(65536):
        if payloads := deframer.feed(data):
            return [codec.decode(payload) for payload in payloads]
    return []


def reported(role: str, arguments: list[str], descriptors: Iterable[int], report: Path) -> subprocess.Popen[bytes]:
    line = command(role, arguments)
    line[1:1] = ["-v"]
    with open(report, "wb") as file:
        return subprocess.Popen(
            line, pass_fds=tuple(descriptors), env=environment(role, os.environ), cwd="/", stderr=file, stdout=file
        )


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return tmp_path / "imports"


def test_the_enclave_loads_nothing_of_the_outside(report: Path) -> None:
    ours, control = socket.socketpair()
    _, link = socket.socketpair()
    register = RegisterPage()
    arguments = ["--control-fd", str(control.fileno()), "--link-fd", str(link.fileno())]
    arguments += ["--register-fd", str(register.descriptor), "--lockdown", "enforce"]
    for network, halves in BUILTIN.items():
        arguments += ["--adapter", f"{network}={halves.inside}"]
    arguments += ["--adapter", f"control={CONTROL_INSIDE}"]
    enclave = reported(ENCLAVE, arguments, (control.fileno(), link.fileno(), register.descriptor), report)
    control.close()
    (locked,) = word(ours, FROM_ENCLAVE_CONTROL)  # type: ignore[arg-type]
    assert isinstance(locked, Locked)
    assert locked.sufficient
    ours.close()
    assert enclave.wait(20) == 0
    modules = imported(report.read_text())
    assert {
        "crypto.enclave.lockdown",
        "bridge.wire.link",
        "adapters.xmpp.inside",
        "adapters.control.inside",
        "vodozemac",
        "crypto.omemo.conversation",
        "doubleratchet",
        "_libxeddsa",
    } <= modules
    assert sorted(name for name in modules if OUTSIDE.match(name)) == []


def test_the_gateway_loads_nothing_of_the_inside(tmp_path: Path, report: Path) -> None:
    serve = gateway_serve(load(Running(tmp_path).config))
    (tmp_path / "ledger").mkdir()
    ours, control = socket.socketpair()
    gateway = reported(
        GATEWAY, ["--control-fd", str(control.fileno()), "--parent", str(os.getpid())], (control.fileno(),), report
    )
    control.close()
    assert isinstance(serve, GatewayServe)
    ours.sendall(TO_GATEWAY_CONTROL.encode(serve))
    words: list[object] = []
    while not any(isinstance(heard, Serving) for heard in words):
        words = word(ours, FROM_GATEWAY_CONTROL)  # type: ignore[arg-type]
        assert words, report.read_text()[-2000:]
    ours.close()
    gateway.wait(20)
    modules = imported(report.read_text())
    assert {"bridge.orders", "adapters.xmpp.outside", "slixmpp", "sqlite3"} <= modules
    assert sorted(name for name in modules if INSIDE.match(name)) == []


def test_the_supervisor_loads_neither_the_inside_nor_the_networks(tmp_path: Path, report: Path) -> None:
    running = Running(tmp_path, [sys.executable, "-v"])
    running.begin()
    try:
        running.ready()
        running.signal(signal.SIGTERM)
        until(lambda: running.status_of_exit() == 0, "its end")
    finally:
        running.end()
    modules = imported(running.log.read_text())
    assert {"bridge.supervisor", "bridge.admin", "bridge.wire.control"} <= modules
    found = sorted(name for name in modules if INSIDE.match(name) or NETWORKING.match(name))
    assert found == []
