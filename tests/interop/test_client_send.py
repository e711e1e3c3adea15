"""`lockgate send` as a process over a real Prosody, to a contact's end that takes single messages."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import pytest_asyncio
from slixmpp import ClientXMPP
from slixmpp.stanza import Message
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath
from slixmpp.xmlstream.tostring import tostring

from client.stanzas import NS_ESESSION, Stanza, receipt_content
from crypto.xml import parse
from rig.alice import Alice
from rig.prosody import Prosody, XmppAccount
from rig.services import ROOT
from tests.unit.test_client_once import Bob

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]


class Contact(ClientXMPP):
    """Bob's client: announces ESessions, takes single messages, acknowledges them sealed when told to."""

    def __init__(self, account: XmppAccount, *, acknowledges: bool) -> None:
        super().__init__(f"{account.jid}/desk", account.password)
        self.account, self.bob = account, Bob()
        self.acknowledges = acknowledges
        self.ca_certs = account.authority
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0115")
        self.register_plugin("xep_0199")
        self.plugin["xep_0030"].add_feature(NS_ESESSION)
        self.auto_authorize, self.auto_subscribe = True, True
        self.ready = asyncio.Event()
        self.raw: list[str] = []
        self.register_handler(Callback("all", StanzaPath("message"), self._message))
        self.add_event_handler("session_start", self._started)

    async def _started(self, _: object) -> None:
        await self.get_roster()
        self.send_presence()
        self.ready.set()

    def _message(self, message: Any) -> None:
        xml = tostring(message.xml, xmlns="", top_level=True)
        self.raw.append(xml)
        before = len(self.bob.texts)
        self._reply(message["from"], self.bob.received(parse(xml.encode(), max_octets=1 << 20)))
        if len(self.bob.texts) > before and self.acknowledges:
            self._reply(message["from"], self.bob.answer(receipt_content(message["id"]), f"a{before}"))

    def _reply(self, to: Any, stanzas: list[Stanza]) -> None:
        for stanza in stanzas:
            octets = Stanza(str(to), stanza.type, stanza.id, stanza.thread, stanza.payload).octets()
            octets = octets.replace(b"<message ", b'<message xmlns="jabber:client" ', 1)
            self.send(Message(self, ET.fromstring(octets)))  # type: ignore[no-untyped-call]

    async def log_in(self) -> "Contact":
        self.connect(self.account.host, self.account.port)
        await asyncio.wait_for(self.ready.wait(), 20)
        return self


@dataclass
class Scene:
    """Alice's shell, and Bob's clients."""

    folder: Path
    alice: XmppAccount
    bob: XmppAccount
    contacts: list[Contact] = field(default_factory=list)

    async def contact(self, *, acknowledges: bool = True) -> Contact:
        self.contacts.append(Contact(self.bob, acknowledges=acknowledges))
        return await self.contacts[-1].log_in()

    async def send(self, *arguments: str, to: str | None = None, given: str = "") -> tuple[int, str]:
        """Run the command; exit status, and what it said."""
        password = self.folder / "password"
        password.write_text(self.alice.password)
        password.chmod(0o600)
        login = ["--account", self.alice.jid, "--password-file", str(password), "--host", self.alice.host]
        login += ["--port", str(self.alice.port), "--ca-file", str(self.alice.authority)]
        login += ["--keys", str(self.folder / "keys"), "--trace", str(self.folder / "trace")]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bridge.cli", "send", *login, *arguments[:-1], to or self.bob.jid, *arguments[-1:],
            cwd=ROOT, stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(given.encode()), 60)
        assert out == b""
        return process.returncode or 0, err.decode()


@pytest_asyncio.fixture
async def scene(prosody: Prosody, tmp_path: Path, unique: Callable[[str], str]) -> AsyncIterator[Scene]:
    made = Scene(tmp_path, prosody.account(unique("alice")), prosody.account(unique("bob")))
    yield made
    for contact in made.contacts:
        await contact.disconnect(wait=1.0)


async def test_a_message_is_sealed_sent_and_acknowledged_in_one_go(scene: Scene) -> None:
    contact = await scene.contact()
    status, said = await scene.send("MARKER-5d1c 🦊")
    assert (status, contact.bob.texts) == (0, ["MARKER-5d1c 🦊"]), said
    assert "sent, and acknowledged" in said
    assert contact.bob.identity.public.fingerprint().hex() in said.replace(" ", "")
    assert "MARKER" not in "".join(contact.raw)
    assert "MARKER" not in (scene.folder / "trace").read_text()
    status, said = await scene.send("-", given="again\n")
    assert (status, contact.bob.texts[1:]) == (0, ["again"])
    assert "new" not in said


async def test_lockgate_chat_takes_single_messages_where_its_user_said_so_and_acknowledges_them_sealed(
    scene: Scene,
) -> None:
    options = ("--accept-single", "--keys", str(scene.folder / "bob.keys"))
    bob = await Alice(scene.folder, scene.bob, scene.alice.jid, "bob", options=options).start()
    try:
        status, said = await scene.send("MARKER-77ab", to=f"{scene.bob.jid}/lockgate")
        assert status == 0, said
        assert "sent, and acknowledged" in said
        assert [m.body for m in await bob.wait_messages(1)] == ["MARKER-77ab"]
        assert "MARKER" not in (scene.folder / "trace").read_text()
    finally:
        await bob.stop()


async def test_without_a_receipt_it_says_so_and_is_content(scene: Scene) -> None:
    contact = await scene.contact(acknowledges=False)
    status, said = await scene.send("--wait", "1", "hello")
    assert (status, contact.bob.texts) == (0, ["hello"])
    assert "no receipt" in said


async def test_another_key_than_before_gets_nothing_until_it_is_named(scene: Scene) -> None:
    contact = await scene.contact()
    assert (await scene.send("first"))[0] == 0
    contact.bob = Bob()
    status, said = await scene.send("second")
    assert (status, contact.bob.texts) == (1, [])
    assert "another key than before" in said
    fingerprint = contact.bob.identity.public.fingerprint().hex()
    assert (await scene.send("--fingerprint", fingerprint, "third"))[0] == 0
    assert contact.bob.texts == ["third"]


async def test_an_end_that_takes_no_single_messages_is_told_in_a_sentence(scene: Scene) -> None:
    contact = await scene.contact()
    contact.bob = Bob(three_message=False)
    status, said = await scene.send("hello")
    assert (status, contact.bob.texts) == (1, [])
    assert "lockgate chat" in said


async def test_a_contact_that_is_not_there_and_one_that_does_not_exist(scene: Scene) -> None:
    status, said = await scene.send("--timeout", "3", "hello")
    assert status == 1
    assert "no client of" in said
    status, said = await scene.send("hello", to=f"nobody@{scene.alice.jid.partition('@')[2]}/x")
    assert status == 1
    assert "refused (service-unavailable)" in said


@pytest.mark.parametrize(
    ("arguments", "why"),
    [(["--fingerprint", "ab", "x"], "64 hexadecimal"), ([""], "must have a text"), (["--known-only", "-"], "a text")],
)
async def test_wrong_usage_ends_with_status_2_before_anything_is_sent(
    scene: Scene, arguments: list[str], why: str
) -> None:
    status, said = await scene.send(*arguments)
    assert status == 2
    assert why in said


async def test_a_wrong_password_ends_with_status_2(scene: Scene) -> None:
    scene.alice = XmppAccount(**{**scene.alice.__dict__, "password": "wrong"})
    status, said = await scene.send("hello")
    assert status == 2
    assert "password" in said
