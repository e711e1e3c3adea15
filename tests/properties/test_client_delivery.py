"""Whatever the network and the far process do, every message arrives once, in order, at both ends."""

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client.delivery import DeliveryTimes
from client.events import MessageReceived
from client.pace import Allowance
from client.queries import QUESTIONS
from crypto.esession.rekeying_state import RekeyPolicy
from tests.unit.client_world import SETTINGS, Flying, Side, World

QUICK = replace(
    SETTINGS,
    delivery=DeliveryTimes(window=4),
    rekey=RekeyPolicy(stanzas=3, interval_ms=20_000, grace_ms=30_000),
    starts=Allowance.full(1000, 10.0),
    requests=Allowance.full(1000, 10.0),
    errors=Allowance.full(1000, 10.0),
)

FATES = st.sampled_from(["carry", "carry", "carry", "carry", "lose", "double", "last", "replay"])
DEEDS = st.lists(
    st.tuples(
        st.sampled_from(["alice", "bob", "alice", "bob", "signal", "wait", "end", "kill-alice", "kill-bob", "away"]),
        st.lists(FATES, max_size=12),
    ),
    min_size=1,
    max_size=12,
)


class Adversary:
    """A network that follows a list of fates, then behaves."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.fates: list[str] = []

    def __call__(self, flying: Flying) -> bool:
        """Whether this stanza is carried now."""
        fate = self.fates.pop(0) if self.fates else "carry"
        if fate == "double":
            self.world.flying.insert(0, flying)
        elif fate == "last":
            self.world.flying.append(flying)
        elif fate == "replay" and self.world.carried:
            self.world.flying.append(self.world.carried[len(self.world.carried) // 2])
        return fate in ("carry", "double", "replay")


class Life:
    """All that an endpoint's user saw over its restarts, and said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.seen: list[MessageReceived] = []

    def note(self, side: Side) -> None:
        """Before the process is gone."""
        self.seen += side.of(MessageReceived)


def live(world: World, lives: dict[str, Life], deed: str) -> None:
    """Do one thing."""
    match deed:
        case "alice" | "bob":
            side: Side = getattr(world, deed)
            text = f"{deed} {len(lives[deed].said)}"
            lives[deed].said.append(text)
            side.say(text)
        case "signal":
            world.alice.contact.typing(True)
            world.bob.contact.show("away", str(world.clock.now_s))
            world.alice.contact.ask(QUESTIONS["ping"].encode())
        case "wait":
            world.clock.now_s += 7
            for side in (world.alice, world.bob):
                side.contact.tick()
        case "end":
            world.alice.contact.end()
        case "away":
            world.alice.contact.disappeared(world.bob.full)
            world.alice.contact.appeared(world.bob.full)
        case "kill-alice" | "kill-bob":
            name = deed.removeprefix("kill-")
            lives[name].note(getattr(world, name))
            old = getattr(world, name).full
            world.restart(getattr(world, name)).full = old
            world.meet()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DEEDS)
def test_every_message_arrives_once_and_in_order(deeds: list[tuple[str, list[str]]]) -> None:
    world, lives = World(QUICK), {"alice": Life(), "bob": Life()}
    world.meet()
    adversary = Adversary(world)
    for deed, fates in deeds:
        adversary.fates = list(fates)
        live(world, lives, deed)
        world.run(adversary)
    adversary.fates = []
    world.alice.contact.start()
    world.wait(900)
    for name in ("alice", "bob"):
        lives[name].note(getattr(world, name))
    assert [h.body for h in lives["bob"].seen] == lives["alice"].said
    assert [h.body for h in lives["alice"].seen] == lives["bob"].said
    assert world.alice.contact.waiting == world.bob.contact.waiting == 0
