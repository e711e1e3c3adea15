"""Whatever is lost, restarted or rolled back while a file passes: it arrives once, whole, and no key is used twice."""

from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.content import PART_OCTETS
from crypto.files.streams import Method, Sealer
from tests.unit.file_relay import Relay, content_of, sealed_for

ACTIONS = st.lists(
    st.sampled_from(
        ["step"] * 4 + ["restart", "restarted", "giver-lost", "taker-lost", "spool-lost", "roll-back", "raised"]
    ),
    max_size=40,
)


class Watched(Sealer):
    """Notes the key of every file that is begun, and what was encrypted where in its stream."""

    keys: list[bytes]

    def __init__(self, method: Method, key: bytes, iv: bytes) -> None:
        super().__init__(method, key, iv)
        assert key not in self.keys, "a key is used for a second file"
        self.keys.append(key)


@settings(max_examples=60)
@given(ACTIONS, st.integers(0, 6 * PART_OCTETS), st.sampled_from([Method.CTR, Method.GCM]))
def test_a_file_arrives_once_and_whole(actions: list[str], size: int, goes: Method) -> None:
    came = Method.GCM if goes is Method.CTR else Method.CTR
    served, lock = sealed_for(came, content_of(size))
    Watched.keys = []
    with mock.patch("crypto.transfers.taking.Sealer", Watched):
        world = Relay(served, lock, method=goes)
        world.send()
        held: list[tuple[dict[str, Any], dict[str, Any]]] = []
        for action in actions:
            if world.uploads:
                break
            held.append((dict(world.giving.records.held), dict(world.taking.records.held)))
            _act(world, action, held)
        world.restart()  # whatever stood still goes on after the next start at the latest
        world.started()
        world.run()
    assert len(world.uploads) == 1
    assert world.arrived() == content_of(size)
    assert world.taking.failures == []
    assert not any(name.startswith("taking/") for name in world.taking.records.held)


def _act(world: Relay, action: str, held: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    if action == "step":
        world.step()
    elif action in ("restart", "restarted"):
        world.restart()
        if action == "restarted":
            world.started()
    elif action == "giver-lost":
        world.giver = type(world.giver)("file-fetch", "file-forget")
    elif action == "taker-lost":
        giver = world.giver
        world.restart()
        world.giver = giver
    elif action == "spool-lost":
        world.kept.clear()
    elif action == "raised" and len(held) > 1:  # the last step came to nothing, though its ciphers were used
        world.giving.records.held, world.taking.records.held = (dict(records) for records in held[-2])
    else:
        giving, taking = held[len(held) // 2]
        world.giving.records.held, world.taking.records.held = dict(giving), dict(taking)
        world.started()
