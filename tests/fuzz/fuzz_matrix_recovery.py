"""Fuzz target: whatever the homeserver gives as secret storage, no step raises and no identity of its making is taken.

The first octet chooses what is being answered: the name of the default key, or one of the entries fetched with it. The
others are as an honest client left them. The rest is the answer's body.
"""

import sys
from typing import cast

from adapters.matrix import names
from adapters.matrix.inside_identity import state_of
from bridge.wire.values import Opaque
from crypto.olm.backup import SECRET
from crypto.olm.identity import MASTER, USAGES
from crypto.olm.storage import DEFAULT_KEY, KEY_PREFIX
from tests.unit.fake_step import Carried
from tests.unit.matrix_world import ALICE, Machine, World
from tests.unit.test_matrix_recovery import THEIRS, WRITTEN, begin, elsewhere

KINDS = (DEFAULT_KEY, KEY_PREFIX + "k1", *(f"m.cross_signing.{usage}" for usage in USAGES))
KNOWN = (*KINDS, SECRET)


def _waiting(secret: str) -> tuple[World, Machine]:
    world, alice = elsewhere()
    world.held = {names.ACCOUNT_DATA_GET}
    begin(alice, secret)
    world.settle()
    return world, alice


_WORLDS = [_waiting(secret) for secret in (WRITTEN, "a phrase")]


def _kind(carried: Carried) -> str:
    return cast(Opaque, carried.values["type"]).v


def _answer(world: World, alice: Machine, chosen: str, body: bytes) -> None:
    pending = [carried for _, carried in world.waiting if carried.request == names.ACCOUNT_DATA_GET]
    while pending:
        for carried in pending:
            honest = world.account_data.get((ALICE, _kind(carried)))
            if _kind(carried) == chosen:
                alice.answered(carried, body)
            else:
                alice.answered(carried, honest or {}, "ok" if honest is not None else names.NOT_FOUND)
        fresh = [carried for carried in alice.step.take() if carried.request == names.ACCOUNT_DATA_GET]
        pending = [carried for carried in fresh if _kind(carried) in KNOWN]


def target(data: bytes) -> None:
    """Nothing may be raised, and no other identity adopted than the one that everybody sees."""
    if not data:
        return
    world, alice = _WORLDS[data[0] // len(KINDS) % len(_WORLDS)]
    held = dict(alice.step.records.held)
    try:
        _answer(world, alice, KINDS[data[0] % len(KINDS)], data[1:])
        own = state_of(alice.step).own
        assert own is None or own.public(MASTER) == THEIRS.public(MASTER)
    finally:
        alice.step.records.held = held
        alice.step.take()


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
