"""Content between the Matrix adapter and matrix-js-sdk on a real Synapse: what Element's engine makes of it."""

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from adapters.matrix import names
from crypto.content import Mark, Reaction, Reply, Style
from crypto.message import Availability, Message, Presence, Profile, Read, Signal, Typing
from rig.bob.client import Bob
from rig.synapse import Synapse
from tests.conftest import BobFactory
from tests.interop.matrix_gateway import MatrixGateway, until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]
UP, HEART = "👍", "❤️"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Scene:
    """Alice's gateway and strict Bob in one room, after a message each way (`a0`, and `first`)."""

    def __init__(self, gateway: MatrixGateway, bob: Bob, room: str, first: str) -> None:
        self.gateway, self.bob, self.room, self.first = gateway, bob, room, first

    def give(self, message: Message) -> None:
        """A message of the other network."""
        contact = self.gateway.step.account.contacts[0]
        self.gateway.commit(lambda: self.gateway.inside.to_network(self.gateway.step, contact, message))

    def signal(self, signal: Signal) -> None:
        """A signal of the other network."""
        contact = self.gateway.step.account.contacts[0]
        self.gateway.commit(lambda: self.gateway.inside.signalled(self.gateway.step, contact, signal))

    async def seen(self, kind: str, **wanted: Any) -> dict[str, Any]:
        """An event that Bob's client tells of."""
        return await self.bob.wait_for(
            lambda event: (
                event.get("event") == kind and all(event.get(name) == value for name, value in wanted.items())
            ),
            timeout_s=30,
            what=f"{kind} {wanted}",
        )

    async def delivered(self, count: int) -> Message:
        """The message of that number, counted from 1."""
        await until(lambda: len(self.gateway.step.deliveries) >= count)
        return self.gateway.step.deliveries[count - 1][1]


async def scene(
    synapse: Synapse,
    unique: Callable[[str], str],
    gateways: list[MatrixGateway],
    bob_factory: BobFactory,
    **policy: str,
) -> Scene:
    """The scene, with this policy for the contact."""
    alice, account = synapse.account(unique("alice")), synapse.account(unique("bob"))
    bob = await bob_factory(account, strict=True)
    one = MatrixGateway(alice.user_id, (account.user_id,), synapse.url, {"password": alice.password})
    told = {f"content-{name}": value for name, value in policy.items()}
    contacts = tuple(replace(contact, options=told) for contact in one.step.account.contacts)
    one.step.account = replace(one.step.account, contacts=contacts)
    gateways.append(one)
    await one.start()
    one.send("hello", "a0")
    (first,) = await bob.wait_messages(1)
    room = await bob.joined_room(inviter=alice.user_id)
    made = Scene(one, bob, room, first.event_id)
    await bob.send(room, "hello back")
    await made.delivered(1)
    return made


async def test_formats_edits_answers_reactions_and_retractions_pass_both_ways(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    at = await scene(synapse, unique, gateways, bob_factory, reactions="yes")
    # ------------------------------------------------------------ to Bob
    at.give(Message("a1", "bold", marks=(Mark(0, 4, Style.STRONG),)))
    at.give(Message("a2", "bolder", replaces="a1"))
    at.give(Message("a3", "indeed", reply=Reply("a1")))
    told = await at.seen("message", body="bold")
    assert told["content"]["formatted_body"] == "<strong>bold</strong>"
    edit = await at.seen("message", body="* bolder")
    assert edit["relation"] == {"rel_type": "m.replace", "event_id": told["event_id"]}
    assert edit["content"]["m.new_content"]["body"] == "bolder"
    assert edit["encrypted"]
    assert edit["shield"]["colour"] == "none"
    assert (await at.seen("message", body="indeed"))["reply_to"] == told["event_id"]
    at.give(Message("a4", "", reaction=Reaction(at.gateway.step.deliveries[0][1].id, (UP,))))
    shown = await at.seen("reaction")
    assert shown["relation"]["key"] == UP
    at.give(Message("a5", "", reaction=Reaction(at.gateway.step.deliveries[0][1].id)))
    await at.seen("redacted", event_id=shown["event_id"])
    at.give(Message("a6", "", retracts="a1"))
    await at.seen("redacted", event_id=told["event_id"])
    # ------------------------------------------------------------ from Bob
    html = "<em>x</em> <a href='https://x.example/'>y</a>"
    formatted = {"format": "org.matrix.custom.html", "formatted_body": html}
    sent = await at.bob.ask("send", room=at.room, body="*x* y", content=formatted)
    message = await at.delivered(2)
    assert (message.body, message.marks) == (
        "x y",
        (Mark(0, 1, Style.EMPHASIS), Mark(2, 3, Style.LINK, "https://x.example/")),
    )
    await at.bob.ask("edit", room=at.room, event_id=sent["event_id"], body="z")
    message = await at.delivered(3)
    assert (message.body, message.replaces) == ("z", sent["event_id"])
    await at.bob.ask("reply", room=at.room, event_id=at.first, body="hi")
    assert (await at.delivered(4)).reply == Reply("a0", by_user=True)
    reaction = await at.bob.ask("react", room=at.room, event_id=at.first, key=HEART)
    assert (await at.delivered(5)).reaction == Reaction("a0", (HEART,))
    await at.bob.ask("redact", room=at.room, event_id=reaction["event_id"])
    assert (await at.delivered(6)).reaction == Reaction("a0", ())
    await at.bob.ask("redact", room=at.room, event_id=sent["event_id"])
    assert (await at.delivered(7)).retracts == sent["event_id"]
    assert not at.gateway.step.failures
    assert not at.bob.undecryptable


async def test_receipts_writing_polls_and_profiles_are_told(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    at = await scene(synapse, unique, gateways, bob_factory, typing="yes", presence="yes")
    await at.bob.ask("read", room=at.room, event_id=at.first)
    await until(lambda: ("bob", Read("a0")) in [(name[:3], one) for name, one in at.gateway.step.signals])
    first = at.gateway.step.deliveries[0][1].id
    at.signal(Read(first))
    await at.seen("receipt", event_id=first, user=at.gateway.user)
    at.signal(Typing(True))
    await at.seen("typing", user=at.gateway.user, on=True)
    at.signal(Presence(Availability.AVAILABLE, "not told"))
    status = f"/_matrix/client/v3/presence/{at.gateway.user}/status"
    await until(lambda: synapse.call("GET", status, token=at.bob.token)["presence"] == "online")
    assert "status_msg" not in synapse.call("GET", status, token=at.bob.token)
    poll = await at.bob.ask("poll", room=at.room, question="Lunch?", answers=["Soup", "Pizza"])
    assert (await at.delivered(2)).body == "Poll: Lunch?\nSoup\nPizza"
    await at.bob.ask("vote", room=at.room, event_id=poll["event_id"], answers=poll["answers"][1:])
    vote = await at.delivered(3)
    assert (vote.body, vote.reply) == ("Voted: Pizza", Reply(poll["event_id"], by_user=False))
    await at.bob.ask("profile", name="Bob the Builder", picture=base64.b64encode(PIXEL).decode())
    await until(lambda: any(isinstance(one, Profile) and one.picture for _, one in at.gateway.step.signals))
    shown = [one for _, one in at.gateway.step.signals if isinstance(one, Profile)][-1]
    assert (shown.name, shown.media_type) == ("Bob the Builder", "image/png")


async def test_without_the_switch_reactions_are_words_and_what_the_homeserver_sees_tells_nothing(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    at = await scene(synapse, unique, gateways, bob_factory)
    at.give(Message("a1", "", reaction=Reaction(at.gateway.step.deliveries[0][1].id, (UP,))))
    told = await at.seen("message", body=f"reacted {UP}")
    assert (told["msgtype"], told["encrypted"]) == ("m.notice", True)
    assert told["reply_to"] == at.gateway.step.deliveries[0][1].id
    await at.bob.ask("react", room=at.room, event_id=at.first, key=HEART)
    await until(lambda: bool(at.gateway.step.notices))
    assert [code for _, code in at.gateway.step.notices] == [names.TOLD_REACTIONS_IGNORED]
    assert len(at.gateway.step.deliveries) == 1
