"""Alice verifies Bob from her own client: she writes to the gateway itself, or uses its commands, in a session."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from crypto.xml import Element, parse
from rig.alice import Alice
from rig.bob.client import Bob
from rig.prosody import Prosody
from rig.scene import Scene
from rig.search import in_files
from rig.synapse import Synapse

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]
COMMANDS, FORM = "http://jabber.org/protocol/commands", "jabber:x:data"


@pytest_asyncio.fixture
async def scene(
    short_path: Path, prosody: Prosody, synapse: Synapse, unique: Callable[[str], str]
) -> AsyncIterator[Scene]:
    """Accounts and a gateway that is not started yet; ended after the test."""
    made = Scene(short_path, prosody, synapse, suffix=unique("o"))
    try:
        yield made
    finally:
        await made.close()


async def opened(scene: Scene) -> Alice:
    """Bob and Alice know each other; her second client is in a session with the gateway itself."""
    await scene.open()
    await scene.alice.send("hello")
    await scene.bob.wait_messages(1, timeout_s=90)
    desk = Alice(scene.folder / "desk", scene.alice_account, scene.component.jid, "desk", resource="desk")
    await desk.start()
    await desk.send("help")
    assert "match NUMBER" in (await desk.wait_messages(1))[0].body
    return desk


async def compare_session(scene: Scene, desk: Alice) -> None:
    """The operator says that Alice's client shows the same string."""
    sas = str((await desk.session())["sas"])
    words = ("trust", "verify", "alice", "_gateway", "--network", "xmpp", "--sas", sas)
    ended = await asyncio.to_thread(scene.lockgate.tell, *words)
    assert ended.status == 0, ended.output


async def bob_sees(bob: Bob) -> list[str]:
    """Bob accepts; the emoji that his client shows, with their names."""
    await bob.wait_for(lambda event: event.get("event") == "verification_request", timeout_s=60, what="the request")
    await bob.ask("verify_accept")
    sas = await bob.wait_for(lambda event: event.get("event") == "sas", timeout_s=60, what="the emoji")
    return [f"{place}. {picture} {name}" for place, (picture, name) in enumerate(sas["emoji"], start=1)]


async def both_verified(scene: Scene) -> None:
    """What it came to."""
    await scene.bob.wait_for(lambda event: event.get("event") == "verified", timeout_s=30, what="the end")
    leg = await asyncio.to_thread(scene.lockgate.leg, "matrix")
    assert leg["identity"]["state"] == "verified"
    assert (leg["proof"]["how"], leg["proof"]["by"]) == ("emoji", "user")
    told = await asyncio.to_thread(scene.lockgate.tell, "trust", "show")
    assert "emoji compared by the user" in " ".join(told.output.split())


async def test_alice_verifies_bob_by_writing_to_the_gateway(scene: Scene) -> None:
    desk = await opened(scene)
    try:
        await desk.send("verify bob")
        assert "nobody has compared its string" in (await desk.wait_messages(2))[1].body
        await compare_session(scene, desk)
        await desk.send("verify bob")
        assert "bob is asked" in (await desk.wait_messages(3))[2].body
        seen = await bob_sees(scene.bob)
        shown = (await desk.wait_messages(4))[3].body
        assert shown.splitlines()[1:8] == seen
        await desk.send("match 1")  # is about nothing that was shown
        assert "nothing of that number" in (await desk.wait_messages(5))[4].body
        number = re.findall(r"match (\d+)", shown)[0]
        await desk.send(f"match {number}")
        assert "Waiting for bob" in (await desk.wait_messages(6))[5].body
        await scene.bob.ask("verify_match")
        assert (await desk.wait_messages(7))[6].body == "bob is verified."
        await both_verified(scene)
    finally:
        await desk.stop()
    told = [line.encode() for line in (*seen, f"match {number}", "verify bob")]
    assert in_files(told, scene.lockgate.folder) == []


def inner(answer: str, name: str, namespace: str = FORM) -> list[Element]:
    """All elements of that name in an answer."""

    def below(element: Element) -> list[Element]:
        found = [element] if (element.namespace, element.name) == (namespace, name) else []
        return found + [each for child in element.elements for each in below(child)]

    return below(parse(answer.encode()))


def stage(session: str = "", **answers: str) -> str:
    """The next stage of the command."""
    fields = "".join(f'<field var="{name}"><value>{value}</value></field>' for name, value in answers.items())
    form = f'<x xmlns="{FORM}" type="submit">{fields}</x>' if answers else ""
    more = f' sessionid="{session}" action="next"' if session else ""
    return f'<command xmlns="{COMMANDS}" node="verify"{more}>{form}</command>'


async def test_alice_verifies_bob_by_commands(scene: Scene) -> None:
    desk = await opened(scene)
    try:
        await compare_session(scene, desk)
        answer = await desk.order(stage())
        session = parse(answer.encode()).attribute("sessionid") or ""
        assert [option.elements[0].text for option in inner(answer, "option")] == ["bob"]
        answer = await desk.order(stage(session, contact="bob"))
        session = parse(answer.encode()).attribute("sessionid") or ""
        seen = await bob_sees(scene.bob)
        async with asyncio.timeout(60):
            while not (fields := {f.attribute("var"): f for f in inner(answer, "field")}).keys() >= {"mark"}:
                answer = await desk.order(stage(session))
        assert [value.text for value in fields["shown"].elements] == seen
        mark = fields["mark"].elements[0].text
        answer = await desk.order(stage(session, mark=mark, decision="match"))
        assert "Waiting for bob" in answer
        await scene.bob.ask("verify_match")
        await both_verified(scene)
        answer = await desk.order(stage(session))
        assert parse(answer.encode()).attribute("status") == "completed"
        assert inner(answer, "note", COMMANDS)[0].text == "bob is verified."
    finally:
        await desk.stop()
