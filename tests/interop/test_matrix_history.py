"""What was written while the gateway was away: all of it, in order, once, and told when it is too much."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from adapters.matrix import outside_history
from adapters.matrix.outside import MatrixOutside
from adapters.matrix.outside_history import Place
from rig.bob.client import Bob
from rig.synapse import Synapse
from tests.conftest import BobFactory
from tests.interop.matrix_gateway import MatrixGateway, talking, until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]


async def both_talking(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> tuple[MatrixGateway, Bob, str]:
    """A gateway and Bob in a room, one message each way."""
    one, bob, room = await talking(synapse, unique, gateways, bob_factory)
    await bob.send(room, "hello")
    await until(lambda: one.texts == ["hello"])
    return one, bob, room


async def back(gateway: MatrixGateway, **settings: str) -> None:
    """The gateway is started again."""
    gateway.outside = MatrixOutside({"homeserver": gateway.url, **settings})
    await gateway.start(resumed=False)


async def test_three_hundred_messages_arrive_in_order_and_once_though_catching_up_is_cut_off(
    synapse: Synapse,
    unique: Callable[[str], str],
    gateways: list[MatrixGateway],
    bob_factory: BobFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, bob, room = await both_talking(synapse, unique, gateways, bob_factory)
    await one.stop()
    texts = [f"while away {number}" for number in range(300)]
    for text in texts:
        await bob.send(room, text)
    page, pages = outside_history._page, [0]

    async def cut_off(*of: object) -> object:
        pages[0] += 1
        if pages[0] == 4:
            await asyncio.Event().wait()
        return await page(*of)  # type: ignore[arg-type]

    monkeypatch.setattr(outside_history, "_page", cut_off)
    await back(one)
    await until(lambda: pages[0] == 4)
    await one.stop()
    assert one.texts == ["hello"]
    await back(one)
    await until(lambda: len(one.texts) > 300, 60)
    await bob.send(room, "and now")
    await until(lambda: one.texts[-1] == "and now")
    assert one.texts == ["hello", *texts, "and now"]
    assert "event-repeated" not in one.step.codes()
    assert not one.step.notices


async def test_what_lies_beyond_the_bound_is_left_out_and_the_user_is_told(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    one, bob, room = await both_talking(synapse, unique, gateways, bob_factory)
    await one.stop()
    texts = [f"while away {number}" for number in range(90)]
    for text in texts:
        await bob.send(room, text)
    await back(one, history_messages="20")
    await until(lambda: one.texts[-1] == texts[-1])
    assert one.texts == ["hello", *texts[20:]]  # the last fifty come with the sync, twenty are fetched
    assert one.step.notices == [("bob" + bob.user_id[4:].partition(":")[0], "history-left-out")]
    assert "history-left-out" in one.step.codes()


async def test_a_place_that_the_server_does_not_know_loses_nothing(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    one, bob, room = await both_talking(synapse, unique, gateways, bob_factory)
    await one.stop()
    place = Place.decoded(one.marks["since"])
    one.marks["since"] = msgspec.structs.replace(place, since="no-such-place").encoded()
    for number in range(60):
        await bob.send(room, f"meanwhile {number}")
    await back(one)
    await until(lambda: len(one.texts) == 61)
    await bob.send(room, "and now")
    await until(lambda: one.texts[-1] == "and now")
    assert one.texts == ["hello", *(f"meanwhile {number}" for number in range(60)), "and now"]
