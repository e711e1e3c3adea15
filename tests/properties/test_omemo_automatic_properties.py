"""Whatever devices say of each other, in whatever order it comes: whose word counts (decision 0179)."""

from functools import cache

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapters.xmpp.inside_omemo_binding import heard, heed, trust_key
from adapters.xmpp.inside_omemo_trust import keys_in
from adapters.xmpp.inside_omemo_vouching import told_of_keys
from crypto.omemo.curve import signing_key
from crypto.omemo.envelope import Envelope
from crypto.omemo.reading import b64
from crypto.omemo.trust_messages import NS_TRUST, USAGE
from crypto.xml import element
from tests.unit.omemo_desk import OLD, ON, Desk
from tests.unit.omemo_world import End
from tests.unit.xmpp_site import ALICE

IDS = (11, 22, 33, 44)
ROOT = 11
"""The device that the operator verified first."""


@cache
def end(id_: int) -> End:
    """One of her devices."""
    return End.make(ALICE, id_)


@cache
def _begun(policy: str) -> dict[str, object]:
    return dict(Desk({**ON, "omemo-trust": policy}).begin().records.held)


def said(about: int, *, trusted: bool, minute: int) -> Envelope:
    """What is inside when a device says that of another one."""
    key = b64(signing_key(end(about).identity, bool(minute % 2)))
    owner = element(NS_TRUST, "key-owner", element(NS_TRUST, "trust" if trusted else "distrust", key), jid=ALICE)
    whole = element(NS_TRUST, "trust-message", owner, usage=USAGE, encryption="urn:xmpp:omemo:2")
    return Envelope((whole,), f"2027-01-15T07:{minute:02}:00Z")


class World:
    """The half; what people decided, and all that was said by whom of whom."""

    def __init__(self, policy: str = "verified-only") -> None:
        self.desk = Desk({**ON, "omemo-trust": policy})
        self.desk.records.held = dict(_begun(policy))
        self.people: dict[int, str] = {}
        self.vouched: set[tuple[int, int]] = set()
        self.verified: set[int] = set()
        """By a person, at any time."""

    def shows(self, id_: int) -> None:
        """A device shows its key."""
        self.desk.at(lambda at: heard(at, id_, end(id_).identity, OLD))

    def says(self, by: int, about: int, *, trusted: bool, minute: int) -> None:
        """A device says something of another one."""
        self.shows(by)
        told = said(about, trusted=trusted, minute=minute)
        assert self.desk.at(lambda at: told_of_keys(at, told, end(by).identity, by))
        self.desk.at(heed)
        if trusted:
            self.vouched.add((by, about))

    def decides(self, about: int, decision: str) -> None:
        """The operator decides."""
        if self.desk.at(lambda at: trust_key(at, decision, end(about).identity.hex(), "operator")) == "ok":
            self.people[about] = decision
            self.verified |= {about} if decision == "verify" else set()

    @property
    def states(self) -> dict[int, str]:
        """How the keys stand."""
        known = {key.identity: key.state for key in keys_in(self.desk.records).known}
        return {id_: known[end(id_).identity] for id_ in IDS if end(id_).identity in known}

    def vouched_for(self) -> set[int]:
        """Whom a person verified at some time, or a chain of devices that begins with one vouched for."""
        found = set(self.verified)
        while True:
            more = {about for by, about in self.vouched if by in found} - found
            if not more:
                return found
            found |= more


one = st.sampled_from(IDS)
deeds = st.one_of(
    st.tuples(st.just("shows"), one),
    st.tuples(st.just("says"), one, one, st.booleans(), st.integers(0, 59)),
    st.tuples(st.just("verify"), one),
    st.tuples(st.just("distrust"), one),
)


@example("verified-only", [("shows", 11), ("says", 22, 33, True, 1), ("shows", 33)])
@example("verified-only", [("shows", 11), ("verify", 11), ("says", 11, 22, True, 1), ("shows", 22), ("distrust", 22)])
@example("blind-until-verified", [("says", 22, 33, True, 1), ("shows", 33), ("shows", 22)])
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["verified-only", "blind-until-verified"]), st.lists(deeds, max_size=14))
def test_a_key_counts_only_if_a_person_or_a_chain_from_one_vouches_and_no_person_denied_it(
    policy: str, done: list[tuple[object, ...]]
) -> None:
    world = World(policy)
    for deed, *about in done:
        if deed == "shows":
            world.shows(int(str(about[0])))
        elif deed == "says":
            by, of, trusted, minute = about
            world.says(int(str(by)), int(str(of)), trusted=bool(trusted), minute=int(str(minute)))
        else:
            world.decides(int(str(about[0])), str(deed))
        for id_, state in world.states.items():
            if state == "verified":
                assert id_ in world.vouched_for(), "nobody vouched for it"
                assert world.people.get(id_) != "distrust", "a person denied it"


words = st.lists(st.tuples(st.sampled_from(IDS[1:]), st.booleans(), st.integers(0, 59)), max_size=8)


@example([(22, True, 5), (22, False, 6)], [1, 0], [True, False, False], 1)
@example([(22, True, 5), (22, False, 5)], [1, 0], [False, False, False], 0)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(words, st.permutations(range(8)), st.lists(st.booleans(), min_size=3, max_size=3), st.integers(0, 8))
def test_what_is_known_in_the_end_is_the_same_in_whatever_order_and_as_often_as_words_come(
    said_: list[tuple[int, bool, int]], order: list[int], early: list[bool], verified_at: int
) -> None:
    """Words of one device; keys are shown before or after, and the device is verified at any time."""
    world = World()
    world.shows(ROOT)
    for id_, shown in zip(IDS[1:], early, strict=True):
        if shown:
            world.shows(id_)
    shuffled = [said_[n] for n in order if n < len(said_)]
    for number, (about, trusted, minute) in enumerate([*shuffled, *said_]):
        if number == verified_at:
            world.decides(ROOT, "verify")
        world.says(ROOT, about, trusted=trusted, minute=minute)
    world.decides(ROOT, "verify")
    for id_ in IDS[1:]:
        world.shows(id_)
    for id_ in IDS[1:]:
        latest = max(((m, not t) for about, t, m in said_ if about == id_), default=None)
        if latest is None:
            assert world.states[id_] in ("undecided", "blind")
        else:
            assert world.states[id_] == ("distrusted" if latest[1] else "verified")
