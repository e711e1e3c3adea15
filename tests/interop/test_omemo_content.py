"""What messages hold beside text, by OMEMO from ordinary clients: edits, answers, reactions, retractions, files.

Real Prosody, ejabberd and Synapse; Bob's client shuts out devices that their owner did not sign. In omemo:2 nothing of
it may be seen by servers; in the older form the text alone is authentic.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from rig.ejabberd import Ejabberd
from rig.omemo_user import OmemoUser
from rig.profanity_omemo import CORRECTED
from rig.prosody import Prosody
from rig.scene import Scene
from rig.synapse import Synapse
from tests.interop.omemo_clients import Clients

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

MIB = 1 << 20
OCTETS = 300_000
RELATIONS = (b"<replace", b"<reply ", b"<reactions", b"<retract ", b"<displayed", b"<received", b"<fallback")


@pytest.fixture(scope="module", params=["prosody", "ejabberd"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prosody | Ejabberd]:
    """A server that takes files, from components as well."""
    folder = tmp_path_factory.mktemp(request.param)
    made: Prosody | Ejabberd = Prosody(folder, components=4, uploads=64 * MIB)
    if request.param == "ejabberd":
        made = Ejabberd(folder, components=4, shaped=False, uploads=True)
    with made as running:
        yield running


@pytest_asyncio.fixture
async def scene(  # noqa: PLR0917 - fixtures
    short_path: Path,
    server: Prosody | Ejabberd,
    synapse: Synapse,
    unique: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> AsyncIterator[Scene]:
    """A gateway with OMEMO on (and settings by parameter), that may fetch from the server and trusts it; and Bob."""
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
    made = Scene(short_path, server, synapse, suffix=unique("o"))
    made.omemo = {"use": "on", **getattr(request, "param", {})}
    made.content = {"reactions": True}
    try:
        await made.prepare()
        with made.lockgate.config.open("a") as config:
            config.write(f'files: {{allow_hosts: ["127.0.0.1:{server.https_port}"]}}\n')
        await made.lockgate.begin()
        await made.log_in_bob()
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


def _file(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(os.urandom(OCTETS))
    return path


def _same(one: Path, other: Path) -> bool:
    return one.read_bytes() == other.read_bytes()


async def _bob_sees(scene: Scene, body: str) -> dict[str, Any]:
    """Bob's event with that body, which came encrypted by a device that he trusts."""
    event = await scene.bob.wait_for(
        lambda e: e.get("event") == "message" and e.get("body") == body, timeout_s=60, what=f"the message {body!r}"
    )
    assert event["encrypted"]
    assert event["shield"]["colour"] == "none"
    return dict(event)


async def _reaction(scene: Scene, key: str) -> dict[str, Any]:
    event = await scene.bob.wait_for(
        lambda e: e.get("event") == "reaction" and e["relation"]["key"] == key, timeout_s=60, what=f"the reaction {key}"
    )
    return dict(event["relation"])


async def _redacted(scene: Scene, event_id: str) -> None:
    await scene.bob.wait_for(
        lambda e: e.get("event") == "redacted" and e["event_id"] == event_id, timeout_s=60, what="the retraction"
    )


async def _bobs_file(scene: Scene, folder: Path, name: str, sent: Path) -> None:
    """Bob is sent the file: encrypted, the same octets."""
    event = await _bob_sees(scene, name)
    assert event["content"]["msgtype"] == "m.image"
    assert "url" not in event["content"]
    await scene.bob.fetch_file(event["content"], folder / "bob-got")
    assert _same(folder / "bob-got", sent)


async def _read(user: OmemoUser, text: str) -> dict[str, Any]:
    """The user's event with that text, once it was decrypted."""
    event = await user.wait_for(
        lambda e: e.get("event") == "message" and e.get("body") == text, timeout_s=60, what=repr(text)
    )
    return dict(event)


async def _inside(user: OmemoUser, name: str) -> str:
    """The element of that name, once one came in an envelope."""

    def held(event: dict[str, Any]) -> str | None:
        return next((text for text in event.get("inside") or () if f":{name} " in text.partition(">")[0]), None)

    found = held(await user.wait_for(lambda e: held(e) is not None, timeout_s=60, what=f"<{name}/>"))
    assert found is not None
    return found


def _reads(scene: Scene, event_id: str) -> list[dict[str, Any]]:
    """What Bob was told of Alice's having read that."""
    own = scene.alice_matrix.user_id
    return [
        e for e in scene.bob.events if (e.get("event"), e.get("user"), e.get("event_id")) == ("receipt", own, event_id)
    ]


async def _told_read(scene: Scene, event_id: str) -> None:
    await scene.bob.wait_until(lambda: _reads(scene, event_id), timeout_s=60, what="that Alice has read it")


def _from_gateway(scene: Scene, *texts: bytes) -> list[bytes]:
    """Which of these the gateway wrote in clear."""
    return [text for text in texts if any(text in bytes(capture.to_server) for capture in scene.xmpp_tap.captures)]


def _in_clear(scene: Scene, *texts: bytes) -> list[bytes]:
    """Which of these the XMPP server saw between itself and the gateway, in either direction."""
    return [text for text in texts if scene.xmpp_tap.saw(text)]


async def _refusal(user: OmemoUser, id_: str) -> str:
    """What the user is told of a message that went no further."""
    event = await user.wait_for(
        lambda e: e.get("event") == "refused" and e["id"] == id_, timeout_s=60, what="the refusal"
    )
    return str(event["text"])


async def _address(user: OmemoUser) -> str:
    event = await user.wait_for(lambda e: str(e.get("body")).startswith("aesgcm:"), timeout_s=60, what="the address")
    return str(event["body"])


async def _files_pass(scene: Scene, user: OmemoUser, room: str, folder: Path) -> None:
    """Each sends the other a file."""
    sent, answer = _file(folder, "cat.png"), _file(folder, "dog.jpg")
    address = await user.upload(sent)
    await user.send(scene.alice.contact, address)
    await _bobs_file(scene, folder, address.partition("#")[0].rpartition("/")[2], sent)
    await scene.bob.send_file(room, answer, msgtype="m.image", caption="bob says look", mimetype="image/jpeg")
    await _read(user, "bob says look")
    await user.fetch(await _address(user), folder / "alice-got")
    assert _same(folder / "alice-got", answer)


async def _begun(scene: Scene, user: OmemoUser) -> tuple[str, str, str, str]:
    """A first message each way, the user's with a receipt: the room, Bob's id of hers, and both ids of his."""
    await user.send(scene.alice.contact, "alice says one", "a-1", receipt=True)
    room = await scene.room(timeout_s=90)
    first = (await _bob_sees(scene, "alice says one"))["event_id"]
    await user.wait_for(lambda e: e.get("event") == "receipt" and e["id"] == "a-1", timeout_s=60, what="the receipt")
    said = await scene.bob.send(room, "bob says one")
    return room, first, said, (await _read(user, "bob says one"))["id"]


async def test_omemo_2_holds_edits_answers_reactions_retractions_and_files(
    scene: Scene, clients: Clients, tmp_path: Path
) -> None:
    user = await clients.user(scene.alice_account, "user", "omemo:2").start()
    contact, bob = scene.alice.contact, scene.bob
    room, first, said, one = await _begun(scene, user)

    await user.correct(contact, "a-1", "alice says better")
    assert (await _bob_sees(scene, "* alice says better"))["relation"] == {"rel_type": "m.replace", "event_id": first}
    await user.reply(contact, one, contact, "alice says indeed", "bob says one")
    assert (await _bob_sees(scene, "alice says indeed"))["reply_to"] == said
    await user.react(contact, one, "🎉")
    assert (await _reaction(scene, "🎉"))["event_id"] == said
    await user.read(contact, one)
    await _told_read(scene, said)

    await bob.ask("edit", room=room, event_id=said, body="bob says better")
    await _read(user, "bob says better")
    assert f'id="{one}"' in await _inside(user, "replace")
    await bob.ask("reply", room=room, event_id=first, body="bob says quite so")
    await _read(user, "bob says quite so")
    assert 'id="a-1"' in await _inside(user, "reply")
    await bob.ask("react", room=room, event_id=first, key="🐢")
    reactions = await _inside(user, "reactions")
    assert 'id="a-1"' in reactions
    assert "🐢" in reactions
    await bob.ask("read", room=room, event_id=first)
    assert 'id="a-1"' in await _inside(user, "displayed")
    await bob.ask("redact", room=room, event_id=said)
    assert f'id="{one}"' in await _inside(user, "retract")
    await user.retract(contact, "a-1")
    await _redacted(scene, first)
    await _files_pass(scene, user, room, tmp_path)

    assert user.told("undecryptable") == user.told("plain") == user.told("refused") == []
    assert _in_clear(scene, b" says ", "🎉".encode(), "🐢".encode(), b"aesgcm", *RELATIONS) == []


@pytest.mark.parametrize("server", ["prosody"], indirect=True)
async def test_in_the_older_form_the_text_alone_counts_and_all_else_is_said_in_words(
    scene: Scene, clients: Clients, tmp_path: Path
) -> None:
    user = await clients.user(scene.alice_account, "user").start()
    contact, bob = scene.alice.contact, scene.bob
    room, first, said, one = await _begun(scene, user)

    await user.correct(contact, "a-1", "alice says better")
    assert (await _bob_sees(scene, "alice says better"))["relation"] is None
    await user.reply(contact, one, contact, "alice says indeed", "bob says one")
    assert (await _bob_sees(scene, "> bob says one\nalice says indeed"))["reply_to"] is None
    for asked in (await user.react(contact, one, "🎉"), await user.retract(contact, "a-1")):
        assert "This reaction or retraction was not passed on" in await _refusal(user, asked["id"])
    await user.read(contact, one)

    await bob.ask("edit", room=room, event_id=said, body="bob says better")
    await _read(user, "* corrected: bob says better")
    await bob.ask("reply", room=room, event_id=first, body="bob says quite so")
    await _read(user, "bob says quite so")
    await bob.ask("react", room=room, event_id=first, key="🐢")
    await _read(user, "* reacted to your message: 🐢")
    await bob.ask("redact", room=room, event_id=said)
    await _read(user, "* took an earlier message back")
    await _files_pass(scene, user, room, tmp_path)

    kinds = {e.get("event") for e in bob.events if e.get("sender") == scene.alice_matrix.user_id}
    assert not kinds & {"reaction", "redacted"}
    assert _reads(scene, said) == []
    assert user.told("undecryptable") == user.told("plain") == []
    assert _in_clear(scene, b" says ", "🐢".encode(), b"aesgcm") == []
    assert _from_gateway(scene, *RELATIONS) == [b"<received"]


@pytest.mark.parametrize("server", ["ejabberd"], indirect=True)
@pytest.mark.parametrize("scene", [{"beside": "all"}], indirect=True)
async def test_where_the_operator_says_so_what_stands_beside_the_older_form_counts(
    scene: Scene, clients: Clients
) -> None:
    user = await clients.user(scene.alice_account, "user").start()
    contact, bob = scene.alice.contact, scene.bob
    room, first, said, one = await _begun(scene, user)

    await user.correct(contact, "a-1", "alice says better")
    assert (await _bob_sees(scene, "* alice says better"))["relation"] == {"rel_type": "m.replace", "event_id": first}
    await user.reply(contact, one, contact, "alice says indeed", "bob says one")
    assert (await _bob_sees(scene, "alice says indeed"))["reply_to"] == said
    await user.react(contact, one, "🎉")
    assert (await _reaction(scene, "🎉"))["event_id"] == said
    await user.read(contact, one)
    await _told_read(scene, said)

    await bob.ask("edit", room=room, event_id=said, body="bob says better")
    edit = await _read(user, "bob says better")
    assert [f'id="{one}"' in text for text in edit["beside"] if "replace" in text] == [True]
    await bob.ask("reply", room=room, event_id=first, body="bob says quite so")
    answer = await _read(user, "bob says quite so")
    assert ['id="a-1"' in text for text in answer["beside"] if ":reply " in text] == [True]
    await bob.ask("react", room=room, event_id=first, key="🐢")
    await _read(user, "* reacted to your message: 🐢")
    await bob.ask("redact", room=room, event_id=said)
    taken = await _read(user, "* took an earlier message back")
    assert [f'id="{one}"' in text for text in taken["beside"] if "retract" in text] == [True]
    await user.retract(contact, "a-1")
    await _redacted(scene, first)

    assert user.told("undecryptable") == user.told("plain") == user.told("refused") == []
    assert _in_clear(scene, b" says ", "🐢".encode()) == []


@pytest.mark.parametrize(
    ("server", "scene"), [("prosody", {}), ("ejabberd", {"beside": "all"})], indirect=True, ids=["words", "beside"]
)
async def test_profanity_corrects_is_told_in_words_and_exchanges_files(
    scene: Scene, clients: Clients, tmp_path: Path
) -> None:
    profanity = await clients.profanity(scene.alice_account)
    contact, bob = scene.alice.contact, scene.bob
    for setting in ("/correction on", "/receipts request on", "/receipts send on"):
        await profanity.command(setting)
    await profanity.befriend(contact)
    await profanity.lock(contact)
    await profanity.command("alice says one")
    room = await scene.room(timeout_s=90)
    first = (await _bob_sees(scene, "alice says one"))["event_id"]
    await profanity.command("/correct alice says better")
    if scene.omemo.get("beside") == "all":
        relation = {"rel_type": "m.replace", "event_id": first}
        assert (await _bob_sees(scene, "* alice says better"))["relation"] == relation
    else:
        assert (await _bob_sees(scene, "alice says better"))["relation"] is None
    assert len(profanity.asking()) == 2
    for id_ in profanity.asking():
        await profanity.wait_logged(f'<received id="{id_}"')
    said = await bob.send(room, "bob says one")
    await profanity.wait_message(contact, "bob says one")
    await bob.ask("edit", room=room, event_id=said, body="bob says better")
    await bob.ask("reply", room=room, event_id=first, body="bob says quite so")
    await bob.ask("react", room=room, event_id=first, key="🐢")
    await bob.ask("redact", room=room, event_id=said)
    words = ["bob says quite so", "* reacted to your message: 🐢", "* took an earlier message back"]
    if scene.omemo.get("beside") == "all":
        assert (await profanity.wait_message(contact, "bob says better")).mark == CORRECTED
        assert "bob says one" not in profanity.shown()
    else:
        words.append("* corrected: bob says better")
    for text in words:
        assert (await profanity.wait_message(contact, text)).encrypted

    sent, answer = _file(tmp_path, "cat.png"), _file(tmp_path, "dog.jpg")
    await profanity.command(f"/sendfile {sent}")
    await _bobs_file(scene, tmp_path, "cat.png", sent)
    await bob.send_file(room, answer, msgtype="m.image", caption="bob says look", mimetype="image/jpeg")
    await profanity.wait_message(contact, "bob says look")
    await profanity.save_file(await profanity.wait_address(contact), tmp_path / "alice-got", OCTETS)
    assert _same(tmp_path / "alice-got", answer)

    assert all(m.encrypted or m.mark == CORRECTED for m in profanity.messages() if m.who in ("me", contact))
    assert _in_clear(scene, b" says ", "🐢".encode(), b"aesgcm") == []
