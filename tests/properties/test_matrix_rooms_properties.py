"""Whatever is told of rooms, in whatever order: nothing goes into one that is unfit, and nothing arrives twice."""

import json
from typing import Any, cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.matrix import inside_rooms, names
from adapters.matrix.inside_rooms import SEEK_AGAIN_MS
from bridge.wire.values import Address
from tests.unit.matrix_world import ALICE, BOB, CAROL, World, pair

ROOMS = ("!Room:one.example", "!room:one.example", "!" + "V" * 43, "!fourth:two.example")
"""The first two differ by case only."""
MEMBERSHIPS = st.sampled_from(["join", "invite", "leave", "knock", "ban", "odd", None])
ENCRYPTIONS = st.sampled_from(
    [None, {}, {"algorithm": "m.olm.v1"}, {"algorithm": 7}]
    + [{"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": count} for count in (100, 2, 0, "x")]
)
ANYTHING = st.fixed_dictionaries(
    {
        "room_id": st.sampled_from(ROOMS),
        "encryption": ENCRYPTIONS,
        "members": st.fixed_dictionaries({ALICE: MEMBERSHIPS, BOB: MEMBERSHIPS}, optional={CAROL: MEMBERSHIPS}),
    },
    optional={
        "history_visibility": st.sampled_from(["joined", "invited", "shared", "world_readable", None, 3]),
        "replaced": st.sampled_from([True, False, None, "yes"]),
    },
)
BOTH = {ALICE: "join", BOB: "join"}
FAULTS: list[dict[str, Any]] = [
    {},
    {"replaced": True},
    {"encryption": None},
    {"history_visibility": "world_readable"},
    {"members": {**BOTH, CAROL: "invite"}},
    {"members": {**BOTH, BOB: "leave"}},
    {"members": {**BOTH, ALICE: "leave"}},
]
"""Each is enough."""
NEARLY_FIT = st.builds(
    lambda room, fault: {
        "room_id": room,
        "encryption": {"algorithm": "m.megolm.v1.aes-sha2"},
        "members": BOTH,
        **fault,
    },
    st.sampled_from(ROOMS[:2]),
    st.sampled_from(FAULTS),
)
TOLD = st.one_of(NEARLY_FIT, NEARLY_FIT, ANYTHING)
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("told"), TOLD),
        st.tuples(st.just("told"), NEARLY_FIT),
        st.tuples(st.just("sends"), st.none()),
        st.tuples(st.just("sends"), st.none()),
        st.tuples(st.just("waits"), st.sampled_from([inside_rooms.JOIN_PAUSE_MS, 30_000, SEEK_AGAIN_MS])),
        st.tuples(st.just("refuses"), st.booleans()),
        st.tuples(st.just("unclean"), st.none()),
    ),
    max_size=25,
)


def fit(told: dict[str, Any]) -> bool:
    """Whether a message may go into such a room."""
    members = {user: membership for user, membership in told["members"].items() if membership}
    others = {user for user in members if members[user] in ("join", "invite", "knock")} - {ALICE, BOB}
    encrypted = (told["encryption"] or {}).get("algorithm") == "m.megolm.v1.aes-sha2"
    open_to_all = told.get("history_visibility") == "world_readable"
    both = members.get(ALICE) == "join" and members.get(BOB) == "join"
    return both and encrypted and not others and not open_to_all and told.get("replaced") is not True


def without_nothing(told: dict[str, Any]) -> dict[str, Any]:
    """As a gateway can say it: who has no membership is not in the list."""
    return {**told, "contact": BOB, "members": {user: m for user, m in told["members"].items() if m is not None}}


@settings(max_examples=80, suppress_health_check=list(HealthCheck))
@given(ACTS)
def test_nothing_goes_into_an_unfit_room_and_every_message_has_one_outcome(acts: list[tuple[str, Any]]) -> None:
    world, alice, _ = pair()
    state: dict[str, dict[str, Any]] = {world.room_id: world.room_state(BOB)}
    sent = 0
    for act, value in acts:
        seen, obtained = len(world.sent(ALICE, names.ROOM_SEND)), len(world.sent(ALICE, names.ROOM_OBTAIN))
        if act == "told":
            state[value["room_id"]] = value
            alice.arrives(names.ROOM, without_nothing(value))
        elif act == "sends":
            sent += 1
            alice.sends(f"text {sent}", f"m{sent}")
        elif act == "waits":
            alice.step.now += value
            alice.wakes("line")
        elif act == "refuses":
            world.failing = {names.ROOM_SEND: names.FORBIDDEN} if value else {}
        else:
            alice.starts(resumed=False)
        world.settle()
        if len(world.sent(ALICE, names.ROOM_OBTAIN)) > obtained:
            state[world.room_id] = world.room_state(BOB)
        for carried in world.sent(ALICE, names.ROOM_SEND)[seen:]:
            room = cast(Address, carried.values["room"]).v
            assert fit(state[room]), f"{room} is told as {json.dumps(state[room])}"
    _settled(world, alice.step.done, alice.step.failures, sent)


def _settled(world: World, done: list[tuple[str, str]], failures: list[tuple[str, str, str]], sent: int) -> None:
    """No message has two outcomes, and those that arrived did so in order and once."""
    outcomes = [message for _, message in done] + [message for _, message, _ in failures]
    assert len(outcomes) == len(set(outcomes)) <= sent
    arrived = [int(message[1:]) for _, message in done]
    assert arrived == sorted(arrived)
    assert len(world.timeline) == len(done)
