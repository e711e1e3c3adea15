"""Two gateways under any schedule: delays, restarts with and without resuming, lost device lists, rotations.

Whatever happens in between, in the end every message has arrived once and in order, or its sender was told.
"""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.matrix import names
from adapters.matrix.inside_state import HOUR_MS
from tests.unit.matrix_world import ALICE, BOB, Machine, World, pair

ACTS = ("alice", "bob", "settle", "hold", "release", "restart", "resume", "changed", "time", "room", "repeat")
HELD = (names.KEYS_QUERY, names.KEYS_CLAIM, names.SEND_TO_DEVICE, names.ROOM_SEND, names.KEYS_UPLOAD)


def _act(world: World, machines: tuple[Machine, Machine], act: str, number: int) -> None:
    alice, bob = machines
    machine = machines[number % 2]
    if act in ("alice", "bob"):
        (alice if act == "alice" else bob).sends(f"{act} {number}", f"{act}{number}")
    elif act == "settle":
        world.settle()
    elif act == "hold":
        world.held = {HELD[number % len(HELD)]}
    elif act == "release":
        world.held = set()
    elif act in ("restart", "resume"):
        machine.starts(resumed=act == "resume")
    elif act == "changed":
        world.changed((ALICE, BOB)[number % 2])
    elif act == "time":
        machine.step.now += HOUR_MS * (1 + number)
    elif act == "room":
        world.encryption = {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 1 + number % 4}
        world.tell_room()
    elif world.timeline:
        world.show(world.timeline[number % len(world.timeline)])


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(ACTS), max_size=40))
def test_every_message_arrives_once_and_in_order(acts: list[str]) -> None:
    world, alice, bob = pair()
    for number, act in enumerate(acts):
        _act(world, (alice, bob), act, number)
    world.held = set()
    world.settle()
    for machine in (alice, bob):
        machine.wakes("keys")
        machine.wakes("query")
    world.settle()
    for sender, receiver, name in ((alice, bob, "alice"), (bob, alice, "bob")):
        sent = [f"{name} {number}" for number, act in enumerate(acts) if act == name]
        assert receiver.texts() == sent
        assert [message for _, message in sender.step.done] == [text.replace(" ", "") for text in sent]
        assert not sender.step.failures
        assert not [key for key in receiver.step.records.held if key.startswith(("parked/", "queue/", "sent/"))]
