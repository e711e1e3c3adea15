"""New keys while a session is silent, and new keys on the way of what is sent: `refresh`, `refresh_due_ms`, `send`."""

from dataclasses import replace

import pytest

from crypto.esession.conversation import Conversation, Event, receive, refresh, refresh_due_ms, send
from crypto.esession.profiles import Profile
from crypto.esession.rekeying_state import POLICY, RekeyPolicy
from crypto.esession.retained import Retained
from crypto.esession.terms import Terms
from crypto.xml import parse
from tests.unit.rekeying_world import has_key, sides
from tests.unit.test_esession_hostile_stanzas import message
from tests.unit.test_esession_stanzas import no_draw


def test_a_session_that_fell_silent_gets_new_keys_and_then_rests() -> None:
    alice, bob = sides()
    start, now = 1_000_000, 1_000_000
    bob.take(alice.send("x", now_ms=start))
    alice.take(bob.send("y", now_ms=start))
    talks = {name: Conversation("t", session=side.session) for name, side in (("alice", alice), ("bob", bob))}
    keys = empty = 0
    for _ in range(40):
        now += 60_000
        for name, other, side in (("alice", "bob", alice), ("bob", "alice", bob)):
            due = refresh_due_ms(talks[name])
            out = refresh(talks[name], draw=side.draw, now_ms=now) if due is not None and due <= now else None
            if out is None:
                continue
            assert out.conversation is not None
            talks[name] = out.conversation
            for reply in out.replies:
                keys, empty = keys + has_key(reply.payload), empty + 1
                got = receive(
                    talks[other], message(parse(reply.payload)), terms=Terms(), retained=Retained(), draw=no_draw
                )
                assert (got.event, got.content) == (Event.CONTENT, ())
                assert got.conversation is not None
                talks[other] = got.conversation
    assert keys == 2  # one of each end
    assert 3 <= empty <= 4
    assert all(refresh_due_ms(talk) is None for talk in talks.values())
    for name, side in (("alice", alice), ("bob", bob)):
        session = talks[name].session
        assert session is not None
        assert session.rekeying is not None
        assert session.rekeying.secret != side.state.secret


def test_nothing_is_refreshed_in_a_session_that_does_not_rekey() -> None:
    alice, _ = sides()
    talk = Conversation("t", session=replace(alice.session, rekeying=None))
    assert refresh_due_ms(talk) is None
    assert refresh(talk, draw=no_draw, now_ms=1 << 60) is None
    assert refresh(Conversation("t"), draw=no_draw, now_ms=1 << 60) is None


def test_send_makes_new_keys_when_it_is_given_a_draw_and_the_time() -> None:
    alice, bob = sides()
    talk = Conversation("t", session=alice.session)
    for number in range(1, 202):
        out = send(talk, b"<body>x</body>", draw=alice.draw, now_ms=1_000_000 + number)
        assert has_key(out.replies[0].payload) == (number % 100 == 0)
        bob.take(out.replies[0].payload)
        assert out.conversation is not None
        talk = out.conversation
    assert bob.session.profile is Profile.LETTER


@pytest.mark.parametrize("frequency", [1, 10])
@pytest.mark.parametrize("keys", range(9))
def test_a_refresh_that_is_due_has_something_to_do_and_is_not_due_again_at_once(frequency: int, keys: int) -> None:
    alice, bob = sides(frequency=frequency)
    start, policy = 1_000_000, RekeyPolicy(stanzas=1, interval_ms=POLICY.interval_ms)
    for number in range(keys * frequency):
        alice.send("x", now_ms=start + number, policy=policy)
        if number % 3 == 0:
            bob.send("y", now_ms=start + number, policy=policy)
            alice.take_from(bob)
    talk = Conversation("t", session=alice.session)
    for _ in range(30):
        due = refresh_due_ms(talk)
        if due is None:
            break
        assert due > start
        start = due
        out = refresh(talk, draw=alice.draw, now_ms=due)
        assert out is not None
        assert out.conversation is not None
        talk = out.conversation
    assert refresh_due_ms(talk) is None
