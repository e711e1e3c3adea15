"""Whatever is lost, repeated or restarted on the XMPP leg: every message arrives exactly once, in order."""

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from crypto.esession.profiles import Profile
from tests.unit.xmpp_site import ALICE, Alice, Site

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("bob writes"), st.integers(1, 5)),
        st.tuples(st.just("alice writes"), st.integers(1, 5)),
        st.tuples(st.just("lose to alice"), st.integers(1, 4)),
        st.tuples(st.just("lose from alice"), st.integers(1, 4)),
        st.tuples(st.just("repeat from alice"), st.integers(1, 4)),
        st.tuples(st.just("enclave restarts"), st.integers(0, 1)),
        st.tuples(st.just("alice forgets"), st.just(1)),
        st.tuples(st.just("alice ends"), st.just(1)),
        st.tuples(st.just("alice starts"), st.just(1)),
        st.tuples(st.just("presence flaps"), st.just(1)),
        st.tuples(st.just("time passes"), st.integers(1, 90)),
    ),
    max_size=25,
)


class World:
    """A site with faults, and what each side wrote."""

    def __init__(self) -> None:
        self.site = Site().established(Profile.LETTER)
        self.to_lose = {"to": 0, "from": 0}
        self.site.lost = lambda _: self._lose("to")
        self.site.lost_from_alice = lambda _: self._lose("from")
        self.bob: list[str] = []
        self.alice: list[str] = []

    def _lose(self, way: str) -> bool:
        self.to_lose[way] -= 1
        return self.to_lose[way] >= 0

    def act(self, action: str, count: int) -> None:
        """One thing happens."""
        getattr(self, f"_{action.replace(' ', '_')}")(count)
        if action != "alice writes":
            self.site.run()

    def _bob_writes(self, count: int) -> None:
        for _ in range(count):
            self.bob.append(f"b{len(self.bob)}")
            self.site.message(self.bob[-1], f"${self.bob[-1]}")

    def _alice_writes(self, count: int) -> None:
        for _ in range(count):
            self.alice.append(f"a{len(self.alice)}")
            self.site.alice.tell(self.alice[-1], f"id-{self.alice[-1]}")

    def _lose_to_alice(self, count: int) -> None:
        self.to_lose["to"] = count

    def _lose_from_alice(self, count: int) -> None:
        self.to_lose["from"] = count

    def _repeat_from_alice(self, count: int) -> None:
        self.site.alice.outbox += self.site.alice.outbox[-count:]

    def _enclave_restarts(self, count: int) -> None:
        self.site.start(resumed=bool(count))

    def _alice_forgets(self, _: int) -> None:
        self.site.alice.conversations.clear()
        self.site.alice.current = None

    def _alice_ends(self, _: int) -> None:
        if self.site.alice.current:
            self.site.alice.end()

    def _alice_starts(self, _: int) -> None:
        self.site.alice.start()

    def _presence_flaps(self, _: int) -> None:
        self.site.resources()
        self.site.resources(self.site.alice.jid, f"{ALICE}/other")

    def _time_passes(self, count: int) -> None:
        self.site.wait(count)

    def settle(self) -> None:
        """No more faults; everybody goes on as they do."""
        self.to_lose = {"to": 0, "from": 0}
        self.site.resources(self.site.alice.jid)
        for _ in range(40):
            self.site.wait(120)
            if self.site.alice.unacknowledged:
                self.site.alice.start()
                self.site.run()
            elif len(self.site.step.done) == len(self.bob):
                return


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ACTIONS)
def test_every_message_arrives_exactly_once_and_in_order(actions: list[tuple[str, int]]) -> None:
    world = World()
    for action, count in actions:
        world.act(action, count)
    world.settle()
    assert world.site.alice.shown == world.bob
    assert world.site.bodies() == world.alice
    assert [id_ for _, id_ in world.site.step.done] == [f"${b}" for b in world.bob]
    assert not list(world.site.records.names("queue/"))


# ---------------------------------------------------------------- two clients
TWO = st.lists(
    st.one_of(
        st.tuples(st.just("bob writes"), st.integers(1, 4)),
        st.tuples(st.just("desk writes"), st.integers(1, 3)),
        st.tuples(st.just("phone writes"), st.integers(1, 3)),
        st.tuples(st.just("lose to alice"), st.integers(1, 4)),
        st.tuples(st.just("lose from alice"), st.integers(1, 4)),
        st.tuples(st.just("enclave restarts"), st.integers(0, 1)),
        st.tuples(st.just("desk goes"), st.just(1)),
        st.tuples(st.just("phone goes"), st.just(1)),
        st.tuples(st.just("both are there"), st.just(1)),
        st.tuples(st.just("desk forgets"), st.just(1)),
        st.tuples(st.just("phone ends"), st.just(1)),
        st.tuples(st.just("desk starts"), st.just(1)),
        st.tuples(st.just("phone starts"), st.just(1)),
        st.tuples(st.just("both sides start"), st.just(1)),
        st.tuples(st.just("time passes"), st.integers(1, 90)),
    ),
    max_size=25,
)


class Household(World):
    """Alice with a desk and a phone."""

    def __init__(self) -> None:
        super().__init__()
        self.desk, self.phone = self.site.alice, Alice(f"{ALICE}/phone")
        self.site.others.append(self.phone)
        self.site.resources(self.desk.jid, self.phone.jid)
        self.site.run()
        self.by_desk: list[str] = []
        self.by_phone: list[str] = []

    def _desk_writes(self, count: int) -> None:
        for _ in range(count):
            self.by_desk.append(f"d{len(self.by_desk)}")
            self.desk.tell(self.by_desk[-1], f"id-{self.by_desk[-1]}")

    def _phone_writes(self, count: int) -> None:
        for _ in range(count):
            self.by_phone.append(f"p{len(self.by_phone)}")
            self.phone.tell(self.by_phone[-1], f"id-{self.by_phone[-1]}")

    def _desk_goes(self, _: int) -> None:
        self.site.resources(self.phone.jid)

    def _phone_goes(self, _: int) -> None:
        self.site.resources(self.desk.jid)

    def _both_are_there(self, _: int) -> None:
        self.site.resources(self.desk.jid, self.phone.jid)

    def _desk_forgets(self, _: int) -> None:
        self.desk.conversations.clear()
        self.desk.current = None

    def _phone_ends(self, _: int) -> None:
        if self.phone.current:
            self.phone.end()

    def _desk_starts(self, _: int) -> None:
        self.desk.start()

    def _phone_starts(self, _: int) -> None:
        self.phone.start()

    def _both_sides_start(self, _: int) -> None:
        if self.desk.current:
            self.desk.end()
        self.site.run()
        self.bob.append(f"b{len(self.bob)}")
        self.desk.start()
        self.site.message(self.bob[-1], f"${self.bob[-1]}")

    def settle(self) -> None:
        """No more faults; both clients are there."""
        self.to_lose = {"to": 0, "from": 0}
        self.site.resources(self.desk.jid, self.phone.jid)
        for _ in range(40):
            self.site.wait(120)
            for client in (self.desk, self.phone):
                if client.unacknowledged:
                    client.start()
                    self.site.run()
            if not (self.desk.unacknowledged or self.phone.unacknowledged) and len(self.site.step.done) == len(
                self.bob
            ):
                return


def in_order(shown: list[str], of: list[str]) -> bool:
    """Whether these are some of those, each once, in the same order."""
    rest = iter(of)
    return all(one in rest for one in shown)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TWO)
@example([("phone starts", 1)] * 2 + [("both sides start", 1), ("phone ends", 1), ("bob writes", 1), ("bob writes", 1)])
def test_with_two_clients_every_message_arrives_exactly_once_and_in_order_at_one_and_no_double_at_either(
    actions: list[tuple[str, int]],
) -> None:
    world = Household()
    for action, count in actions:
        world.act(action, count)
    world.settle()
    assert sorted(world.site.bodies()) == sorted(world.by_desk + world.by_phone)
    assert in_order(world.by_desk, world.site.bodies())
    assert in_order(world.by_phone, world.site.bodies())
    assert set(world.desk.shown) | set(world.phone.shown) == set(world.bob)
    assert in_order(world.desk.shown, world.bob)
    assert in_order(world.phone.shown, world.bob)
    assert len(world.desk.shown) == len(set(world.desk.shown))
    assert len(world.phone.shown) == len(set(world.phone.shown))
    # A receipt may be lost with the session that it was written in, and come after later ones.
    assert sorted(id_ for _, id_ in world.site.step.done) == sorted(f"${b}" for b in world.bob)
    assert not list(world.site.records.names("queue/"))
    assert set(world.desk.copies) <= set(world.by_phone)
    assert set(world.phone.copies) <= set(world.by_desk)
    assert len(world.phone.copies) == len(set(world.phone.copies))
