"""The re-keying vectors, derived from the text of XEP-0200 by a script that shares no code with `crypto/`."""

import json
from itertools import count
from typing import Any

import pytest

from crypto.esession.keys import Role
from crypto.esession.profiles import Profile
from crypto.esession.rekeying_state import Rekeying, RekeyPolicy
from crypto.esession.retained import Chain
from crypto.esession.session import Agreed, ReceivingDirection, SendingDirection, Session
from crypto.esession.suite import Suite
from crypto.xml import parse_content
from tests.unit.rekeying_world import Side
from tests.vectors import derive_esession_rekey
from tests.vectors.esession import FOLDER

NAMES = sorted(path.stem for path in (FOLDER / "esession-rekey").glob("*.json"))
POLICY = RekeyPolicy(stanzas=1)


def vector(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "esession-rekey" / f"{name}.json").read_text("utf-8"))
    return found


def test_the_files_are_what_the_script_derives() -> None:
    derived = derive_esession_rekey.all_vectors()
    assert sorted(v["name"] for v in derived) == NAMES
    for each in derived:
        assert json.loads(json.dumps(each)) == vector(each["name"])


class Scripted(Side):
    """An end that draws what the vector says."""

    next_draw = b""

    def draw(self, name: str, size: int) -> bytes:
        assert name == "esession-rekey"
        assert len(self.next_draw) == size
        return self.next_draw


def end(data: dict[str, Any], who: str) -> Scripted:
    suite = Suite(data["cipher"], data["hash"], data["group"])
    mixed = bytes.fromhex(data["mixed"]) if data["mixed"] else None
    own, peer = (data["start"][name] for name in (who, "b" if who == "a" else "a"))
    rekeying = Rekeying.begin(bytes.fromhex(own["secret"]), bytes.fromhex(peer["public"]), frequency=1, mixed=mixed)
    agreed = Agreed(
        Role.INITIATOR, Profile.LETTER, "aaaaa", Chain.FIRST, False, "may", "never", b"", b"", None, suite, rekey_freq=1
    )
    kc, km, counter = (bytes.fromhex(own[key]) for key in ("kc", "km", "counter"))
    peer_kc, peer_km, peer_counter = (bytes.fromhex(peer[key]) for key in ("kc", "km", "counter"))
    ways = SendingDirection(kc, km, counter), ReceivingDirection(peer_kc, peer_km, peer_counter, 0, False)
    return Scripted(who, Session(agreed, *ways, rekeying=rekeying))


def send(side: Scripted, step: dict[str, Any]) -> bytes:
    """Send as the step says."""
    if step["draw"]:
        side.next_draw = bytes.fromhex(step["draw"])
    way = side.session.sending
    assert (way.cipher_key.hex(), way.mac_key.hex(), way.counter.hex()) == (step["kc"], step["km"], step["counter"])
    if step["content"] is None:
        return side.send_empty(key=step["draw"] is not None)
    return side.send_raw(step["content"].encode(), key=step["draw"] is not None)


@pytest.mark.parametrize("name", NAMES)
def test_a_schedule_is_sealed_and_opened_as_derived(name: str) -> None:
    data = vector(name)
    sides = {who: end(data, who) for who in "ab"}
    for number, step in zip(count(), data["steps"], strict=False):
        side, other = sides[step["who"]], sides["b" if step["who"] == "a" else "a"]
        if step["do"] == "send":
            assert send(side, step).decode() == step["c"], number
        else:
            before = len(side.read)
            side.take_from(other, 1)
            expected = parse_content((step["content"] or "").encode())
            assert side.read[before:] == [e.text for e in expected]
        assert len(side.state.newer) + 1 == step["sets"]


def test_the_vectors_hold_what_they_are_there_for() -> None:
    texts = {name: json.dumps(vector(name)) for name in NAMES}
    assert all("<key>" in text and "<new>" in text for text in texts.values())
    assert "<new>2</new>" in texts["several-outstanding"]
    assert "<old>" in texts["both-ends"]
    assert max(step["sets"] for step in vector("several-outstanding")["steps"]) == 4
