"""What messages hold beside text, through the whole gateway: Prosody, Synapse, `lockgate chat`, and matrix-js-sdk.

Bob's client shuts out devices that their owner did not sign.
"""

import asyncio
import base64
import hashlib
import ssl
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from slixmpp import JID, ClientXMPP
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath
from slixmpp.xmlstream.stanzabase import StanzaBase

from rig.prosody import Prosody, XmppAccount
from rig.scene import Scene
from rig.synapse import Synapse

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

EVENT = "http://jabber.org/protocol/pubsub#event"
NICK, METADATA = "http://jabber.org/protocol/nick", "urn:xmpp:avatar:metadata"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


async def opened(scene: Scene, content: Mapping[str, Any]) -> str:
    """The room, once a first message has gone each way."""
    scene.content = content
    await scene.open()
    await scene.alice.send("first of Alice's", "a-first")
    room = await scene.room(timeout_s=90)
    await scene.bob.wait_messages(1)
    await scene.bob.send(room, "first of Bob's")
    await scene.alice.wait_messages(1)
    return room


@pytest_asyncio.fixture
async def scene(
    short_path: Path, prosody: Prosody, synapse: Synapse, unique: Callable[[str], str]
) -> AsyncIterator[Scene]:
    """A gateway of its own, not yet begun."""
    made = Scene(short_path, prosody, synapse, suffix=unique("c"))
    try:
        yield made
    finally:
        await made.close()


async def seen(scene: Scene, body: str) -> dict[str, Any]:
    """Bob's event with that body."""
    return dict(
        await scene.bob.wait_for(
            lambda e: e.get("event") == "message" and e.get("body") == body, timeout_s=60, what=f"the message {body!r}"
        )
    )


class Phone(ClientXMPP):  # type: ignore[misc, unused-ignore]
    """An ordinary client of Alice's that shows names and pictures."""

    def __init__(self, account: XmppAccount, contact: str) -> None:
        super().__init__(f"{account.jid}/phone", account.password)
        self.contact = contact
        self.ssl_context = ssl.create_default_context(cafile=str(account.authority))
        self.enable_direct_tls = False
        for plugin in ("xep_0030", "xep_0054", "xep_0060", "xep_0115", "xep_0163"):
            self.register_plugin(plugin)
        self.told: dict[str, str] = {}
        self.changed = asyncio.Event()
        self.add_event_handler("session_start", self._join)
        self.register_handler(Callback("told", MatchXPath(f"{{jabber:client}}message/{{{EVENT}}}event"), self._told))
        self.connect(account.host, account.port)

    async def _join(self, _: object) -> None:
        for node in (NICK, METADATA):
            self.plugin["xep_0163"].add_interest(node)
        await self.plugin["xep_0115"].update_caps(broadcast=False)
        await self.get_roster()
        self.send_presence()

    def _told(self, message: StanzaBase) -> None:
        items = message.xml.find(f"{{{EVENT}}}event/{{{EVENT}}}items")
        if items is not None and message["from"].bare == self.contact:
            self.told[items.get("node", "")] = "".join(items.itertext()) or ET.tostring(items).decode()
            self.changed.set()

    async def picture(self) -> bytes:
        """The contact's picture (XEP-0084)."""
        asked: Any = self.plugin["xep_0060"].get_items
        items = await asked(self.contact, "urn:xmpp:avatar:data", timeout=20)
        return base64.b64decode(items.xml.findtext(".//{urn:xmpp:avatar:data}data") or "")

    async def until_told(self, node: str, text: str) -> None:
        """Wait for a notification of that node with that text."""
        async with asyncio.timeout(60):
            while text not in self.told.get(node, ""):
                self.changed.clear()
                await self.changed.wait()


async def name_and_picture(scene: Scene) -> None:
    """Bob takes a name and a picture: his JID shows them to another client of Alice's, and answers for them."""
    phone = Phone(scene.alice_account, scene.alice.contact)
    try:
        await scene.bob.ask("profile", name="Bob the Builder", picture=base64.b64encode(PNG).decode())
        await phone.until_told(NICK, "Bob the Builder")
        await phone.until_told(METADATA, "image/png")
        # The homeserver makes a picture of its own of it, for small ones: what is told of is what is served.
        picture = await phone.picture()
        assert picture.startswith(b"\x89PNG")
        assert hashlib.sha1(picture).hexdigest() in phone.told[METADATA]
        card = await phone.plugin["xep_0054"].get_vcard(JID(phone.contact), timeout=20)
        assert card.xml.findtext(".//{vcard-temp}FN") == "Bob the Builder"
        assert base64.b64decode(card.xml.findtext(".//{vcard-temp}BINVAL") or "") == picture
    finally:
        await phone.disconnect(wait=2.0)
    answer = await scene.alice.ask("vcard")
    assert "Bob the Builder" in str(answer["result"])


async def test_edits_replies_reactions_retractions_styles_and_what_was_read_pass_both_ways(scene: Scene) -> None:
    room = await opened(scene, {"reactions": True})
    alice, bob = scene.alice, scene.bob
    first_of_alice, first_of_bob = bob.messages[0].event_id, alice.messages[0].id

    # what was read
    await bob.ask("read", room=room, event_id=first_of_alice)
    assert (await alice.heard("read"))[-1]["up_to"] == "a-first"
    await alice.put({"displayed": first_of_bob})
    await bob.wait_for(
        lambda e: e.get("event") == "receipt" and e["user"] == scene.alice_matrix.user_id,
        timeout_s=60,
        what="a receipt",
    )

    # corrections
    await alice.say(edit="first of Alice's, better", replaces="a-first")
    edit = await seen(scene, "* first of Alice's, better")
    assert edit["relation"] == {"rel_type": "m.replace", "event_id": first_of_alice}
    sent = [e for e in bob.events if e.get("event") == "message"]
    assert sent[0]["event_id"] == first_of_alice
    event_of_bob = (await bob.ask("send", room=room, body="second of Bob's"))["event_id"]
    second = (await alice.wait_messages(2))[1].id
    await bob.ask("edit", room=room, event_id=event_of_bob, body="second of Bob's, better")
    corrected = (await alice.heard("message", 3))[2]
    assert (corrected["body"], corrected["replaces"]) == ("second of Bob's, better", second)

    # answers
    await alice.say(reply="indeed", to=second, quoted="second of Bob's")
    answer = await seen(scene, "indeed")
    assert answer["reply_to"] == event_of_bob
    await bob.ask("reply", room=room, event_id=first_of_alice, body="quite so")
    replied = (await alice.heard("message", 4))[3]
    assert (replied["body"], replied["reply_to"]) == ("quite so", "a-first")

    # reactions: both pass, because the operator lets them
    await alice.say(react=["👍", "🎉"], to=second)
    keys: set[str] = set()
    while len(keys) < 2:
        found = await bob.wait_for(
            lambda e: e.get("event") == "reaction" and e["relation"]["key"] not in keys, timeout_s=60, what="a reaction"
        )
        assert found["relation"]["event_id"] == event_of_bob
        keys.add(found["relation"]["key"])
    assert keys == {"👍", "🎉"}
    await bob.ask("react", room=room, event_id=first_of_alice, key="❤️")
    assert [(e["to"], e["emojis"]) for e in await alice.heard("reaction")] == [("a-first", ["❤️"])]
    await alice.say(react=["🎉"], to=second)
    await bob.wait_for(lambda e: e.get("event") == "redacted", timeout_s=60, what="the reaction to be taken back")

    # styles
    await alice.send("so *bold* and `code`")
    styled = await bob.wait_for(
        lambda e: "<strong>bold</strong>" in str((e.get("content") or {}).get("formatted_body")),
        timeout_s=60,
        what="formatted text",
    )
    assert "<code>code</code>" in styled["content"]["formatted_body"]
    html = {"format": "org.matrix.custom.html", "formatted_body": "<b>bold</b> <script>alert(1)</script>2 *3* 4"}
    await bob.ask("edit", room=room, event_id=event_of_bob, body="x", content={"body": "x", **html})
    shown = (await alice.heard("message", 5))[4]
    assert "alert" not in shown["body"]
    assert "2 *3* 4" in shown["body"]

    # taken back
    await alice.say(retract="a-first")
    await bob.wait_for(
        lambda e: e.get("event") == "redacted" and e["event_id"] == first_of_alice, timeout_s=60, what="the retraction"
    )
    await bob.ask("redact", room=room, event_id=event_of_bob)
    (retraction,) = await alice.heard("retraction")
    assert retraction["to"] == second
    assert first_of_bob != second
    assert await alice.flushed() == 0
    assert bob.undecryptable == []
    stanzas = "".join(s.xml for s in alice.trace())
    for word in ("better", "indeed", "quite so", "bold", "message-correct:0' id", "<reactions"):
        assert word not in stanzas


async def test_by_default_names_and_pictures_are_shown_and_reactions_are_said_in_words(scene: Scene) -> None:
    room = await opened(scene, {})
    await name_and_picture(scene)
    alice, bob = scene.alice, scene.bob
    first_of_alice, first_of_bob = bob.messages[0].event_id, alice.messages[0].id
    await alice.say("a-react", react=["👍"], to=first_of_bob)
    said = await bob.wait_for(
        lambda e: e.get("event") == "message" and "reacted 👍" in str(e.get("body")), timeout_s=60, what="words"
    )
    assert said["shield"] is not None
    await bob.ask("react", room=room, event_id=first_of_alice, key="❤️")
    await bob.send(room, "after it")
    await alice.wait_messages(2)
    assert not [e for e in alice.events if e.get("event") == "reaction"]
    assert not [e for e in bob.events if e.get("event") == "reaction" and e["sender"] != bob.user_id]
    assert await alice.flushed() == 0
