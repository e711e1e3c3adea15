"""Whatever is lost, repeated or restarted on the XMPP leg: every message arrives exactly once, in order."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto.esession.profiles import Profile
from tests.unit.xmpp_site import ALICE, Site

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
