"""A real, locked-down enclave process, fed over its link by the bench in the gateway's place."""

import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from adapters.registry import BUILTIN
from bridge.register_page import RegisterPage
from bridge.spawn import ENCLAVE, command, environment
from bridge.wire import control, link
from bridge.wire.codec import FROM_ENCLAVE, FROM_ENCLAVE_CONTROL, TO_ENCLAVE, TO_ENCLAVE_CONTROL
from bridge.wire.framing import Deframer

READ = 1 << 20


def cpu_seconds(pid: int) -> float:
    """CPU time of a process's threads so far, by the scheduler's own account."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def resident_octets(pid: int) -> int:
    """Private resident memory; of a process that is not dumpable, only root is told more than the anonymous part."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except PermissionError:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Private_", "RssAnon:")))


class EnclaveProcess:
    """Start it with a `with` statement; `ask` hands entries in and returns one step for each."""

    def __init__(self, accounts: Sequence[control.AccountMap], networks: Sequence[str] = ("xmpp", "matrix")) -> None:
        self._accounts = tuple(accounts)
        self._networks = networks
        self._steps = Deframer()
        self._page = RegisterPage()

    def __enter__(self) -> "EnclaveProcess":
        ours, theirs = socket.socketpair()
        self._link, far = socket.socketpair()
        kept = [theirs.fileno(), far.fileno(), self._page.descriptor]
        adapters = [f"--adapter={name}={BUILTIN[name].inside}" for name in self._networks]
        arguments = [f"--control-fd={kept[0]}", f"--link-fd={kept[1]}", f"--register-fd={kept[2]}", *adapters]
        self._process = subprocess.Popen(
            command(ENCLAVE, arguments), env=environment(ENCLAVE, os.environ), pass_fds=kept, cwd="/"
        )
        theirs.close()
        far.close()
        self._control = ours
        self._words = Deframer()
        locked = self._word()
        assert isinstance(locked, control.Locked)
        assert locked.sufficient, locked
        ours.sendall(
            TO_ENCLAVE_CONTROL.encode(control.EnclaveConfigure(sealing_key=bytes(32), accounts=self._accounts))
        )
        assert isinstance(self._word(), control.Configured)
        self._link.sendall(TO_ENCLAVE.encode(link.Hello(version=link.PROTOCOL_VERSION)))
        self._frames(1)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._link.close()
        self._control.close()
        self._process.wait(10)
        self._page.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def restore(self, account: str) -> link.Stepped:
        """Bring a new account in; returns its first step."""
        self._link.sendall(TO_ENCLAVE.encode(link.Restore(account=account, records=(), last=True)))
        restored, started = self._frames(2)
        assert isinstance(restored, link.Restored)
        assert restored.code == "ok"
        assert isinstance(started, link.Stepped)
        return started

    def ask(self, inputs: Sequence[link.Input]) -> list[link.Stepped]:
        """One step for each entry."""
        self._link.sendall(b"".join(map(TO_ENCLAVE.encode, inputs)))
        steps = [frame for frame in self._frames(len(inputs)) if isinstance(frame, link.Stepped)]
        for step in steps:
            assert step.refused is None, step.refused
        last = {step.account: step.step for step in steps}
        told = [link.Committed(account=account, step=step) for account, step in last.items()]
        self._link.sendall(b"".join(map(TO_ENCLAVE.encode, told)))
        return steps

    def _frames(self, count: int) -> list[link.Ready | link.Restored | link.Stepped]:
        payloads: list[bytes] = []
        while len(payloads) < count:
            payloads += self._steps.feed(self._link.recv(READ))
        assert len(payloads) == count
        return [FROM_ENCLAVE.decode(payload) for payload in payloads]

    def _word(self) -> control.FromEnclaveControl:
        payloads: list[bytes] = []
        while not payloads:
            payloads = self._words.feed(self._control.recv(READ))
        return FROM_ENCLAVE_CONTROL.decode(payloads[0])
