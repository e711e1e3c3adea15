"""The slixmpp plugin in other people's clients, over a real Prosody. The example bot of docs/client.md among them."""

import asyncio
import re
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from slixmpp import ClientXMPP

import client.plugin
from client.events import (
    ContactPresence,
    ContactTyping,
    MessageDelivered,
    MessageReceived,
    SessionEnded,
    SessionStarted,
)
from client.plugin import XEP_0116, QueryFailed, sessions_of
from rig.alice import Alice
from rig.prosody import Prosody, XmppAccount
from rig.services import ROOT

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]


class Plain(ClientXMPP):  # type: ignore[misc, unused-ignore]
    """A program of somebody else's that loads the plugin."""

    def __init__(self, account: XmppAccount, contact: str, **config: Any) -> None:
        super().__init__(f"{account.jid}/test", account.password)
        self.contact = contact
        self.ssl_context = ssl.create_default_context(cafile=str(account.authority))
        self.enable_direct_tls = False
        self.register_plugin("xep_0116", config, module=client.plugin)
        self.happenings: list[Any] = []
        self.happened = asyncio.Event()
        self.bodies: list[str] = []
        self.presences: list[str] = []
        for event in (
            *("started", "ended", "message", "delivered", "failed", "refused", "plain"),
            *("typing", "presence", "copied", "warning"),
        ):
            self.add_event_handler(f"esession_{event}", self._note)
        self.add_event_handler("message", lambda message: self.bodies.append(message["body"]))
        self.add_event_handler("changed_status", lambda presence: self.presences.append(presence["status"]))
        self.add_event_handler("session_start", self._join)

    def _note(self, happening: Any) -> None:
        self.happenings.append(happening)
        self.happened.set()

    async def _join(self, _: object) -> None:
        await self.get_roster()
        self.send_presence()
        self.send_presence_subscription(pto=self.contact)

    @property
    def sessions(self) -> XEP_0116:
        """The plugin."""
        return sessions_of(self)

    async def until(self, kind: type[Any], count: int = 1) -> list[Any]:
        """Wait until so many of these happened."""
        async with asyncio.timeout(20):
            while len(found := [h for h in self.happenings if isinstance(h, kind)]) < count:
                self.happened.clear()
                await self.happened.wait()
        return found


@pytest_asyncio.fixture
async def two(prosody: Prosody, unique: Callable[[str], str]) -> AsyncIterator[tuple[Plain, Plain]]:
    """Two logged-in programs; the second one's plugin is transparent."""
    first, second = prosody.account(unique("alice")), prosody.account(unique("bob"))
    both = Plain(first, second.jid), Plain(second, first.jid, transparent=True)
    for program, account in zip(both, (first, second), strict=True):
        program.connect(account.host, account.port)
        await program.wait_until("session_start", 20)
    yield both
    for program in both:
        await program.disconnect()


async def test_two_programs_talk(two: tuple[Plain, Plain]) -> None:
    alice, bob = two
    sent = alice.sessions.send(bob.boundjid.bare, "hello <&> 🦊")
    assert await alice.sessions.flush(bob.boundjid.bare, 20) == 0
    assert [(h.id, h.body) for h in await bob.until(MessageReceived)] == [(sent, "hello <&> 🦊")]
    assert [h.id for h in await alice.until(MessageDelivered)] == [sent]
    view, other = alice.sessions.session(bob.boundjid.bare), bob.sessions.session(alice.boundjid.bare)
    assert (view.state, view.sas, view.peer) == ("active", other.sas, bob.boundjid.full)


async def test_an_ended_session_ends_at_both_programs(two: tuple[Plain, Plain]) -> None:
    alice, bob = two
    alice.sessions.start(bob.boundjid.bare)
    await bob.until(SessionStarted)
    await alice.until(SessionStarted)
    await alice.sessions.end(bob.boundjid)
    assert [h.reason for h in await bob.until(SessionEnded)] == ["ended"]
    assert alice.sessions.session(bob.boundjid).state == "none"


async def test_a_transparent_plugin_lets_ordinary_handlers_and_replies_work_encrypted(two: tuple[Plain, Plain]) -> None:
    alice, bob = two
    bob.add_event_handler("message", lambda message: message.reply(f"re: {message['body']}").send())
    alice.sessions.send(bob.boundjid.bare, "question")
    assert [h.body for h in await alice.until(MessageReceived)] == ["re: question"]
    assert bob.bodies == ["question"]
    assert alice.bodies == []


async def test_a_plain_message_of_the_program_is_stopped_once_there_was_a_session(two: tuple[Plain, Plain]) -> None:
    alice, bob = two
    alice.sessions.send(bob.boundjid.bare, "encrypted")
    await alice.until(MessageDelivered)
    alice.send_message(mto=bob.boundjid, mbody="careless", mtype="chat")
    alice.sessions.send(bob.boundjid.bare, "encrypted too")
    await alice.until(MessageDelivered, 2)
    assert bob.bodies == ["encrypted", "encrypted too"]
    assert alice.sessions.counters == {"plain-stopped": 1}


async def test_what_cannot_be_sent_is_refused_at_once(two: tuple[Plain, Plain]) -> None:
    alice, _ = two
    for jid, text in (("bob@xmpp.localhost", ""), ("bob@xmpp.localhost", "x" * 200_000), ("@", "x")):
        with pytest.raises(ValueError, match=r"must have a text|not the JID"):
            alice.sessions.send(jid, text)


async def test_presence_typing_and_questions_go_through_the_session(two: tuple[Plain, Plain]) -> None:
    alice, bob = two
    contact, other = bob.boundjid.bare, alice.boundjid.bare
    within = alice.plugin["xep_0200"]  # type: ignore[typeddict-item, unused-ignore]
    assert within.encrypts(contact) == ()
    with pytest.raises(QueryFailed, match="no-session"):
        await within.ask(contact, "ping")
    alice.sessions.start(contact)
    await bob.until(SessionStarted)
    await alice.until(SessionStarted)
    assert within.encrypts(contact) == ("message", "presence", "iq")
    assert within.typing(contact, True)
    assert within.show(contact, "dnd", "writing tests")
    assert [h.state for h in await bob.until(ContactTyping)] == ["composing"]
    assert [(h.show, h.status) for h in await bob.until(ContactPresence)] == [("dnd", "writing tests")]
    assert bob.sessions.session(other).presence == "dnd"
    (version,) = await within.ask(contact, "version")
    assert [(e.name, e.text) for e in version.elements] == [("name", "Lockgate")]
    with pytest.raises(QueryFailed, match="error") as failed:
        await within.ask(contact, "vcard")
    assert [e.name for e in failed.value.content] == ["feature-not-implemented"]
    assert "writing tests" not in bob.presences


async def test_a_comparison_is_kept_and_taken_back(two: tuple[Plain, Plain]) -> None:
    alice, bob = two
    alice.sessions.start(bob.boundjid.bare)
    await alice.until(SessionStarted)
    assert alice.sessions.verify(bob.boundjid)
    assert alice.sessions.session(bob.boundjid).verified
    assert alice.sessions.unverify(bob.boundjid)
    assert not alice.sessions.session(bob.boundjid).verified


async def test_the_plugin_for_stanza_encryption_brings_the_other_one() -> None:
    program = ClientXMPP("someone@xmpp.localhost/x", "secret")
    with pytest.raises(LookupError):
        sessions_of(program)
    program.register_plugin("xep_0200", module=client.plugin)
    assert sessions_of(program).contacts() == []


def test_the_documentation_shows_the_example_as_it_is() -> None:
    found = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "client.md").read_text("utf-8"), re.DOTALL)
    assert found is not None
    assert found[1] == (ROOT / "examples" / "echo_bot.py").read_text("utf-8")


async def test_the_example_bot_answers(prosody: Prosody, tmp_path: Path, unique: Callable[[str], str]) -> None:
    account, own = prosody.account(unique("bot")), prosody.account(unique("alice"))
    (tmp_path / "password").write_text(account.password)
    bot = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "examples" / "echo_bot.py"), account.jid, "password", own.jid),
        *(account.host, str(account.port), str(account.authority)),
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    alice = await Alice(tmp_path, own, account.jid).start()
    try:
        await alice.send("hello")
        greeting, echo = [m.body for m in await alice.wait_messages(2, timeout_s=30)]
        assert re.fullmatch(r"We are not verified yet. I see \w{5}; what do you see\?", greeting)
        assert echo == "You said: hello"
    finally:
        bot.kill()
        await bot.wait()
        await alice.stop()
