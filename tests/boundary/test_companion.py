"""The companion's two processes as they run: what each has loaded, may do, and holds."""

import asyncio
import os
import re
import shutil
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest
import pytest_asyncio

from bridge.register_page import RegisterPage
from bridge.spawn import ENCLAVE
from bridge.wire.codec import FROM_ENCLAVE_CONTROL
from bridge.wire.control import Locked
from companion.enclave import INSIDE
from crypto.esession.retained import Retained
from rig.alice import Alice
from rig.companion import Client
from rig.companion_process import CompanionProcess
from rig.prosody import Prosody
from rig.search import in_files, in_memory
from rig.xmpp import XmppAccount
from tests.boundary.running import until
from tests.boundary.test_modules import INSIDE as INSIDE_MODULES
from tests.boundary.test_modules import OUTSIDE, imported, reported, word
from tests.boundary.test_processes import fields, files_mapped

pytestmark = [pytest.mark.boundary, pytest.mark.timeout(180)]
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="looking into a process that is not dumpable needs root")
NETWORKING = re.compile(r"(slixmpp|aiohttp|nio)(\.|$)|companion(\.|$)|adapters\.xmpp")


@pytest.fixture
def companion(tmp_path: Path) -> Iterator[CompanionProcess]:
    """It runs, and no server is there."""
    account = XmppAccount("alice@example.org", "a password", "127.0.0.1", 1, tmp_path / "none")
    started = CompanionProcess(tmp_path / "companion", account)
    started.start()
    yield started
    started.stop()


def test_the_enclave_loads_nothing_of_the_outside_and_no_other_adapter(tmp_path: Path) -> None:
    report = tmp_path / "imports"
    ours, control = socket.socketpair()
    _, link = socket.socketpair()
    register = RegisterPage()
    arguments = ["--control-fd", str(control.fileno()), "--link-fd", str(link.fileno())]
    arguments += ["--register-fd", str(register.descriptor), "--adapter", f"companion={INSIDE}"]
    enclave = reported(ENCLAVE, arguments, (control.fileno(), link.fileno(), register.descriptor), report)
    control.close()
    (locked,) = word(ours, FROM_ENCLAVE_CONTROL)  # type: ignore[arg-type]
    assert isinstance(locked, Locked)
    assert locked.sufficient
    ours.close()
    assert enclave.wait(20) == 0
    modules = imported(report.read_text())
    assert {"crypto.enclave.lockdown", "adapters.companion.inside", "crypto.esession.conversation"} <= modules
    assert sorted(name for name in modules if OUTSIDE.match(name) or NETWORKING.match(name)) == []


def test_the_proxy_loads_nothing_of_the_inside(tmp_path: Path) -> None:
    account = XmppAccount("alice@example.org", "a password", "127.0.0.1", 1, tmp_path / "none")
    started = CompanionProcess(tmp_path / "companion", account)
    started.prefix = [sys.executable, "-v"]
    started.start()
    started.stop()
    modules = imported(started.log.read_text("utf-8", "replace"))
    assert {"companion.driver", "companion.app", "bridge.enclave_link"} <= modules
    assert sorted(name for name in modules if INSIDE_MODULES.match(name)) == []


@root_only
def test_the_enclave_is_locked_down_as_the_gateways_is(companion: CompanionProcess) -> None:
    enclave = companion.enclave()
    assert enclave is not None
    until(lambda: fields(enclave.pid)["Seccomp"] == "2", "the lockdown")
    seen = fields(enclave.pid)
    assert (seen["Seccomp"], seen["NoNewPrivs"], seen["CapEff"]) == ("2", "1", "0" * 16)
    assert not any("_ssl" in file or "_sqlite3" in file for file in files_mapped(enclave.pid))
    assert not any("a password" in word for word in enclave.cmdline())


def test_an_enclave_that_is_killed_is_replaced_and_one_that_loses_its_proxy_ends(companion: CompanionProcess) -> None:
    first = companion.enclave()
    assert first is not None
    first.send_signal(signal.SIGKILL)
    first.wait(10)
    second = _another(companion, first.pid)
    os.kill(companion.pid, signal.SIGKILL)
    process = psutil.Process(second)
    process.wait(10)


def _another(companion: CompanionProcess, before: int) -> int:
    for _ in range(200):
        found = companion.enclave()
        if found is not None and found.pid != before:
            return int(found.pid)
        time.sleep(0.05)
    pytest.fail("no other enclave was started")


# ---------------------------------------------------------------- canary
@pytest_asyncio.fixture
async def talk(
    short_path: Path, prosody: Prosody, unique: Callable[[str], str]
) -> AsyncIterator[tuple[CompanionProcess, Client, Alice]]:
    """A companion with an ordinary client, and a peer whose keys are written down."""
    name = unique("canary")
    own, peer = prosody.account(f"{name}a"), prosody.account(f"{name}b")
    companion = CompanionProcess(short_path / "companion", own)
    await companion.begin()
    client = await Client(companion.account).login()
    other = Alice(short_path / "peer", peer, own.jid, "peer", keep_keys=True)
    await other.start()
    yield companion, client, other
    await other.stop()
    await client.logout()
    await asyncio.to_thread(companion.stop)


def _retained(peer: Alice, folder: Path) -> list[bytes]:
    """The retained secrets in a copy of the peer's store, which it keeps locked."""
    for file in peer.store.parent.glob(f"{peer.store.name}*"):
        shutil.copy(file, folder / file.name)
    rows = sqlite3.connect(folder / peer.store.name).execute("SELECT value FROM retained").fetchall()
    kept = [msgspec.msgpack.decode(row[0], type=Retained) for row in rows]
    return [each.secret for retained in kept for each in retained.secrets]


@root_only
@pytest.mark.interop
async def test_keys_and_retained_secrets_are_only_in_the_enclave(
    talk: tuple[CompanionProcess, Client, Alice], tmp_path: Path
) -> None:
    companion, client, peer = talk
    await peer.send("the first words")
    await client.heard(1)
    for number in range(10):
        client.say(peer.account.jid, f"answer {number}")
    await peer.wait_messages(10)
    assert await peer.flushed() == 0
    needles = [*peer.keys(), *_retained(peer, tmp_path)]
    assert len(needles) >= 7
    enclave = companion.enclave()
    assert enclave is not None
    assert in_memory(needles, enclave.pid, "the enclave")
    assert in_memory(needles, companion.pid, "the proxy") == []
    assert in_files(needles, companion.folder) == []
    # The proxy's own files hold no plaintext either; its memory does, since the client's stanzas pass through it.
    assert in_files([b"the first words", b"answer 7"], companion.folder) == []
