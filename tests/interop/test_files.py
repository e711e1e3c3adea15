"""Files between real clients: Prosody with http_file_share, Synapse's media, matrix-js-sdk, kills in the middle."""

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bridge.config.models import Component
from bridge.probe.uploads import probe_uploads
from rig.ejabberd import Ejabberd
from rig.prosody import Prosody
from rig.scene import Scene
from rig.synapse import Synapse
from rig.xmpp import Component as RigComponent

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

MIB = 1 << 20
OCTETS = 3 * MIB + 12_345


def _prosody(folder: Path) -> Prosody:
    return Prosody(folder, components=4, uploads=64 * MIB)


def _ejabberd(folder: Path) -> Ejabberd:
    return Ejabberd(folder, components=4, uploads=True)


@pytest.fixture(scope="module", params=[_prosody])
def uploading(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prosody | Ejabberd]:
    """A server that takes files, from components as well."""
    with request.param(tmp_path_factory.mktemp("xmpp")) as running:
        yield running


@pytest_asyncio.fixture
async def scene(
    short_path: Path,
    uploading: Prosody | Ejabberd,
    synapse: Synapse,
    unique: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Scene]:
    """A gateway that may fetch from the test's server, and trusts its certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(uploading.authority))
    made = Scene(short_path, uploading, synapse, suffix=unique("f"))
    try:
        yield await made.open(fetch_from=f"127.0.0.1:{uploading.https_port}")
    finally:
        await made.close()


def _file(folder: Path, name: str, octets: int = OCTETS) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(os.urandom(octets))
    return path


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def _both_ways(scene: Scene, folder: Path) -> str:
    """Alice sends Bob a picture, Bob sends one with a caption; returns the room."""
    sent = _file(folder, "cat.png")
    await scene.alice.send_file(sent)
    room = await scene.room(timeout_s=90)
    await scene.bob.wait_messages(1)
    event = next(event for event in scene.bob.events if event.get("event") == "message")
    assert event["content"]["msgtype"] == "m.image"
    assert event["content"]["info"]["size"] == OCTETS
    await scene.bob.fetch_file(event["content"], folder / "bob-got")
    assert _digest(folder / "bob-got") == _digest(sent)

    answer = _file(folder, "dog.jpg")
    info = {"w": 640, "h": 480}
    await scene.bob.send_file(room, answer, msgtype="m.image", caption="look at her", mimetype="image/jpeg", info=info)
    caption, address = await scene.alice.wait_messages(2)
    assert caption.body == "look at her"
    assert address.body.startswith("aesgcm://")
    assert _digest(await scene.alice.fetch_file(address.body, folder / "alice")) == _digest(answer)
    return room


@pytest.mark.parametrize("uploading", [_prosody, _ejabberd], indirect=True)
async def test_a_file_arrives_each_way_and_nothing_of_it_is_kept_outside(scene: Scene, tmp_path: Path) -> None:
    room = await _both_ways(scene, tmp_path / "files")
    await scene.bob.send(room, "after it")
    assert (await scene.alice.wait_messages(3))[-1].body == "after it"
    assert await scene.alice.flushed() == 0
    assert scene.bob.undecryptable == []
    spool = scene.lockgate.ledger.with_suffix(".files")
    for _ in range(100):
        if not [path for path in spool.rglob("*") if path.is_file()]:
            break
        await asyncio.sleep(0.1)
    assert [path for path in spool.rglob("*") if path.is_file()] == []
    assert {path.stat().st_mode & 0o777 for path in spool.iterdir()} == {0o700}


async def test_a_file_survives_that_gateway_and_enclave_are_killed_and_arrives_once(
    scene: Scene, tmp_path: Path
) -> None:
    await scene.alice.send("hello")
    room = await scene.room(timeout_s=90)
    await scene.bob.wait_messages(1)
    folder = tmp_path / "files"
    sent, answer = _file(folder, "long.bin", 12 * MIB), _file(folder, "back.bin", 12 * MIB)
    await scene.bob.send_file(room, answer)
    await scene.alice.send_file(sent)
    for role in ("enclave", "gateway"):
        await _under_way(scene)
        child = scene.lockgate.child(role)
        assert child is not None
        child.send_signal(signal.SIGKILL)
        await asyncio.sleep(0.5)
    await scene.bob.wait_messages(2, timeout_s=120)
    event = [event for event in scene.bob.events if event.get("event") == "message"][1]
    await scene.bob.fetch_file(event["content"], folder / "bob-got")
    assert _digest(folder / "bob-got") == _digest(sent)
    (address,) = await scene.alice.wait_messages(1, timeout_s=120)
    assert _digest(await scene.alice.fetch_file(address.body, folder / "alice")) == _digest(answer)
    await scene.alice.send("the last one")
    await scene.bob.wait_messages(3)
    assert await scene.alice.flushed() == 0
    assert len(scene.bob.messages) == 3
    assert len(scene.alice.messages) == 1


@pytest.mark.parametrize("uploading", [_prosody, _ejabberd], indirect=True)
def test_check_says_that_files_will_reach_the_user_where_the_certificate_is_trusted(
    uploading: Prosody | Ejabberd, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, found, remedy = _checked(uploading)
    assert state == "warning"
    assert f"https://127.0.0.1:{uploading.https_port} shows a certificate that this machine does not trust" in found
    assert "SSL_CERT_FILE" in remedy
    monkeypatch.setenv("SSL_CERT_FILE", str(uploading.authority))
    assert _checked(uploading) == ("ok", f"{uploading.host} gives the component places for files", "")


def test_check_says_what_keeps_files_from_the_user(tmp_path: Path) -> None:
    with Prosody(tmp_path, uploads=MIB, open_uploads=False) as server:
        state, _, remedy = _checked(server)
    assert state == "warning"
    assert f'http_file_share_access = {{ "{server.host}", "{server.pool[0].jid}" }}' in remedy


def _checked(server: Prosody | Ejabberd) -> tuple[str, str, str]:
    component = server.component()
    (hop,) = asyncio.run(probe_uploads(Component(**_settings(component)), component.secret, [server.host]))
    return hop.state.value, hop.found, hop.remedy


def _settings(component: RigComponent) -> dict[str, Any]:
    return {"jid": component.jid, "host": component.host, "port": component.port, "secret_file": "/nowhere"}


async def _under_way(scene: Scene) -> None:
    spool = scene.lockgate.ledger.with_suffix(".files")
    for _ in range(600):
        if sum(path.stat().st_size for path in spool.rglob("*") if path.is_file()) > MIB:
            return
        await asyncio.sleep(0.05)
    pytest.fail("no file is under way")
