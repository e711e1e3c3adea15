"""The XMPP inside half: several clients of one user at once, each with its own session."""

from adapters.xmpp.inside_state import MAX_ASKED, Leg, Line
from adapters.xmpp.names import ENCRYPTED, jid_of
from bridge.wire.values import Address
from crypto.esession.profiles import Profile
from tests.unit.fake_step import Carried
from tests.unit.xmpp_site import ALICE, Alice, Site


def to(one: Carried) -> str:
    """Whom a stanza goes to."""
    value = one.values["to"]
    assert isinstance(value, Address)
    return jid_of(value)


def both(profile: Profile = Profile.LETTER, other: Profile = Profile.LETTER) -> tuple[Site, Alice, Alice]:
    """Alice at her desk, and her phone, each with a session; the desk's is the one she wrote in last."""
    site = Site()
    desk, phone = site.alice, Alice(f"{ALICE}/phone")
    site.others.append(phone)
    site.resources(desk.jid, phone.jid)
    phone.start(other, thread="p0")
    site.run()
    desk.start(profile, thread="d0")
    site.run()
    assert desk.current is not None
    assert phone.current is not None
    return site, desk, phone


# ---------------------------------------------------------------- copies
def test_a_message_is_shown_on_every_client_and_one_receipt_counts() -> None:
    site, desk, phone = both()
    site.message("to all of you", "$1")
    site.run()
    assert desk.shown == phone.shown == ["to all of you"]
    ids = [c.values["id"] for c in site.sent(ENCRYPTED) if str(c.values["id"].v).startswith("m-")]
    assert len(ids) == 2
    assert ids[0] == ids[1]
    assert site.step.done == [("bob", "$1")]
    assert "receipt-unknown" not in site.step.codes()


def test_a_client_that_is_quiet_does_not_hold_up_the_others() -> None:
    site, desk, phone = both()
    phone.receipts = False
    for n in range(100):
        site.message(f"m{n}", f"${n}")
        site.run()
    assert desk.shown == phone.shown == [f"m{n}" for n in range(100)]
    assert len(site.step.done) == 100


def test_what_one_client_sends_the_others_are_shown() -> None:
    site, desk, phone = both()
    desk.say("from my desk", "a1")
    site.run()
    phone.say("from my phone & all", "a2")
    site.run()
    assert site.bodies() == ["from my desk", "from my phone & all"]
    assert phone.copies == ["from my desk"]
    assert desk.copies == ["from my phone & all"]


def test_a_double_is_copied_once() -> None:
    site, desk, phone = both()
    desk.say("once", "a1")
    desk.say("once", "a1")
    site.run()
    assert phone.copies == ["once"]


def test_receipts_and_refusals_go_to_the_client_that_wrote() -> None:
    site, desk, phone = both()
    site.acknowledging = False
    desk.say("one", "a1")
    phone.say("two", "a2")
    site.run()
    site.acknowledge("a1")
    site.refuse("a2", "contact-left")
    site.run()
    assert (desk.acknowledged, desk.errors) == (["a1"], [])
    assert (phone.acknowledged, phone.errors) == ([], [("a2", "not-allowed")])


def test_a_receipt_waits_for_the_client_that_wrote_while_that_is_there() -> None:
    site, desk, phone = both()
    site.acknowledging = False
    desk.say("one", "a1")
    site.run()
    desk.end()
    site.run()
    site.acknowledge("a1")
    site.run()
    assert phone.acknowledged == []
    desk.start(thread="d1")
    site.run()
    assert desk.acknowledged == ["a1"]


def test_a_held_client_is_shown_nothing() -> None:
    site, desk, phone = both()
    desk.start(thread="d1")
    site.run()
    assert site.half.trust(site.step, site.bob, "verify") == "ok"
    site.message("for the verified one", "$1")
    desk.say("mine", "a1")
    site.run()
    assert (desk.shown, phone.shown, phone.copies) == (["for the verified one"], [], [])


def test_a_deployed_client_is_shown_messages_once_and_no_copies_of_what_was_sent() -> None:
    site, desk, phone = both(other=Profile.DEPLOYED)
    site.message("to all", "$1")
    desk.say("mine", "a1")
    site.run()
    assert desk.shown == phone.shown == ["to all"]
    assert phone.copies == []
    assert phone.repeats == 0


# ---------------------------------------------------------------- hand-over
def test_when_a_client_goes_its_messages_move_to_the_next_at_once_in_order_without_doubles() -> None:
    site, desk, phone = both()
    desk.receipts = False
    for n in range(5):
        site.message(f"m{n}", f"${n}")
    site.run()
    assert site.step.done == []
    now = site.step.now
    site.resources(phone.jid)
    site.run()
    assert site.step.now == now
    assert phone.shown == [f"m{n}" for n in range(5)]
    assert [id_ for _, id_ in site.step.done] == [f"${n}" for n in range(5)]


def test_a_deployed_client_that_takes_over_is_not_shown_doubles() -> None:
    site, desk, phone = both(other=Profile.DEPLOYED)
    desk.receipts = False
    phone.receipts = False
    site.message("one", "$1")
    site.run()
    site.resources(phone.jid)
    site.message("two", "$2")
    site.run()
    assert (phone.shown, phone.repeats) == (["one", "two"], 0)


def test_a_client_that_falls_silent_is_given_up_for_the_other() -> None:
    site, desk, phone = both()
    site.lost = lambda one: to(one) == desk.jid
    site.message("one", "$1")
    site.wait(20)
    assert phone.shown == ["one"]
    assert site.step.done == [("bob", "$1")]


def test_marks_of_sessions_that_ended_are_not_kept() -> None:
    site, desk, phone = both()
    for n in range(12):
        site.message(f"m{n}", f"${n}")
        (desk if n % 2 else phone).start(thread=f"t{n}")
        site.run()
    site.wait(120)
    leg, line = site.records.get("leg/bob", Leg), site.records.get("line/bob", Line)
    assert leg is not None
    assert line is not None
    assert {thread for thread, _ in line.marks} <= {t.thread for t in leg.talks}
    assert desk.shown == phone.shown == [f"m{n}" for n in range(12)]


# ---------------------------------------------------------------- further clients
def test_traffic_makes_further_able_clients_be_asked_one_after_the_other() -> None:
    site = Site()
    clients = [Alice(f"{ALICE}/c{n}") for n in range(MAX_ASKED + 2)]
    site.others += clients
    site.resources(*(c.jid for c in clients))
    for n in range(12):
        site.message(f"m{n}", f"${n}")
        site.wait(3)
    assert sum(c.current is not None for c in clients) == MAX_ASKED
    assert [c.shown[-1] for c in clients if c.shown] == ["m11"] * MAX_ASKED
    assert len(site.step.done) == 12


def test_a_further_client_that_does_not_answer_changes_nothing_for_the_first() -> None:
    site = Site().established()
    site.resources(site.alice.jid, f"{ALICE}/dead")
    for n in range(60):
        site.message(f"m{n}", f"${n}")
        site.wait(20)
    asked = [one for one in site.carried if to(one) == f"{ALICE}/dead"]
    assert 2 <= len(asked) <= 16
    assert site.alice.shown == [f"m{n}" for n in range(60)]


def test_a_client_that_joins_is_shown_what_is_on_its_way_and_does_not_become_the_one_that_counts() -> None:
    site = Site().established()
    desk, phone = site.alice, Alice(f"{ALICE}/phone")
    site.others.append(phone)
    desk.receipts = False
    site.resources(desk.jid, phone.jid)
    site.message("one", "$1")
    site.run()
    site.message("two", "$2")
    site.run()
    assert desk.shown == phone.shown == ["one", "two"]
    assert site.step.done == []
    assert "session-joined" in site.step.codes()


# ---------------------------------------------------------------- both at once
def test_two_that_begin_at_once_settle_on_the_session_of_the_smaller_thread() -> None:
    for thread, ours in (("0", False), ("z", True)):
        site = Site()
        site.resources(site.alice.jid)
        site.alice.start(thread=thread)
        site.message("from Bob", "$1")
        site.run()
        site.alice.tell("from Alice", "a1")
        site.message("more", "$2")
        site.run()
        assert site.step.codes().count("session-superseded") == 1
        kept = site.sent(ENCRYPTED)[-1].values["thread"].v
        assert (kept != thread) is ours
        site.wait(60)
        leg = site.records.get("leg/bob", Leg)
        assert leg is not None
        assert [t.thread for t in leg.talks if t.active] == [kept]
        assert site.alice.shown == ["from Bob", "more"]
        assert site.bodies() == ["from Alice"]
        assert not site.alice.unacknowledged


def test_the_session_that_gave_way_is_read_as_long_as_the_peer_writes_in_it() -> None:
    site = Site()
    site.resources(site.alice.jid)
    site.alice.start(thread="z")
    site.message("from Bob", "$1")
    site.run()
    site.alice.say("in the one that gave way", "a1", thread="z")
    site.run()
    assert site.bodies() == ["in the one that gave way"]
    assert site.alice.acknowledged == ["a1"]


def test_deployed_clients_keep_both_sessions() -> None:
    site = Site()
    site.resources(site.alice.jid)
    site.alice.start(Profile.DEPLOYED, thread="z")
    site.message("from Bob", "$1")
    site.run()
    assert "session-superseded" not in site.step.codes()
