"""Requests that may have been carried out before: the gateway ended, or the stream broke, before it was known."""

import asyncio
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import cast

import pytest

from adapters.outside_api import Outcome, Repeated
from adapters.xmpp.names import OMEMO, OMEMO_ASIDE, address_of
from adapters.xmpp.outside import XmppOutside
from adapters.xmpp.outside_component import Link
from bridge.wire.link import Carry
from bridge.wire.values import Code, Opaque, Sealed, Values
from tests.unit.ledger_parts import carry
from tests.unit.test_edge import Bench, Half

BODY = "{jabber:client}body"


# ---------------------------------------------------------------- from the ledger to the outside half
async def test_what_the_ledger_held_at_the_start_may_have_been_carried_before_and_nothing_else(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "ledger.db")
    seen: dict[str, bool] = {}
    half = Half(pipelined=True)

    def answer(request: Carry) -> Outcome:
        seen[request.key] = isinstance(request, Repeated)
        assert dict(request) == dict(carry(request.key))
        return Outcome()

    half.answer = answer
    await bench.commit(carry("old1"), carry("old2"), release=False)
    bench.edges.open([half], [])
    await bench.commit(carry("new1"), carry("new2"))
    await bench.until(lambda: bench.edges.idle)
    assert seen == {"old1": True, "old2": True, "new1": False, "new2": False}
    await bench.edges.close()
    await bench.ledger.close()


# ---------------------------------------------------------------- from the outside half to the clients
class Stream:
    """A link whose confirmations the test gives."""

    def __init__(self) -> None:
        self.up = True
        self.confirms = True
        self.written: list[bytes] = []

    async def write_confirmed(self, octets: bytes) -> bool:
        """Keep what is written."""
        self.written.append(octets)
        return self.confirms


def request(name: str, key: str = "k1") -> Carry:
    values: Values = {
        "from": address_of("bob@m.x/lockgate"),
        "to": address_of("alice@x"),
        "id": Opaque(v="i1"),
        "form": Code(v="axolotl"),
        "content": Sealed(v=b"<encrypted xmlns='eu.siacs.conversations.axolotl'/>"),
    }
    return Carry(key=key, network="xmpp", request=name, lane="bob", values=values)


def half_on(stream: Stream) -> XmppOutside:
    half = XmppOutside(jid="m.x", host="127.0.0.1", port=1, secret="unused")
    half._link = cast("Link", stream)
    return half


def has_sentence(octets: bytes) -> bool:
    """Whether clients that do not open it show something."""
    stanza = ET.fromstring(b"<s xmlns='jabber:client'>" + octets + b"</s>")
    assert stanza.find(".//{eu.siacs.conversations.axolotl}encrypted") is not None
    return stanza.find(f".//{BODY}") is not None


@pytest.mark.parametrize("name", [OMEMO, OMEMO_ASIDE])
def test_a_message_that_may_be_there_already_has_no_sentence_beside_it(name: str) -> None:
    stream = Stream()
    half = half_on(stream)
    first = request(name)
    asyncio.run(half.carry("alice", first))
    asyncio.run(half.carry("alice", Repeated.model_construct(**dict(first))))
    assert [has_sentence(octets) for octets in stream.written] == [True, False]


def test_a_message_that_was_written_when_the_stream_broke_has_no_sentence_the_second_time() -> None:
    stream = Stream()
    half = half_on(stream)
    stream.up = False
    assert asyncio.run(half.carry("alice", request(OMEMO))).retry
    assert stream.written == []
    stream.up, stream.confirms = True, False
    assert asyncio.run(half.carry("alice", request(OMEMO))).retry
    stream.confirms = True
    assert asyncio.run(half.carry("alice", request(OMEMO))) == Outcome()
    assert asyncio.run(half.carry("alice", request(OMEMO, "k2"))) == Outcome()
    assert [has_sentence(octets) for octets in stream.written] == [True, False, True]
