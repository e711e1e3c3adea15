"""Random schedules of two ends that send and re-key while stanzas are on their way: everything is read, all agrees."""

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto.esession.faults import UnauthenticStanza
from crypto.esession.opening import open_stanza
from crypto.esession.rekeying_state import RekeyPolicy
from crypto.xml import parse
from tests.unit.rekeying_world import Side, agree, published, settle, sides
from tests.unit.session_secrets import holders, secret_values

QUICK = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
MOST = 3
POLICY = RekeyPolicy(stanzas=1, grace_ms=1 << 60, outstanding=MOST)


@dataclass(frozen=True)
class Deed:
    """One step: `who` sends (with a new key, without content), or takes some of what is on its way to it."""

    who: int
    what: str
    count: int


DOINGS = ["send", "key", "empty", "empty key", "take", "take"]
deeds = st.lists(
    st.builds(
        Deed,
        st.integers(0, 1),
        st.sampled_from(["send", "key", "empty", "empty key", "take", "take"]),
        st.integers(1, 4),
    ),
    max_size=40,
)


def done(ends: tuple[Side, Side], deed: Deed, number: int, sent: tuple[list[str], list[str]]) -> None:
    """Do it; `sent` collects what the two have said."""
    one, other = ends[deed.who], ends[1 - deed.who]
    if deed.what == "take":
        one.take_from(other, deed.count)
    elif deed.what.startswith("empty"):
        one.send_empty(key=deed.what == "empty key" and len(one.state.newer) < MOST)
    else:
        text = f"{number} " * deed.count
        sent[deed.who].append(text)
        one.send(text, now_ms=number + 1, policy=POLICY if deed.what == "key" else None)


@QUICK
@given(deeds, st.booleans())
def test_whatever_the_two_do_everything_is_read_in_order_and_they_agree(schedule: list[Deed], hybrid: bool) -> None:
    ends = sides(mixed=b"m" * 32 if hybrid else None)
    sent: tuple[list[str], list[str]] = ([], [])
    for number, deed in enumerate(schedule):
        done(ends, deed, number, sent)
        for end in ends:
            assert len(end.state.newer) <= MOST
            assert end.state.oldest == end.state.confirmed
            assert len(end.state.retired) + len(end.state.publishable) <= 128
    settle(*ends)
    for end, other in zip(ends, reversed(ends), strict=True):
        heard = [text for text in end.read if text != "settled"]
        assert heard == sent[1 - ends.index(end)]
        assert other.session.sending.counter == end.session.receiving.counter
    agree(*ends)


@QUICK
@given(deeds)
def test_no_stanza_is_read_twice_or_out_of_order_whatever_keys_it_brings(schedule: list[Deed]) -> None:
    ends = sides()
    sent: tuple[list[str], list[str]] = ([], [])
    for number, deed in enumerate(schedule):
        done(ends, deed, number, sent)
    for one, other in (ends, ends[::-1]):
        waiting = list(other.on_its_way)
        for later in waiting[1:]:
            with pytest.raises(UnauthenticStanza):
                open_stanza(one.session, parse(later))
        for own in one.wire[-3:]:  # nor one of its own, thrown back
            with pytest.raises(UnauthenticStanza):
                open_stanza(one.session, parse(own))


@QUICK
@given(deeds)
def test_a_published_key_is_never_one_that_a_stanza_on_its_way_was_made_with(schedule: list[Deed]) -> None:
    ends = sides()
    used: tuple[list[bytes], list[bytes]] = ([], [])
    sent: tuple[list[str], list[str]] = ([], [])
    taken = [0, 0]
    out: set[bytes] = set()
    for number, deed in enumerate(schedule):
        one, other = ends[deed.who], ends[1 - deed.who]
        key, count, waiting = one.session.sending.mac_key, len(one.wire), len(other.on_its_way)
        done(ends, deed, number, sent)
        if len(one.wire) > count:
            used[deed.who].append(key)
            out |= set(published(one.wire[-1]))
        taken[deed.who] += waiting - len(other.on_its_way)
        for sender in (0, 1):
            pending = used[sender][taken[1 - sender] :]
            assert not out & {*pending, ends[sender].session.sending.mac_key}


@QUICK
@given(deeds)
def test_nothing_secret_of_before_is_left_after_both_have_rekeyed(schedule: list[Deed]) -> None:
    ends = sides()
    sent: tuple[list[str], list[str]] = ([], [])
    old = {**secret_values(ends[0].session, "a"), **secret_values(ends[1].session, "b")}
    for number, deed in enumerate(schedule):
        done(ends, deed, number, sent)
        old |= secret_values(ends[0].session, f"a{number}") | secret_values(ends[1].session, f"b{number}")
    settle(*ends)
    for one, other in (ends, ends[::-1]):
        one.send("last", key=True)
        other.take_from(one)
    settle(*ends)
    for end in ends:
        assert not holders(end.session, old)


@QUICK
@given(deeds, st.integers(0, 3))
def test_a_connection_that_drops_stanzas_is_noticed_by_the_next_that_comes(schedule: list[Deed], lost: int) -> None:
    ends = sides()
    sent: tuple[list[str], list[str]] = ([], [])
    for number, deed in enumerate(schedule):
        done(ends, deed, number, sent)
    one, other = ends
    if len(other.on_its_way) <= lost:
        return
    kept = list(other.on_its_way)
    del kept[lost]
    for place, c in enumerate(kept):
        if place == lost:
            with pytest.raises(UnauthenticStanza):
                open_stanza(one.session, parse(c))
            return
        one.take(c)
