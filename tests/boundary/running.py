"""A Lockgate of real processes without any server around it, for looking into from outside.

The component port it is told is one that nobody listens on: the gateway process keeps trying.
"""

import base64
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

MODULES = {"gateway": "bridge.gateway", "enclave": "crypto.enclave"}
PATIENCE_S = 20.0

CONFIG = """\
xmpp:
  component: {{jid: gateway.localhost, host: 127.0.0.1, port: {port}, secret_file: secrets/component}}
accounts:
  alice:
    xmpp: alice@localhost
    loopback: {{user: alice}}
    contacts:
{contacts}
sealing: {{key_file: secrets/sealing}}
storage: {{url: "sqlite:ledger/ledger.db"}}
log: {{level: debug, format: json}}
enclave: {{lockdown: {lockdown}}}
"""


def until(condition: Callable[[], bool], what: str, within_s: float = PATIENCE_S) -> None:
    """Wait for something, or fail."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, f"waited {within_s:.0f} s in vain for: {what}"
        time.sleep(0.02)


class Running:
    """`lockgate run` in a folder of its own."""

    def __init__(self, folder: Path, before: Sequence[str] = ()) -> None:
        """`before` is put in front of the command."""
        self.folder = folder
        self.config = folder / "config.yaml"
        self.socket = folder / "ledger" / "admin.sock"
        self.log = folder / "log"
        self._before = before
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self._port = sock.getsockname()[1]
        (folder / "secrets").mkdir(mode=0o700)
        sealing = base64.b64encode(secrets.token_bytes(32)).decode()
        for name, text in (("component", secrets.token_hex(8)), ("sealing", sealing)):
            with os.fdopen(os.open(folder / "secrets" / name, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                file.write(text + "\n")
        self.configure()

    def configure(self, contacts: Sequence[str] = ("echo",), lockdown: str = "enforce") -> None:
        """Write the configuration."""
        lines = "\n".join(f"      {name}: {{address: {name}, require: none}}" for name in contacts)
        self.config.write_text(CONFIG.format(port=self._port, contacts=lines, lockdown=lockdown))

    # ------------------------------------------------------------ life
    def command(self) -> list[str]:
        """The command line."""
        return [*self._before, str(Path(sys.executable).parent / "lockgate"), "run", "-c", str(self.config)]

    def begin(self) -> None:
        """Start it."""
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def up(self) -> "Running":
        """Start it and wait until it is up."""
        self.begin()
        self.ready()
        return self

    def ready(self, within_s: float = PATIENCE_S) -> None:
        """Wait until both processes are ready."""
        until(lambda: self.states() == {"gateway": "ready", "enclave": "ready"}, "both processes", within_s)

    @property
    def pid(self) -> int:
        """The supervisor's."""
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send the supervisor a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def status_of_exit(self, within_s: float = PATIENCE_S) -> int:
        """Wait for the supervisor's end."""
        assert self._process is not None
        return self._process.wait(within_s)

    def end(self) -> None:
        """End it in any case, and see that nothing is left of it."""
        if self._process is None:
            return
        children = self.children() if self._process.poll() is None else []
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for child in children:
            if child.is_running():
                child.wait(PATIENCE_S)

    # ------------------------------------------------------------ looking
    def children(self) -> list[psutil.Process]:
        """Its child processes."""
        try:
            return list(psutil.Process(self.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            return []

    def child(self, role: str) -> psutil.Process:
        """The running gateway or enclave; waits while there is none."""
        until(lambda: self._pid(role) is not None, f"a running {role}")
        pid = self._pid(role)
        # psutil takes None for "the caller", and the caller of `kill()` would be the test run itself
        assert pid is not None, f"the {role} went away while it was looked up"
        return psutil.Process(pid)

    def _pid(self, role: str) -> int | None:
        found: int | None = {process["name"]: process["pid"] for process in self.status()["processes"]}[role]
        return found

    def ask(self, *lines: bytes) -> list[dict[str, Any]]:
        """Replies of the admin socket to these lines."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE_S)
            sock.connect(str(self.socket))
            with sock.makefile("rwb") as stream:
                replies = []
                for line in lines:
                    stream.write(line + b"\n")
                    stream.flush()
                    replies.append(json.loads(stream.readline()))
                return replies

    def status(self) -> dict[str, Any]:
        """The reply to the operator's question."""
        return self.ask(b'{"op": "status"}')[0]

    def states(self) -> dict[str, str]:
        """The processes' states; empty when nobody answers."""
        try:
            return {process["name"]: process["state"] for process in self.status()["processes"]}
        except OSError:
            return {}

    def restarts(self) -> dict[str, int]:
        """How often each was started again."""
        return {process["name"]: process["restarts"] for process in self.status()["processes"]}

    def events(self, name: str) -> list[dict[str, Any]]:
        """What the log says of that name."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [event for event in map(json.loads, lines) if event.get("event") == name]
