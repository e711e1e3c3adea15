"""The whole gateway over ejabberd, with the limits its Debian package comes with."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from slixmpp import JID

from adapters.xmpp.names import NS_STANZAS
from bridge.config.models import Component as Configured
from bridge.probe.component import probe_component
from bridge.probe.hop import Hop, State
from demo.texts import conversation
from rig.ejabberd import Ejabberd, listener
from rig.scene import Scene
from rig.services import ROOT, answers
from rig.synapse import Synapse
from rig.xmpp import Component
from tests.interop.test_check import Site
from tests.interop.test_xmpp_adapter import Client, RecordingEdge, half_for, until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]
on_one_loop = pytest.mark.asyncio(loop_scope="module")

_PARENT = """
import sys, pathlib, time
from rig.ejabberd import Ejabberd
server = Ejabberd(pathlib.Path(sys.argv[1])).start()
print(server.pid, server.c2s_port, flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def ejabberd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ejabberd]:
    with Ejabberd(tmp_path_factory.mktemp("ejabberd"), components=5) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(
    tmp_path_factory: pytest.TempPathFactory, ejabberd: Ejabberd, synapse: Synapse
) -> AsyncIterator[tuple[Scene, str]]:
    """A gateway with a first message each way already through, and the room it made."""
    made = Scene(tmp_path_factory.mktemp("scene"), ejabberd, synapse, suffix="-ejabberd")
    try:
        await made.open()
        await made.alice.send("first")
        room = await made.room(timeout_s=90)
        await made.bob.wait_messages(1)
        await made.bob.send(room, "first")
        await made.alice.wait_messages(1)
        yield made, room
    finally:
        await made.close()


@pytest.fixture
def site(tmp_path: Path, ejabberd: Ejabberd, synapse: Synapse, unique: Callable[[str], str]) -> Site:
    return Site(tmp_path, ejabberd.component(), synapse.account(unique("check")))


class Heard:
    """What arrives on each side from now on."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._alice, self._bob = len(scene.alice.messages), len(scene.bob.messages)

    async def all_of(self, at_bob: list[str], at_alice: list[str], *, timeout_s: float = 60.0) -> None:
        """Wait for as many messages; then they are these, once each, in this order, and acknowledged."""
        alice, bob = self._scene.alice, self._scene.bob
        await asyncio.gather(
            bob.wait_messages(self._bob + len(at_bob), timeout_s=timeout_s),
            alice.wait_messages(self._alice + len(at_alice), timeout_s=timeout_s),
        )
        assert await alice.flushed(timeout_s=timeout_s) == 0
        await asyncio.sleep(1)  # a double that comes late is a double, too
        assert [message.body for message in bob.messages[self._bob :]] == at_bob
        assert [message.body for message in alice.messages[self._alice :]] == at_alice
        assert alice.ids("failed") == []


async def _same_sas(scene: Scene) -> None:
    session = await scene.alice.session()
    leg = await asyncio.to_thread(scene.lockgate.leg, "xmpp")
    assert session["sas"]
    assert session["sas"] == leg["sas"]
    assert leg["assurance"] == "end-to-end"


@on_one_loop
async def test_ten_messages_each_way_arrive_once_in_order_and_intact(scene: tuple[Scene, str]) -> None:
    made, room = scene
    alice, bob = ([line.text for line in lines] for lines in conversation("over-ejabberd"))
    heard = Heard(made)
    for mine, answer in zip(alice, bob, strict=True):
        await made.alice.send(mine)
        await made.bob.send(room, answer)
    await heard.all_of(alice, bob)
    await _same_sas(made)


@on_one_loop
async def test_an_unencrypted_message_and_one_to_nobody_are_refused_with_a_reason(scene: tuple[Scene, str]) -> None:
    made, _ = scene
    before = len(made.bob.messages)
    client = await Client(made.alice_account, "phone", esession=False).log_in()
    for to in (made.alice.contact, f"nobody@{made.component.jid}"):
        client.send_message(mto=JID(to), mbody="in the clear", mtype="chat")
    await until(lambda: len(_errors(client)) == 2, "two errors")
    conditions = {error["from"].bare: _condition(error) for error in _errors(client)}
    assert conditions == {made.alice.contact: "policy-violation", f"nobody@{made.component.jid}": "item-not-found"}
    assert all(error["error"]["text"] for error in _errors(client))
    await client.disconnect(wait=1.0)
    assert len(made.bob.messages) == before


def _errors(client: Client) -> list[Any]:
    return [message for message in client.messages if message["type"] == "error"]


def _condition(error: Any) -> str:
    """The defined condition; slixmpp itself does not know all of them."""
    (found,) = [child.tag for child in error["error"].xml if child.tag.startswith(f"{{{NS_STANZAS}}}")][:1]
    return str(found.partition("}")[2])


@on_one_loop
@pytest.mark.parametrize("end", [Ejabberd.stop, Ejabberd.kill], ids=["stopped", "killed"])
async def test_a_restart_of_ejabberd_under_traffic_loses_and_doubles_nothing(
    scene: tuple[Scene, str], ejabberd: Ejabberd, end: Callable[[Ejabberd], None]
) -> None:
    made, room = scene
    alice, bob = ([f"{end.__name__} {name} {n}" for n in range(20)] for name in ("alice", "bob"))
    heard = Heard(made)

    async def restart() -> None:
        await asyncio.to_thread(end, ejabberd)
        await ejabberd.begin()

    for number, (mine, answer) in enumerate(zip(alice, bob, strict=True)):
        if number == 10:
            restarting = asyncio.create_task(restart())
        await made.alice.send(mine)
        await made.bob.send(room, answer)
        await asyncio.sleep(0.05)
    await restarting
    await heard.all_of(alice, bob, timeout_s=90)
    await _same_sas(made)


@on_one_loop
async def test_what_ejabberd_sends_back_while_the_gateway_is_away_arrives_afterwards(scene: tuple[Scene, str]) -> None:
    made, _ = scene
    heard = Heard(made)
    texts = [f"away {number}" for number in range(10)]
    gateway = made.lockgate.child("gateway")
    assert gateway is not None
    gateway.kill()
    for text in texts:
        await made.alice.send(text)
        await asyncio.sleep(0.05)
    await heard.all_of(texts, [])
    assert any("<forbidden" in stanza.xml for stanza in made.alice.trace() if stanza.direction == "in")


@on_one_loop
async def test_a_client_that_was_killed_gets_what_came_meanwhile_and_goes_on(scene: tuple[Scene, str]) -> None:
    made, room = scene
    alice, bob = (["before", "after"], [f"meanwhile {n}" for n in range(5)])
    heard = Heard(made)
    await made.alice.send(alice[0])
    await made.alice.flushed()
    await made.alice.kill()
    for text in bob:
        await made.bob.send(room, text)
    await made.alice.start()
    await made.alice.send(alice[1])
    await heard.all_of(alice, bob)


def test_check_finds_nothing_wrong_with_ejabberd_but_that_it_has_no_uploads(site: Site) -> None:
    status, hops = site.hops()
    assert {name: state for name, (state, _) in hops.items() if state != "ok"} == {"file uploads": "warning"}
    assert status == 0


async def test_what_ejabberd_does_not_accept_is_named(ejabberd: Ejabberd) -> None:
    known = ejabberd.component()
    wrong, right = await _secret_hop(known, secret="wrong-9c1d"), await _secret_hop(known)
    unknown = await _secret_hop(replace(known, jid="unknown.localhost"))
    its_own = await _secret_hop(replace(known, jid=ejabberd.host))
    for_clients = await _secret_hop(replace(known, port=ejabberd.c2s_port))
    assert right.state is State.OK
    assert {hop.state for hop in (wrong, unknown, its_own, for_clients)} == {State.FAILED}
    assert "does not accept the secret" in wrong.found
    assert "has no host unknown.localhost" in unknown.remedy
    assert "must not be the server's own" in its_own.remedy
    assert "not for components" in for_clients.found


async def test_the_gateway_says_what_ejabberd_does_not_accept(ejabberd: Ejabberd) -> None:
    known = ejabberd.component()
    for wrong, said in (
        (replace(known, jid="unknown.localhost"), "has no host of the name"),
        (replace(known, jid=ejabberd.host), "a domain of the server's own"),
        (replace(known, port=ejabberd.c2s_port), "not for components"),
    ):
        edge, half = RecordingEdge(), half_for(wrong)
        await half.connect(edge, [])
        await until(lambda edge=edge: "refused" in edge.states(), "the refusal")  # type: ignore[misc]
        assert said in dict(edge.health_log)["refused"]
        await half.close()


async def _secret_hop(component: Component, secret: str | None = None) -> Hop:
    configured = Configured.model_validate({"jid": component.jid, "port": component.port, "secret_file": "unused"})
    return (await probe_component(configured, secret or component.secret))[-1]


def test_the_configuration_in_the_readme_is_the_one_that_is_tested() -> None:
    (shown,) = re.findall(r"```yaml\n( *listen:.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    shown = re.sub(r"^ {3}", "", shown, flags=re.MULTILINE)
    assert shown.rstrip() == listener(5347, {"matrix.example.org": "a long random word"}).rstrip()


def test_ejabberd_listens_on_loopback_only_and_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    before = _names()
    with subprocess.Popen([sys.executable, "-c", _PARENT, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout is not None
        pid, port = map(int, parent.stdout.readline().split())
        started = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        listening = [c.laddr.ip for p in started for c in p.net_connections() if c.status == psutil.CONN_LISTEN]
        assert set(listening) == {"127.0.0.1"}
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in started):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not answers(port)
    assert "epmd" not in _names() - before


def _names() -> set[str]:
    return {process.name() for process in psutil.process_iter()}
