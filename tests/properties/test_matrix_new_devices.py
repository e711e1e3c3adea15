"""A contact who takes new devices, and lists of them that come late, not at all, or too old: nothing is lost."""

from collections.abc import Callable

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapters.matrix import inside_devices, names
from adapters.matrix.inside_state import Tracked
from tests.unit.late_world import parked
from tests.unit.matrix_world import ALICE, BOB, Machine, World, pair

ACTS = ("device", "write", "write", "hold", "keys", "release", "fail", "heal", "restart", "time", "settle")


def _joined(world: World, alice: Machine, devices: list[Machine], number: int) -> None:
    """Bob has another device, and wrote with it. What Alice was told may be older than the device is."""
    held, failing, keys_held = world.held, world.failing, world.to_device_held
    world.held, world.failing, world.to_device_held = set(), {}, False
    devices.append(world.join(BOB, f"DEVICE{number}", ALICE))
    world.tell_room()
    devices[-1].sends(f"text {number}")
    world.flush_to_device()
    world.settle()
    world.held, world.failing, world.to_device_held = held, failing, keys_held
    known = alice.step.records.get(f"user/{BOB}", Tracked)
    if known is not None and number % 2:
        shorter = tuple(device for device in known.devices if device.device_id != devices[-1].device)
        alice.step.records.put(f"user/{BOB}", Tracked(shorter, known=True, outdated=False))


def _keys_held(world: World) -> None:
    world.to_device_held = not world.to_device_held
    world.flush_to_device()


def _minute(alice: Machine) -> None:
    alice.step.now += 60_000
    alice.wakes(inside_devices.TIMER)


def _act(world: World, alice: Machine, devices: list[Machine], act: str, number: int) -> None:
    acts: dict[str, Callable[[], object]] = {
        "device": lambda: _joined(world, alice, devices, number),
        "write": lambda: devices[number % len(devices)].sends(f"text {number}"),
        "hold": lambda: world.held.add(names.KEYS_QUERY),
        "keys": lambda: _keys_held(world),
        "release": world.held.clear,
        "fail": lambda: world.failing.update({names.KEYS_QUERY: "unavailable"}),
        "heal": world.failing.clear,
        "restart": lambda: alice.starts(resumed=number % 2 == 0),
        "time": lambda: _minute(alice),
        "settle": world.settle,
    }
    acts[act]()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(ACTS), max_size=20))
@example(["settle", "device", "fail", "write", "settle"])
@example(["settle", "device", "fail", "settle", "write", "write", "settle"])
def test_what_a_new_device_writes_arrives_whatever_becomes_of_the_lists(acts: list[str]) -> None:
    world, alice, bob = pair()
    world.encryption = {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 1}  # each message needs its key
    world.tell_room()
    alice.sends("before")
    world.settle()
    devices = [bob]
    for number, act in enumerate(acts):
        _act(world, alice, devices, act, number)
    world.held, world.failing, world.to_device_held = set(), {}, False
    world.flush_to_device()
    world.settle()
    for _ in range(3):
        for machine in (alice, *devices):
            machine.step.now += 3_600_000
            machine.wakes(inside_devices.TIMER)
            world.settle()
        world.changed(BOB)
        world.settle()
    assert sorted(alice.texts()) == sorted(
        f"text {number}" for number, act in enumerate(acts) if act in ("device", "write")
    )
    assert parked(alice) == []
