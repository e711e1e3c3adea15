"""A file of 20 MiB each way: nothing of it outside the enclave, and never more than a few parts of it inside."""

import asyncio
import base64
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from rig.prosody import Prosody
from rig.scene import Scene
from rig.search import Find, in_files, in_memory, in_octets
from rig.synapse import Synapse

pytestmark = [
    pytest.mark.boundary,
    pytest.mark.interop,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="reading the memory of other processes needs root"),
]

MIB = 1 << 20
OCTETS = 20 * MIB
MOST_GROWTH = 12 * MIB
"""Of the enclave's memory while a file passes: a part of 256 KiB stands in it several times, as a frame, in base64."""


@pytest_asyncio.fixture
async def scene(
    short_path: Path,
    tmp_path: Path,
    synapse: Synapse,
    unique: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Scene]:
    """A gateway and an XMPP server of its own."""
    (tmp_path / "prosody").mkdir()
    with Prosody(tmp_path / "prosody", uploads=64 * MIB) as prosody:
        monkeypatch.setenv("SSL_CERT_FILE", str(prosody.authority))
        made = Scene(short_path, prosody, synapse, suffix=unique("fc"))
        try:
            yield await made.open(fetch_from=f"127.0.0.1:{prosody.https_port}")
        finally:
            await made.close()


class Watch:
    """The enclave's memory and the spool, looked at again and again."""

    def __init__(self, scene: Scene, needle: bytes) -> None:
        child = scene.lockgate.child("enclave")
        assert child is not None
        self.process, self.needle, self.scene = child, needle, scene
        self.start = self.most = child.memory_info().rss
        self.copies = 0
        self.found: list[Find] = []

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.most = max(self.most, self.process.memory_info().rss)
            self.found += in_files([self.needle], self.scene.lockgate.folder)
            self.copies = max(self.copies, _count(self.process.pid, self.needle))
            await asyncio.sleep(0.02)


def _count(pid: int, needle: bytes) -> int:
    """How often the needle is in the process's memory now."""
    count = 0
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in maps:
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if found is None:
                continue
            start, end = int(found[1], 16), int(found[2], 16)
            try:
                memory.seek(start)
                count += memory.read(end - start).count(needle)
            except (OSError, ValueError):
                continue
    return count


def _file(path: Path, needle: bytes) -> Path:
    """The needle once in each KiB, among octets that tell nothing."""
    blocks = [needle + os.urandom(1024 - len(needle)) for _ in range(OCTETS // 1024)]
    path.write_bytes(b"".join(blocks))
    return path


def _outside(scene: Scene, needles: list[bytes]) -> list[Find]:
    found = in_memory(needles, scene.lockgate.pid, "supervisor")
    gateway = scene.lockgate.child("gateway")
    assert gateway is not None
    found += in_memory(needles, gateway.pid, "gateway")
    for folder in (scene.lockgate.folder, scene.xmpp.folder, scene.synapse.folder):
        found += in_files(needles, folder)
    for place, tap in (("XMPP", scene.xmpp_tap), ("Matrix", scene.matrix_tap)):
        for capture in tap.captures:
            found += in_octets(needles, place, capture.to_server) + in_octets(needles, place, capture.to_client)
    return found


async def test_a_file_is_nowhere_outside_and_never_whole_inside(scene: Scene, tmp_path: Path) -> None:
    needle = secrets.token_bytes(32)
    await scene.alice.send("hello")
    room = await scene.room(timeout_s=90)
    await scene.bob.wait_messages(1)
    watch = Watch(scene, needle)
    watching = asyncio.create_task(watch.run())
    await scene.alice.send_file(_file(tmp_path / "there.bin", needle))
    await scene.bob.wait_messages(2, timeout_s=120)
    await scene.bob.send_file(room, _file(tmp_path / "back.bin", needle))
    (address,) = await scene.alice.wait_messages(1, timeout_s=120)
    watching.cancel()

    event = [event for event in scene.bob.events if event.get("event") == "message"][-1]
    far_key = base64.urlsafe_b64decode(event["content"]["file"]["key"]["k"] + "=")
    near_key = bytes.fromhex(address.body.rpartition("#")[2])[-32:]
    fetched = await scene.alice.fetch_file(address.body, tmp_path / "alice")
    assert fetched.read_bytes() == (tmp_path / "back.bin").read_bytes()
    assert event["content"]["info"]["size"] == OCTETS

    assert _count(watch.process.pid, b"crypto.transfers.taking"), "the search does not see the enclave's memory"
    assert watch.copies <= 8 * 256, f"{watch.copies} KiB of the file were in the enclave at one time"
    assert watch.most - watch.start < MOST_GROWTH, f"{(watch.most - watch.start) / MIB:.1f} MiB more"
    assert watch.found == []
    needles = [needle, far_key, near_key]
    assert _outside(scene, needles) == []
    enclave = scene.lockgate.child("enclave")
    assert enclave is not None
    assert psutil.pid_exists(enclave.pid)
    assert in_memory([needle], enclave.pid, "enclave") == []
