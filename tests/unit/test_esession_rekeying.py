"""Re-keying of a running session (XEP-0200, "Re-Key Exchange"): by either end, crossing, by count, time and blocks."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from crypto.errors import Misuse
from crypto.esession.faults import Exhausted
from crypto.esession.profiles import Profile
from crypto.esession.rekeying_state import POLICY, Rekeying, RekeyPolicy
from crypto.esession.sealing import seal, seal_empty
from crypto.esession.session import MAX_BLOCKS
from crypto.esession.suite import CIPHERS, HASHES, Suite
from crypto.primitives.integers import from_octets
from crypto.xml import parse
from tests.unit.rekeying_world import ALWAYS, Side, agree, draw, has_key, pair, settle, sides, worn
from tests.unit.session_secrets import holders


# ---------------------------------------------------------------------------------------------------- both ways
@pytest.mark.parametrize("suite", [Suite(group=g) for g in ("14", "15", "x25519")], ids=lambda s: s.group)
def test_either_end_rekeys_and_everything_decrypts(suite: Suite) -> None:
    alice, bob = sides(suite)
    for number, (one, other) in enumerate([(alice, bob), (bob, alice), (bob, alice), (alice, bob)]):
        before = (one.session.sending.cipher_key, other.session.sending.cipher_key)
        assert has_key(one.send(f"key {number}", key=True))
        other.take_from(one)
        other.send(f"answer {number}")
        one.take_from(other)
        agree_partly = (one.session.sending.cipher_key, other.session.sending.cipher_key)
        assert not set(before) & set(agree_partly)
    settle(alice, bob)
    agree(alice, bob)
    assert bob.read[:3] == ["key 0", "answer 1", "answer 2"]


@pytest.mark.parametrize("name", sorted(HASHES))
@pytest.mark.parametrize("cipher", sorted(CIPHERS))
def test_new_keys_are_as_long_as_the_suite_says(name: str, cipher: str) -> None:
    suite = Suite(cipher, name, "x25519")
    alice, bob = sides(suite)
    alice.send("x", key=True)
    bob.take_from(alice)
    settle(alice, bob)
    agree(alice, bob)
    assert len(alice.session.sending.cipher_key) == suite.key_octets()
    assert len(bob.session.sending.mac_key) == suite.hash_octets


def test_keys_that_cross_are_both_taken() -> None:
    alice, bob = sides()
    alice.send("a", key=True)
    bob.send("b", key=True)
    alice.send("a2")
    bob.send("b2")
    bob.take_from(alice)
    alice.take_from(bob)
    assert (alice.read, bob.read) == (["b", "b2"], ["a", "a2"])
    assert len(alice.state.newer) == len(bob.state.newer) == 1
    settle(alice, bob)
    agree(alice, bob)


def test_several_keys_may_be_on_their_way_and_the_count_says_which_were_received() -> None:
    alice, bob = sides()
    for number in range(5):
        alice.send(f"{number}", key=True)
    assert len(alice.state.newer) == 5
    bob.take_from(alice, 3)
    assert b"<new>3</new>" in bob.send("three")
    alice.take_from(bob)
    assert (len(alice.state.newer), alice.state.confirmed) == (2, 3)
    bob.take_from(alice)
    bob.send("all", key=True)
    assert b"<new>2</new>" in bob.wire[-1]
    alice.take_from(bob)
    assert not len(alice.state.newer)
    settle(alice, bob)
    agree(alice, bob)


def test_a_new_key_goes_with_the_count_of_received_ones_in_one_stanza() -> None:
    alice, bob = sides()
    alice.send("a", key=True)
    bob.take_from(alice)
    c = bob.send("b", key=True)
    assert has_key(c)
    assert b"<new>1</new>" in c
    alice.take_from(bob)
    settle(alice, bob)
    agree(alice, bob)


def test_a_stanza_without_content_rekeys_and_counts_as_one_block() -> None:
    alice, bob = sides()
    before = from_octets(alice.session.sending.counter)
    c = alice.send_empty(key=True)
    assert b"<data>" not in c
    assert (from_octets(alice.session.sending.counter) - before) % (1 << 128) == 1
    bob.take_from(alice)
    assert bob.read == []
    settle(alice, bob)
    agree(alice, bob)


def test_there_is_one_key_for_sending_at_any_time() -> None:
    alice, _ = sides()
    old = alice.session.sending
    alice.send("x", key=True)
    assert not holders(alice.session, {"KC": old.cipher_key})
    assert alice.session.sending.blocks == 0
    assert alice.session.sending.counter != old.counter  # counters run on over new keys


# ---------------------------------------------------------------------------------------------------- when
def count_until_key(side: Side, policy: RekeyPolicy, most: int = 500) -> int:
    for number in range(1, most):
        if has_key(side.send("x", policy=policy)):
            return number
    return most


@pytest.mark.parametrize(("frequency", "stanzas", "expected"), [(1, 5, 5), (7, 5, 7), (1, 1, 1), (3, 3, 3)])
def test_new_keys_come_after_the_policys_count_but_not_before_the_agreed_one(
    frequency: int, stanzas: int, expected: int
) -> None:
    alice, bob = sides(frequency=frequency)
    policy = RekeyPolicy(stanzas=stanzas)
    assert count_until_key(alice, policy) == expected
    assert count_until_key(alice, policy) == expected
    bob.take_from(alice)


def test_stanzas_received_count_as_exchanged() -> None:
    alice, bob = sides(frequency=6)
    for _ in range(5):
        bob.send("x")
    alice.take_from(bob)
    assert has_key(alice.send("x", policy=RekeyPolicy(stanzas=6)))


def test_new_keys_come_after_ten_minutes_of_use_and_not_of_silence() -> None:
    alice, bob = sides()
    start = 1_000_000
    assert not has_key(alice.send("x", now_ms=start, policy=POLICY))
    assert not has_key(alice.send("x", now_ms=start + POLICY.interval_ms - 1, policy=POLICY))
    assert has_key(alice.send("x", now_ms=start + POLICY.interval_ms, policy=POLICY))
    bob.take_from(alice)
    later = start + 5 * POLICY.interval_ms
    assert not has_key(alice.send("x", now_ms=later, policy=POLICY))  # nothing was said under the new keys


def test_time_does_not_count_where_it_is_not_known() -> None:
    alice, _ = sides()
    for now_ms in (0, 1 << 50, 0):
        assert not has_key(alice.send("x", now_ms=now_ms, policy=POLICY))


def test_new_keys_come_long_before_the_blocks_run_out() -> None:
    assert POLICY.blocks * 256 <= MAX_BLOCKS
    for each in (worn(pair()[0], sending=POLICY.blocks), worn(pair()[0], receiving=POLICY.blocks)):
        alice = Side("alice", each)
        assert has_key(alice.send("x", policy=POLICY))
        assert alice.session.sending.blocks == 0


def test_the_blocks_of_both_directions_are_limited_together() -> None:
    half = MAX_BLOCKS // 2
    full = worn(pair()[0], sending=half, receiving=half)
    for way in (draw_of("x"), None):
        with pytest.raises(Exhausted):
            seal(full, b"<a/>", draw=way)
    almost = worn(pair()[0], sending=half - 1, receiving=half)
    after, _ = seal(almost, b"<a/>", draw=draw_of("y"))
    assert after.sending.blocks == 0


def draw_of(seed: str) -> Callable[[str, int], bytes]:
    return lambda name, size: draw(seed + name, size)


def test_no_new_key_without_a_draw() -> None:
    session, _ = pair()
    for _ in range(10):
        session, c = seal(session, b"<a/>", policy=ALWAYS)
        assert not has_key(c)


def test_no_more_keys_are_sent_than_may_be_unanswered() -> None:
    alice, bob = sides()
    keys = [has_key(alice.send("x", key=True)) for _ in range(12)]
    assert keys == [True] * 8 + [False] * 4
    bob.take_from(alice)
    settle(alice, bob)
    agree(alice, bob)
    assert has_key(alice.send("x", key=True))


@pytest.mark.parametrize("frequency", [4294967295, 4294967296])
def test_the_largest_frequency_means_never(frequency: int) -> None:
    assert Rekeying.begin(b"x", b"d", frequency=frequency) is None


def test_the_deployed_implementation_is_never_rekeyed() -> None:
    assert Rekeying.begin(b"x", b"d", frequency=1, profile=Profile.DEPLOYED) is None
    assert Rekeying.begin(b"x", b"d") is None
    session = replace(pair()[0], rekeying=None)
    after, c = seal(session, b"<a/>", draw=draw_of("x"), now_ms=1, policy=ALWAYS)
    assert [e.name for e in parse(c).elements] == ["data", "mac"]
    assert after.sending.cipher_key == session.sending.cipher_key
    with pytest.raises(Misuse):
        seal_empty(session, draw=None, now_ms=0)


def test_counters_never_repeat_under_a_key() -> None:
    alice, bob = sides()
    seen: set[tuple[bytes, int]] = set()
    for number in range(40):
        for one, other in ((alice, bob), (bob, alice)):
            key, counter = one.session.sending.cipher_key, from_octets(one.session.sending.counter)
            one.send("0123456789" * number, key=number % 7 == 0)
            after = from_octets(one.session.sending.counter)
            blocks = {(key, c) for c in range(counter, after)}
            assert not blocks & seen
            seen |= blocks
            other.take_from(one)
    counters = [c for _, c in sorted(seen)]
    assert len(counters) == len(seen)
    assert all(a <= b for a, b in pairwise(sorted(counters)))
