"""Devices and fingerprints by chat with the gateway itself and by command, from clients with OMEMO; real servers."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from crypto.omemo.fingerprints import read_uri, uri
from crypto.xml import parse
from rig.alice import Alice
from rig.omemo_user import OmemoUser
from rig.prosody import Prosody
from rig.scene import Scene
from rig.synapse import Synapse
from tests.interop.omemo_clients import Clients
from tests.interop.test_gateway_orders import COMMANDS, FORM, compare_session, inner
from tests.interop.test_matrix_operator_verifies import terminal
from tests.unit.codes_read import pictured, scanned

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prosody]:
    """A server that takes files."""
    with Prosody(tmp_path_factory.mktemp("prosody"), components=4, uploads=1 << 20) as running:
        yield running


@pytest_asyncio.fixture
async def scene(
    short_path: Path, server: Prosody, synapse: Synapse, unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    """A gateway with OMEMO on. Bob is on the map, and not there."""
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
    made = Scene(short_path, server, synapse, suffix=unique("d"))
    made.omemo = {"use": "on"}
    try:
        await made.prepare()
        await made.lockgate.begin()
        await made.omemo_device()
        yield made
    finally:
        await made.close()


@pytest_asyncio.fixture
async def clients(scene: Scene) -> AsyncIterator[Clients]:
    """Alice's clients."""
    made = Clients(scene.folder)
    yield made
    await made.stop()


async def written(user: OmemoUser, to: str, text: str) -> None:
    """A client writes, as soon as the server has told it of a device to write to."""
    async with asyncio.timeout(30):
        while (await user.send(to, text))["event"] != "sent":  # noqa: ASYNC110 - it is told by another event
            await asyncio.sleep(0.2)


async def told(scene: Scene, user: OmemoUser, order: str, wanted: str) -> str:
    """A client writes an order to the gateway itself; the answer, which goes to all its devices, and has `wanted`."""
    since = len(user.events)
    await written(user, scene.component.jid, order)
    said = await user.wait_for(
        lambda e: e.get("event") == "message" and wanted in e["body"], since=since, timeout_s=60, what=repr(wanted)
    )
    return str(said["body"])


async def states(scene: Scene) -> dict[int, str]:
    """The user's devices, as the operator is shown them."""
    legs = await asyncio.to_thread(scene.lockgate.legs)
    return {each["id"]: each["state"] for leg in legs if leg.get("device") for each in leg["device"]["devices"]}


async def verified(scene: Scene, fingerprint: str) -> None:
    """The operator was read the fingerprint that the user's client shows for its own device."""
    words = ("trust", "verify", "alice", "_gateway", "--key", fingerprint)
    ended = await asyncio.to_thread(scene.lockgate.tell, *words)
    assert ended.status == 0, ended.output


async def test_a_verified_device_decides_by_chat_and_one_that_a_server_adds_does_not(
    scene: Scene, clients: Clients
) -> None:
    phone = await clients.user(scene.alice_account, "phone").start()
    listed = await told(scene, phone, "devices", f"Device {phone.device}: trusted, not verified")
    assert phone.fingerprint in listed.replace(" ", "")
    await told(scene, phone, f"trust {phone.fingerprint}", "Not in this session")
    assert await states(scene) == {phone.device: "blind"}
    await verified(scene, phone.fingerprint)

    planted = await clients.user(scene.alice_account, "planted").start()
    await written(planted, scene.component.jid, f"trust {planted.fingerprint}")
    await planted.wait_until(lambda: bool(planted.told("refused")), timeout_s=60, what="the refusal")
    assert await states(scene) == {phone.device: "verified", planted.device: "undecided"}
    assert planted.messages == []

    await told(scene, phone, f"trust {planted.fingerprint}", "That is noted.")
    await told(scene, planted, "devices", f"Device {planted.device}: verified")
    await told(scene, phone, f"distrust {planted.fingerprint}", "That is noted.")
    assert await states(scene) == {phone.device: "verified", planted.device: "distrusted"}


async def test_a_code_comes_as_a_picture_of_the_key_that_bobs_device_has(
    scene: Scene, clients: Clients, tmp_path: Path
) -> None:
    phone = await clients.user(scene.alice_account, "phone").start()
    contact = scene.alice.contact
    await written(phone, contact, "hello")
    (bob,) = await phone.devices(contact)
    said = await told(scene, phone, "code bob", "omemo-sid-")
    file = await phone.wait_for(lambda e: str(e.get("body")).startswith("aesgcm:"), timeout_s=60, what="the picture")
    await phone.fetch(file["body"], tmp_path / "code.png")
    read = pictured((tmp_path / "code.png").read_bytes())
    assert read == uri(contact, {bob["id"]: bytes.fromhex(bob["fingerprint"])})
    assert read in said
    assert not any(bob["fingerprint"].encode() in capture.to_server for capture in scene.xmpp_tap.captures)


async def test_the_operators_terminal_shows_the_key_that_profanity_shows(scene: Scene, clients: Clients) -> None:
    profanity = await clients.profanity(scene.alice_account)
    contact, gateway = scene.alice.contact, scene.component.jid
    await profanity.befriend(contact)
    await profanity.lock(contact)
    (shown,) = await profanity.fingerprints(contact)
    with terminal(scene, "trust", "show", "alice", "--qr", "--contact", "bob") as screen:
        printed = await screen.until("omemo-sid-")
    lines = _ESCAPES.sub("", printed).splitlines()
    read = scanned([line for line in lines if line and set(line) <= set("█▀▄ ")]).decode()
    assert read.startswith(f"xmpp:{contact}?omemo-sid-")
    assert [key.hex() for key in read_uri(read).values()] == [shown.value]

    await profanity.command("/win 1")
    await profanity.command(f"/cmd list {gateway}")
    await profanity.wait_for("!   trust")
    await profanity.command(f"/cmd exec trust {gateway}")
    await profanity.wait_for("This command was not encrypted")
    assert "verified" not in (await states(scene)).values()


async def test_devices_are_listed_and_decided_about_by_commands(scene: Scene, clients: Clients) -> None:
    phone = await clients.user(scene.alice_account, "phone").start()
    await told(scene, phone, "help", "I am the gateway")
    desk = Alice(scene.folder / "desk", scene.alice_account, scene.component.jid, "desk", resource="desk")
    await desk.start()
    try:
        await desk.send("help")
        await desk.wait_messages(1)
        await compare_session(scene, desk)
        answer = await desk.order(f'<command xmlns="{COMMANDS}" node="devices"/>')
        assert phone.fingerprint in answer.replace(" ", "")
        answer = await desk.order(f'<command xmlns="{COMMANDS}" node="trust"/>')
        key = inner(answer, "option")[0].elements[0].text
        assert key == phone.fingerprint
        answer = await desk.order(stage(answer, device=key, decision="trust"))
        assert phone.fingerprint in answer.replace(" ", "")
        assert await states(scene) == {phone.device: "blind"}
        answer = await desk.order(stage(answer, device=key, decision="trust", same="yes"))
        assert inner(answer, "note", COMMANDS)[0].text == "That is noted."
        assert await states(scene) == {phone.device: "verified"}
    finally:
        await desk.stop()


def stage(answer: str, **answers: str) -> str:
    """The next stage of the command whose last answer this was."""
    session = parse(answer.encode()).attribute("sessionid")
    fields = "".join(f'<field var="{name}"><value>{value}</value></field>' for name, value in answers.items())
    form = f'<x xmlns="{FORM}" type="submit">{fields}</x>'
    return f'<command xmlns="{COMMANDS}" node="trust" sessionid="{session}" action="next">{form}</command>'
