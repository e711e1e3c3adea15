"""Verification by emoji with matrix-js-sdk on a real Synapse: both roles, in a room and from device to device."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
import pytest_asyncio

from adapters.inside_api import Shown
from adapters.matrix.inside_identity import shown_recovery_key, state_of
from adapters.matrix.inside_peers import Pin, pin_of
from adapters.matrix.inside_talks import START_AFTER_MS, TIMER
from adapters.matrix.sentences import EMOJI
from crypto.olm.verification import Limits
from rig.bob.client import Bob
from rig.lines import ClientFailed
from rig.synapse import MatrixAccount, Synapse
from tests.conftest import BobFactory
from tests.interop.matrix_gateway import MatrixGateway, until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

READY, CANCELLED = 3, 5


@dataclass
class Pair:
    """Alice's gateway and Bob's client, who have a room with each other."""

    gateway: MatrixGateway
    bob: Bob
    alice: MatrixAccount
    room: str

    def act(self, action: str, compared: str | None = None) -> str:
        """What the person at our end does; returns the code."""
        step, codes = self.gateway.step, list[str]()
        step.now = int(time.time() * 1000)
        contact = step.account.contacts[0]
        self.gateway.commit(lambda: codes.append(self.gateway.inside.verification(step, contact, action, compared)[0]))
        return codes[0]

    def shown(self) -> Shown:
        """What the person at our end sees."""
        step = self.gateway.step
        return self.gateway.inside.verification(step, step.account.contacts[0], "show", None)[1]

    async def comparing(self) -> str:
        """Once both ends show the emoji: they are the same. Returns the numbers that our end shows."""
        await until(lambda: self.shown().state == "comparing")
        sas = await self.bob.wait_for(lambda event: event.get("event") == "sas", timeout_s=30, what="the emoji")
        ours = self.shown()
        assert [list(EMOJI[number]) for number in ours.emoji] == sas["emoji"]
        assert list(ours.decimal) == sas["decimal"]
        return " ".join(str(number) for number in ours.decimal)

    def pin(self) -> Pin:
        """What Bob is known by."""
        pin = pin_of(self.gateway.step.records, self.gateway.step.account.contacts[0].address)
        assert pin is not None
        return pin

    def time_passes(self, passed_ms: int) -> None:
        """So much later something may be due."""
        step = self.gateway.step
        step.now = int(time.time() * 1000) + passed_ms
        self.gateway.commit(lambda: self.gateway.inside.woken(step, TIMER))

    async def state(self, state: str) -> None:
        """Return once our end is in that state."""
        await until(lambda: self.shown().state == state)

    async def bob_asked(self) -> None:
        """Return once Bob's client shows our request."""
        await self.bob.wait_for(
            lambda event: event.get("event") == "verification_request", timeout_s=30, what="our request"
        )

    async def bob_is_in(self, phase: int) -> dict[str, object]:
        """Once Bob's client shows that phase: what it shows (matrix-js-sdk's `VerificationPhase`)."""
        return await self.bob.wait_for(
            lambda event: event.get("event") == "verification" and event["phase"] == phase,
            timeout_s=30,
            what=f"phase {phase}",
        )

    async def bob_knows_us(self, how: str, *, is_so: bool = True) -> None:
        """Return once Bob's client says so of our identity (`verified`, `was_verified`)."""
        async with asyncio.timeout(20):
            while (await self.bob.ask("identity", user=self.alice.user_id))[how] is not is_so:  # noqa: ASYNC110
                await asyncio.sleep(0.2)

    async def both_end_verified(self) -> None:
        """Both agree, and each has the other's identity as verified."""
        await self.bob.wait_for(lambda event: event.get("event") == "verified", timeout_s=30, what="the end")
        await self.state("finished")
        await self.bob_knows_us("verified")
        assert self.pin().verified
        await until(lambda: "identity-vouched" in self.gateway.step.codes())


@pytest_asyncio.fixture
async def pair(synapse: Synapse, unique: Callable[[str], str], bob_factory: BobFactory) -> AsyncIterator[Pair]:
    """Alice and Bob, strict, after a first message."""
    alice, account = synapse.account(unique("alice")), synapse.account(unique("bob"))
    bob = await bob_factory(account, strict=True)
    gateway = MatrixGateway(alice.user_id, (account.user_id,), synapse.url, {"password": alice.password})
    gateway.step.now = int(time.time() * 1000)
    try:
        await gateway.start()
        await until(lambda: state_of(gateway.step).stored)
        gateway.send("hello", "a0")
        await bob.wait_messages(1)
        yield Pair(gateway, bob, alice, await bob.joined_room(inviter=alice.user_id))
    finally:
        await gateway.stop()


async def test_we_ask_in_the_room_and_both_see_the_same_emoji(pair: Pair) -> None:
    assert pair.act("begin") == "ok"
    await pair.bob_asked()
    assert pair.shown().way == "room"
    await pair.bob.ask("verify_accept")
    compared = await pair.comparing()
    assert pair.act("match", compared) == "ok"
    await pair.bob.ask("verify_match")
    await pair.both_end_verified()


async def test_bob_asks_in_the_room_and_starts(pair: Pair) -> None:
    await pair.bob.ask("verify_ask", user=pair.alice.user_id, room=pair.room)
    await pair.state("asked")
    assert pair.act("begin") == "ok"
    await pair.bob_is_in(READY)
    await pair.bob.ask("verify_start")
    compared = await pair.comparing()
    await pair.bob.ask("verify_match")
    assert pair.act("match", compared) == "ok"
    await pair.both_end_verified()


async def test_bob_asks_in_the_room_and_we_start_when_he_does_not(pair: Pair) -> None:
    await pair.bob.ask("verify_ask", user=pair.alice.user_id, room=pair.room)
    await pair.state("asked")
    assert pair.act("begin") == "ok"
    await pair.bob_is_in(READY)
    pair.time_passes(START_AFTER_MS)
    compared = await pair.comparing()
    await pair.bob.ask("verify_match")
    assert pair.act("match", compared) == "ok"
    await pair.both_end_verified()


async def test_we_ask_from_device_to_device(pair: Pair) -> None:
    assert pair.act("begin-to-device") == "ok"
    await pair.bob_asked()
    assert pair.shown().way == "to-device"
    await pair.bob.ask("verify_accept")
    compared = await pair.comparing()
    assert pair.act("match", compared) == "ok"
    await pair.bob.ask("verify_match")
    await pair.both_end_verified()


async def test_bob_asks_from_device_to_device(pair: Pair) -> None:
    await pair.bob.ask("verify_ask", user=pair.alice.user_id, device=pair.gateway.marks["device"])
    await pair.state("asked")
    assert pair.shown().way == "to-device"
    assert pair.act("begin") == "ok"
    await pair.bob_is_in(READY)
    await pair.bob.ask("verify_start")
    compared = await pair.comparing()
    assert pair.act("match", compared) == "ok"
    await pair.bob.ask("verify_match")
    await pair.both_end_verified()


@pytest.mark.parametrize("who", ["we", "Bob"])
async def test_it_ends_at_both_ends_when_one_sees_other_emoji(pair: Pair, who: str) -> None:
    assert pair.act("begin") == "ok"
    await pair.bob_asked()
    await pair.bob.ask("verify_accept")
    compared = await pair.comparing()
    if who == "we":
        assert pair.act("differ", compared) == "ok"
        assert (await pair.bob_is_in(CANCELLED))["code"] == "m.mismatched_sas"
    else:
        await pair.bob.ask("verify_differ")
    await pair.state("cancelled")
    assert pair.shown().code == "mismatched-sas"
    assert pair.shown().by_us is (who == "we")
    assert not pair.pin().verified
    assert (await pair.bob.ask("identity", user=pair.alice.user_id))["verified"] is False


async def test_what_takes_too_long_ends_at_both_ends(pair: Pair) -> None:
    assert pair.act("begin") == "ok"
    await pair.bob_asked()
    await pair.bob.ask("verify_accept")
    await pair.comparing()
    pair.time_passes(Limits().whole_ms)
    assert pair.shown().code == "timeout"
    assert (await pair.bob_is_in(CANCELLED))["code"] == "m.timeout"


async def test_bobs_refusal_ends_it(pair: Pair) -> None:
    assert pair.act("begin") == "ok"
    await pair.bob_asked()
    await pair.bob.ask("verify_cancel")
    await pair.state("cancelled")
    assert pair.shown() == Shown("cancelled", "room", code="user")


async def test_afterwards_messages_pass_and_a_reset_of_our_identity_stops_them(
    pair: Pair, bob_factory: BobFactory
) -> None:
    assert pair.act("begin") == "ok"
    await pair.bob_asked()
    await pair.bob.ask("verify_accept")
    compared = await pair.comparing()
    await pair.bob.ask("verify_match")
    assert pair.act("match", compared) == "ok"
    await pair.both_end_verified()
    pair.gateway.send("verified", "a1")
    seen = await pair.bob.wait_messages(2)
    assert [(message.body, message.shield) for message in seen] == [("hello", "none"), ("verified", "none")]
    await pair.bob.send(pair.room, "from Bob")
    await until(lambda: pair.gateway.texts == ["from Bob"])
    other = await bob_factory(pair.alice, cross_sign=False)
    recovery_key = shown_recovery_key(pair.gateway.step)
    await other.ask("bootstrap_cross_signing", reset=True, recovery_key=recovery_key)
    await pair.bob_knows_us("verified", is_so=False)
    await pair.bob_knows_us("was_verified")
    with pytest.raises(ClientFailed):
        await pair.bob.send(pair.room, "to nobody")
