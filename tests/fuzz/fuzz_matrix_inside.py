"""Fuzz target: whatever the gateway hands the Matrix half, no step raises and nothing hostile is delivered.

The first octet chooses the arrival or answer; the rest is its body. One pair of machines serves all inputs: their
records are put back after each.
"""

import sys
from collections.abc import Callable

from adapters.matrix import names
from tests.unit.fake_step import Carried
from tests.unit.matrix_world import World, pair

ARRIVALS = (names.EVENT, names.TO_DEVICE, names.KEYS, names.ROOM, names.DEVICE)
ANSWERS = (names.KEYS_UPLOAD, names.KEYS_QUERY, names.KEYS_CLAIM, names.ROOM_OBTAIN, names.SEND_TO_DEVICE)
ANSWERS_ALL = (*ANSWERS, names.ROOM_SEND)


def _waiting(request: str) -> World:
    """A pair whose Alice awaits the answer to such a request."""
    world, alice, _ = pair()
    world.held = {request}
    if request == names.ROOM_OBTAIN:
        alice.step.records.delete("room/@bob:two.example")
    if request == names.KEYS_UPLOAD:
        alice.step.now += 3_600_000
        alice.arrives(names.KEYS, {})
    alice.sends("secret")
    world.settle()
    return world


def _pending(world: World, request: str) -> Carried:
    return next(carried for _, carried in world.waiting if carried.request == request)


_WORLDS = {request: _waiting(request) for request in ANSWERS_ALL}
_TALKING, _ALICE, _ = pair()
_ALICE.sends("hello")
_TALKING.settle()


def _arrival(name: str) -> Callable[[bytes], None]:
    def act(body: bytes) -> None:
        held = dict(_ALICE.step.records.held)
        try:
            _ALICE.arrives(name, body)
            assert not _ALICE.step.deliveries, "nobody who can be believed wrote this"
        finally:
            _ALICE.step.records.held = held
            _ALICE.step.take()

    return act


def _answer(request: str) -> Callable[[bytes], None]:
    world = _WORLDS[request]
    alice, pending = next(item for item in world.waiting if item[1].request == request)

    def act(body: bytes) -> None:
        held = dict(alice.step.records.held)
        try:
            alice.answered(pending, body)
        finally:
            alice.step.records.held = held
            alice.step.take()

    return act


ACTS = [
    *(_arrival(name) for name in ARRIVALS),
    *(_answer(request) for request in ANSWERS_ALL),
    _arrival(names.SIGNAL),
    _arrival(names.LEFT_OUT),
]


def target(data: bytes) -> None:
    """Nothing may be raised, and nothing delivered."""
    if data:
        ACTS[data[0] % len(ACTS)](data[1:])


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
