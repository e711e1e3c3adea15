"""The companion's driver with a real enclave process: messages of an ordinary client, a peer with ESessions."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.companion.names import FEATURES, LOCAL
from companion.driver import EnclaveInterceptor, running
from companion.enclave import CompanionPost
from companion.hook import Action, ToClient, ToServer
from companion.peek import peek
from tests.unit.companion_peer import ALICE, ALICE_FULL, BOB, BOB_FULL, Bob, bodies, from_client

pytestmark = pytest.mark.timeout(60)
KEY = bytes(range(32))
_INFO = "http://jabber.org/protocol/disco#info"


class World:
    """The two streams around an interceptor; everything towards Bob reaches him at once."""

    def __init__(self, interceptor: EnclaveInterceptor, post: CompanionPost, bob: Bob) -> None:
        self.interceptor, self.post, self.bob = interceptor, post, bob
        self.shown: list[Action] = []
        self.sent: list[bytes] = []
        self.taking = True
        self._inbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._task = asyncio.create_task(self._serve())

    def push(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, ToClient):
                self.shown.append(action)
                if self.taking and action.taken is not None:
                    action.taken()
            else:
                self._out(action)

    def _out(self, action: ToServer) -> None:
        self.sent.append(action.octets)
        seen = peek(action.octets)
        query = seen.child(_INFO, "query")
        if query is not None and seen.type == "get":
            features = "".join(f"<feature var='{f}'/>" for f in (FEATURES if seen.to.startswith("bob") else ()))
            result = f"<iq type='result' from='{seen.to}' to='{ALICE_FULL}' id='{seen.id}'><query xmlns='{_INFO}'>"
            self._inbox.put_nowait(f"{result}{features}</query></iq>".encode())
        elif seen.to.startswith("bob"):
            for stanza in self.bob.take(action.octets):
                self._inbox.put_nowait(stanza)

    async def _serve(self) -> None:
        while True:
            self.push(await self.interceptor.from_server(await self._inbox.get()))

    async def client(self, stanza: bytes) -> None:
        self.push(await self.interceptor.from_client(stanza))

    def arrive(self, *stanzas: bytes) -> None:
        for stanza in stanzas:
            self._inbox.put_nowait(stanza)

    async def begin(self) -> None:
        self.interceptor.attach(self.push)
        await self.interceptor.begun(ALICE_FULL)
        await self.client(b"<presence/>")

    def said(self, sender: str) -> list[str]:
        return bodies(self.shown, sender=sender)

    def close(self) -> None:
        self._task.cancel()


async def until(condition: Callable[[], bool], what: str) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"waited in vain for {what}")


@asynccontextmanager
async def world(folder: Path, bob: Bob) -> AsyncIterator[World]:
    posts: list[CompanionPost] = []
    async with running(folder, ALICE, KEY, lockdown="best-effort", began=posts.append) as (interceptor, _):
        made = World(interceptor, posts[0], bob)
        await made.begin()
        try:
            yield made
        finally:
            made.close()


async def test_a_message_each_way_is_encrypted_on_the_wire_and_ordinary_for_the_client(tmp_path: Path) -> None:
    bob = Bob()
    async with world(tmp_path, bob) as w:
        w.arrive(f"<presence from='{BOB_FULL}' to='{ALICE_FULL}'/>".encode())
        await w.client(from_client("hello Bob", extra="<request xmlns='urn:xmpp:receipts'/>"))
        await until(lambda: bob.heard == ["hello Bob"], "Bob's message")
        assert not any(b"hello Bob" in stanza for stanza in w.sent)
        w.arrive(*bob.write("hello Alice"))
        await until(lambda: w.said(BOB) == ["hello Alice"], "Alice's message")
        await until(lambda: bob.received != [], "Bob's receipt")
        assert any(b"received" in a.octets and b'id="c1"' in a.octets for a in w.shown)
        assert any(bob.sas in text for text in w.said(LOCAL))


async def test_a_killed_enclave_loses_nothing_in_either_direction(tmp_path: Path) -> None:
    bob = Bob()
    async with world(tmp_path, bob) as w:
        w.arrive(f"<presence from='{BOB_FULL}' to='{ALICE_FULL}'/>".encode())
        await w.client(from_client("first"))
        await until(lambda: bob.heard == ["first"], "the first message")
        sending = asyncio.gather(*(w.client(from_client(f"a{n}", id_=f"i{n}")) for n in range(30)))
        for number in range(20):
            w.arrive(*bob.write(f"b{number}"))
            if number == 7:
                assert w.post.child is not None
                os.kill(w.post.child.pid, signal.SIGKILL)
        await sending
        wanted = {f"b{n}" for n in range(20)}
        await until(lambda: wanted <= set(w.said(BOB)), "all of Bob's messages")
        await until(lambda: {f"a{n}" for n in range(30)} <= set(bob.heard), "all of Alice's messages")
        assert len(w.said(BOB)) == len(set(w.said(BOB)))
        assert w.post.restarts >= 1


async def test_peers_without_esessions_get_what_the_client_wrote(tmp_path: Path) -> None:
    async with world(tmp_path, Bob()) as w:
        await w.client(from_client("hello", to="carol@example.org"))
        await until(lambda: from_client("hello", to="carol@example.org") in w.sent, "the message")


async def test_a_new_run_hands_over_what_the_client_had_not_taken(tmp_path: Path) -> None:
    bob = Bob()
    async with world(tmp_path, bob) as w:
        w.arrive(f"<presence from='{BOB_FULL}' to='{ALICE_FULL}'/>".encode())
        await w.client(from_client("first"))
        await until(lambda: bob.heard == ["first"], "the first message")
        w.taking = False
        w.arrive(*bob.write("not taken"))
        await until(lambda: w.said(BOB) == ["not taken"], "the message")
        assert bob.received == []
    bob.conversations.clear()
    async with world(tmp_path, bob) as w:
        await until(lambda: w.said(BOB) == ["not taken"], "the message, again")
        w.arrive(f"<presence from='{BOB_FULL}' to='{ALICE_FULL}'/>".encode())
        await w.client(from_client("second"))
        await until(lambda: bob.received != [], "the receipt")


async def test_the_client_is_asked_what_it_is_and_announced_with_esessions_however_often_it_appears(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, Bob()) as made:
        made.sent.clear()
        made.shown.clear()
        for ver in ("old", "new", "new"):
            caps = f"<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:x' ver='{ver}'/>"
            await made.client(f"<presence>{caps}</presence>".encode())
        asked = [seen for action in made.shown if (seen := peek(action.octets)).child(_INFO, "query") is not None]
        assert len(asked) == 2
        for question in asked:
            await made.client(question.result(f"<query xmlns='{_INFO}'><feature var='urn:own'/></query>".encode()))
        presences = [octets for octets in made.sent if peek(octets).name == "presence"]
        assert len(presences) == 3
        assert all(b"urn:lockgate:companion" in octets for octets in presences)
