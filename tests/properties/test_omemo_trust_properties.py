"""Whatever servers, devices and people do in whatever order: what is sent to, and taken from, whom (decision 0169)."""

from functools import cache

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapters.xmpp.inside_omemo_binding import heard, trust_key
from adapters.xmpp.inside_omemo_trust import keys_in
from crypto.message import Standing
from crypto.omemo.device import created
from crypto.omemo.fingerprints import fingerprint
from tests.unit.omemo_desk import OLD, ON, Desk
from tests.unit.omemo_world import NOW, Dice, End
from tests.unit.xmpp_site import ALICE

IDS = (11, 22)
FACES = (0, 1)
"""Each device may show either of two keys."""


@cache
def end(id_: int, face: int) -> End:
    """A device with one of its keys."""
    made = End(ALICE, id_, dice=Dice(f"{id_}/{face}"))
    created(made.shelf, made.dice, device_id=id_, now_ms=NOW)
    return made


@cache
def _begun(policy: str) -> dict[str, object]:
    return dict(Desk({**ON, "omemo-trust": policy}).begin().records.held)


one = st.tuples(st.sampled_from(IDS), st.sampled_from(FACES))
deeds = st.one_of(
    st.tuples(st.just("serve"), st.lists(one, max_size=3)),
    st.tuples(st.just("write"), one),
    st.tuples(st.just("verify"), one),
    st.tuples(st.just("distrust"), one),
    st.tuples(st.just("wait"), st.integers(1, 1000)),
)


class World:
    """The half, and a notebook of what people decided and which keys were seen before the first verification."""

    def __init__(self, policy: str) -> None:
        self.desk = Desk({**ON, "omemo-trust": policy})
        self.desk.records.held = dict(_begun(policy))
        self.strict = policy == "verified-only"
        self.decided: dict[bytes, str] = {}
        self.early: set[bytes] = set()

    def do(self, deed: str, about: object) -> None:
        """One thing happens."""
        if deed == "serve" and isinstance(about, list):
            self._serve(about)
        elif deed == "wait" and isinstance(about, int):
            self.desk.later(about)
        elif isinstance(about, tuple):
            self._about(deed, end(*about))
        self._note()
        found = self.desk.reach()
        self._note()
        for each in found.ready:
            assert each.known is not None
            assert self.believed(each.known), "only believed keys are written to"

    def _serve(self, ends: list[tuple[int, int]]) -> None:
        self.desk.nodes.held.clear()
        self.desk.nodes.announce(*(end(*each) for each in dict(ends).items()))
        self.desk.event(OLD)

    def _about(self, deed: str, who: End) -> None:
        if deed == "write":
            found = self.desk.at(lambda at: heard(at, who.device_id, who.identity, OLD))
            self._note()
            assert (found.refused is None) == self.believed(who.identity)
            assert (found.standing is Standing.VERIFIED) == (self.decided.get(who.identity) == "verify")
            return
        code = self.desk.at(lambda at: trust_key(at, deed, fingerprint(who.identity), "operator"))
        if code == "ok":
            self.decided[who.identity] = deed
            self.early.discard(who.identity)

    def _note(self) -> None:
        """Keys that were met while nothing was verified are trusted blindly from then on."""
        for key in keys_in(self.desk.records).known:
            if key.identity not in self.decided and "verify" not in self.decided.values() and key.state == "blind":
                self.early.add(key.identity)

    def believed(self, key: bytes) -> bool:
        """As people would have it."""
        decision = self.decided.get(key)
        if decision is not None:
            return decision == "verify"
        return not self.strict and key in self.early


BLIND = "blind-until-verified"
FIRST: list[tuple[str, object]] = [("serve", [(11, 0)]), ("verify", (11, 0))]


@example(BLIND, [*FIRST, ("write", (22, 0))])
@example(BLIND, [*FIRST, ("serve", [(11, 0), (22, 0)]), ("verify", (22, 0))])
@example(BLIND, [*FIRST, ("serve", [(11, 1)]), ("write", (11, 1)), ("verify", (11, 1)), ("wait", 700)])
@example(BLIND, [*FIRST, ("write", (11, 1)), ("distrust", (11, 1)), ("write", (11, 0))])
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from([BLIND, "verified-only"]), st.lists(deeds, max_size=12))
def test_nobody_is_written_to_or_listened_to_who_is_not_believed(policy: str, done: list[tuple[str, object]]) -> None:
    world = World(policy)
    for deed, about in done:
        world.do(deed, about)
