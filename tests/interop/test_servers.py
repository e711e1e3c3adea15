"""The servers and clients that other tests and the demo stand on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from rig.services import ROOT, Service, ServiceFailed, answers
from rig.synapse import Synapse
from rig.tap import Tap
from tests.conftest import BobFactory

pytestmark = pytest.mark.interop

_PARENT = """
import sys, pathlib, time
from rig.prosody import Prosody
server = Prosody(pathlib.Path(sys.argv[1])).start()
print(server.pid, server.c2s_port, flush=True)
time.sleep(60)
"""


async def test_two_matrix_clients_read_each_other(
    synapse: Synapse, bob_factory: BobFactory, unique: Callable[[str], str]
) -> None:
    one, two = synapse.account(unique("one")), synapse.account(unique("two"))
    bob_one, bob_two = await bob_factory(one), await bob_factory(two)
    room = await bob_one.create_direct_room(two.user_id)
    assert await bob_two.joined_room(inviter=one.user_id) == room
    texts = [f"{number} <&> שלום 🚢" for number in range(5)]
    for text in texts:
        await bob_one.send(room, text)
    seen = await bob_two.wait_messages(5)
    assert [message.body for message in seen] == texts
    assert all(message.encrypted and message.shield == "none" for message in seen)
    kept = [event["type"] for event in synapse.events(room) if "state_key" not in event]
    assert kept == ["m.room.encrypted"] * 5


async def test_a_tap_relays_and_keeps_what_passed(synapse: Synapse) -> None:
    tap = await Tap(synapse.port).start()
    process = await _curl(f"http://127.0.0.1:{tap.port}/_matrix/client/versions")
    assert b"versions" in process
    assert tap.saw(b"GET /_matrix/client/versions")
    assert tap.saw(b'"versions"')
    await tap.stop()


async def _curl(url: str) -> bytes:
    import aiohttp

    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.read()


def test_a_server_ends_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout is not None
        pid, port = map(int, parent.stdout.readline().split())
        assert answers(port)
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not answers(port)


class Failing(Service):
    """A server that says why and ends."""

    name = "failing"

    def command(self) -> list[str]:
        """Ends at once."""
        return [sys.executable, "-c", "raise SystemExit('the port is taken')"]

    def ready(self) -> bool:
        """Never."""
        return False


def test_a_server_that_does_not_start_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(ServiceFailed, match=r"(?s)failing ended while starting.*the port is taken"):
        Failing(tmp_path).start()
