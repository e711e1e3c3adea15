"""The XMPP inside half: once a string was compared, sessions that are not linked to it are held."""

from typing import cast

import pytest

from adapters.inside_api import LegStatus
from adapters.xmpp.inside_state import Leg
from adapters.xmpp.names import ENCRYPTED, ERROR, NOTICE, jid_of
from bridge.wire.values import Address, Code, Opaque
from crypto.esession import payloads
from crypto.esession.profiles import Profile
from crypto.esession.retained import MAX_SECRETS, Retained, RetainedSecret, identity_of
from crypto.xml import CLIENT, element, serialize
from tests.unit.xmpp_site import ALICE, Alice, Site, receipt

PROFILES = pytest.mark.parametrize("profile", [Profile.LETTER, Profile.DEPLOYED])


def decide(site: Site, decision: str) -> None:
    """The operator decides, with consent where the string of a deployed client is compared."""
    codes: list[str] = []
    if decision == "verify" and status(site).sas is not None and not status(site).sas_bound:
        decision = "verify-weak-string"
    site.do(lambda: codes.append(site.half.trust(site.step, site.bob, decision)))
    assert codes == ["ok"]


def status(site: Site) -> LegStatus:
    """What the operator sees."""
    return site.half.status(site.records, site.step.account)[0]


def verified(profile: Profile = Profile.LETTER) -> Site:
    """A session whose string was compared, in use."""
    site = Site().established(profile)
    site.alice.say("before", "a0")
    site.run()
    decide(site, "verify")
    return site


def held(profile: Profile = Profile.LETTER, *, gone: bool = True) -> Site:
    """Beside or instead of the verified session, one by somebody who shares no secret with us."""
    site = verified(profile)
    if gone:
        site.resources()
    stranger(site, profile)
    return site


def stranger(
    site: Site, profile: Profile = Profile.LETTER, resource: str = "other", thread: str | None = None
) -> Alice:
    """Somebody else at the user's address has a session."""
    site.alice = Alice(f"{ALICE}/{resource}")
    site.lost = lambda one: jid_of(cast(Address, one.values["to"])) not in (site.alice.jid, ALICE)
    site.alice.start(profile, thread or f"of-{resource}")
    site.run()
    assert site.alice.current is not None
    return site.alice


# ---------------------------------------------------------------- held
@PROFILES
def test_nothing_is_sent_in_a_session_without_the_link_and_the_status_says_held(profile: Profile) -> None:
    site = held(profile)
    site.message("secret words", "$1")
    site.wait(3600)
    assert not site.alice.shown
    assert not [c for c in site.sent(ENCRYPTED) if c.values["thread"] == Opaque(v=site.alice.current or "")]
    assert site.step.done == []
    assert (status(site).state, status(site).verified, status(site).waiting) == ("held", False, 1)
    assert status(site).peer == site.alice.jid
    assert site.step.codes().count("session-held") == 1
    assert [c.values["code"] for c in site.sent(NOTICE)] == [Code(v="waiting-verify")]


@PROFILES
def test_a_text_in_a_held_session_is_refused_and_not_delivered(profile: Profile) -> None:
    site = held(profile)
    site.alice.say("forged", "f1")
    site.run()
    assert site.bodies() == ["before"]
    assert site.alice.errors == [("f1", "policy-violation")]
    assert not site.alice.acknowledged
    assert bool(site.sent(ERROR)) is (profile is Profile.DEPLOYED)


def test_a_session_that_continues_a_secret_without_verification_is_held_too() -> None:
    site = held()
    for n in range(3):
        site.alice.start(thread=f"again-{n}")
        site.run()
    assert site.step.codes().count("chain-continued") == 3
    site.alice.say("forged", "f1")
    site.run()
    assert (site.bodies(), status(site).state) == (["before"], "held")


def test_the_verified_session_goes_on_beside_a_held_one() -> None:
    site = verified()
    user = site.alice
    intruder = stranger(site)
    intruder.say("forged", "f1")
    site.run()
    site.alice = user
    site.message("for the user", "$1")
    site.run()
    user.say("mine", "a1")
    site.run()
    assert user.shown == ["for the user"]
    assert site.bodies() == ["before", "mine"]
    assert user.acknowledged == ["a0", "a1"]


def test_a_session_that_is_there_already_is_held_once_another_one_was_compared() -> None:
    site = Site().established()
    user = site.alice
    intruder = stranger(site)
    site.alice = user
    user.start()
    site.run()
    decide(site, "verify")
    site.alice = intruder
    intruder.say("forged", "f1")
    site.run()
    assert site.bodies() == []
    assert site.step.codes().count("session-held") >= 1


def test_receipts_in_a_held_session_count_for_nothing() -> None:
    site = verified()
    site.alice.receipts = False
    site.message("one", "$1")
    site.run()
    id_ = site.stanza_ids()[-1]
    intruder = stranger(site)
    intruder.put(receipt(id_))
    site.run()
    assert site.step.done == []
    assert "receipt-unauthenticated" in site.step.codes()


def test_a_held_session_of_the_deployed_profile_does_not_make_plain_receipts_count() -> None:
    site = verified()
    site.alice.receipts = False
    site.message("one", "$1")
    site.run()
    id_ = site.stanza_ids()[-1]
    intruder = stranger(site, Profile.DEPLOYED)
    intruder.write(receipt(id_), kind=None, thread=None, id_="r")
    site.run()
    assert site.step.done == []


def test_what_is_said_in_a_held_session_is_no_sign_that_the_verified_one_arrives() -> None:
    site = verified(Profile.DEPLOYED)
    site.alice.receipts = False
    site.message("one", "$1")
    site.run()
    intruder = stranger(site, Profile.DEPLOYED)
    intruder.say("forged", "f1")
    site.wait(120)
    assert site.step.done == []


def test_a_text_in_the_stanza_that_ends_a_held_session_is_not_delivered() -> None:
    site = held()
    text = serialize(element(CLIENT, "body", "forged"), inherited=CLIENT)
    site.alice.put(text + payloads.termination(), "f1")
    site.run()
    assert site.bodies() == ["before"]
    assert site.alice.errors == [("f1", "policy-violation")]


def test_a_text_on_its_way_when_a_held_session_was_ended_is_not_delivered() -> None:
    site = held()
    site.alice.say("forged", "f1")
    decide(site, "distrust")
    site.run()
    assert site.bodies() == ["before"]
    assert site.alice.errors == [("f1", "policy-violation")]


def test_too_many_held_sessions_give_way_before_the_verified_one() -> None:
    site = verified()
    user = site.alice
    for n in range(8):
        stranger(site, thread=f"more-{n}")
    site.alice = user
    leg = site.records.get("leg/bob", Leg)
    assert leg is not None
    assert leg.talk(user.current) is not None
    site.message("one", "$1")
    site.run()
    assert user.shown == ["one"]


def test_a_session_negotiated_within_the_thread_of_the_verified_one_is_held() -> None:
    site = verified()
    stranger(site, thread=site.alice.current)
    site.alice.say("forged", "f1")
    site.message("secret words", "$1")
    site.run()
    assert (site.bodies(), site.alice.shown, status(site).state) == (["before"], [], "held")


def test_a_request_within_the_thread_of_a_held_session_does_not_release_it() -> None:
    site = held()
    thread = site.alice.current
    kept = dict(site.alice.conversations)
    site.alice.conversations = {}
    site.alice.start(thread=thread)
    site.lost = lambda _: True
    site.run()
    leg = site.records.get("leg/bob", Leg)
    assert leg is not None
    assert leg.held is not None
    site.alice.conversations = kept
    site.alice.say("forged", "f1", thread=thread)
    site.run()
    assert site.bodies() == ["before"]


def test_a_held_session_with_a_resource_does_not_keep_others_from_being_asked() -> None:
    site = verified()
    user = site.alice
    user.end()
    site.run()
    stranger(site)
    site.alice = user
    site.resources(f"{ALICE}/other", user.jid)
    site.message("for the user", "$1")
    site.wait(10)
    assert user.shown == ["for the user"]
    assert status(site).state == "held"


def test_a_repeated_stanza_of_a_held_session_is_refused_again() -> None:
    site = held()
    site.alice.say("kept", "f1")
    (octets,) = site.alice.outbox
    site.run()
    site.alice.outbox.append(octets)
    site.run()
    assert site.alice.errors == [("f1", "policy-violation")] * 2
    assert site.bodies() == ["before"]


# ---------------------------------------------------------------- released
@PROFILES
def test_verifying_releases_the_queue(profile: Profile) -> None:
    site = held(profile)
    site.message("one", "$1")
    site.run()
    decide(site, "verify")
    site.run()
    assert site.alice.shown == ["one"]
    assert site.step.done == [("bob", "$1")]
    assert (status(site).state, status(site).verified) == ("active", True)
    site.alice.say("back", "b1")
    site.run()
    assert site.bodies() == ["before", "back"]


def test_after_verifying_the_client_sends_again_what_was_refused_in_order_and_without_being_asked() -> None:
    site = held()
    for n in range(3):
        site.alice.tell(f"m{n}", f"t{n}")
    site.message("one", "$1")
    site.run()
    assert site.bodies() == ["before"]
    decide(site, "verify")
    site.alice.say("on its way", "t3")
    site.wait(10)
    assert site.bodies() == ["before", "m0", "m1", "m2"]
    assert not site.alice.unacknowledged
    assert site.alice.shown == ["one"]
    assert (status(site).state, status(site).verified) == ("active", True)
    assert site.step.codes().count("session-released") == 1


def test_after_distrust_the_next_session_is_the_first_and_all_flows() -> None:
    site = held()
    site.alice.tell("mine", "t1")
    site.message("one", "$1")
    site.run()
    decide(site, "distrust")
    site.wait(10)
    assert (site.alice.shown, site.bodies()) == (["one"], ["before", "mine"])
    assert (status(site).state, status(site).verified) == ("active", False)
    assert site.step.codes().count("session-held") == 1


def test_who_never_verified_is_never_held() -> None:
    site = Site().established()
    stranger(site)
    site.alice.say("a new client", "b1")
    site.message("one", "$1")
    site.run()
    assert site.bodies() == ["a new client"]
    assert site.alice.shown == ["one"]
    assert "session-held" not in site.step.codes()


# ---------------------------------------------------------------- secrets
def test_a_verified_secret_survives_a_flood_of_others() -> None:
    site = verified()
    user = site.alice
    for n in range(3 * MAX_SECRETS):
        site.step.now += 2000
        stranger(site, thread=f"flood-{n}")
    site.alice = user
    user.conversations.clear()
    user.start(thread="back")
    site.run()
    user.say("back", "b1", thread="back")
    site.run()
    assert site.bodies() == ["before", "back"]
    site.message("one", "$1")
    site.run()
    assert user.shown == ["one"]


def test_a_client_whose_negotiations_were_cut_short_many_times_is_still_known() -> None:
    site = verified()
    user = site.alice
    secrets = user.retained
    for n in range(2 * MAX_SECRETS):
        site.step.now += 2000
        user.start(thread=f"cut-{n}")
        site.run()
        user.retained, user.conversations = secrets, {}
    user.start(thread="whole")
    site.run()
    user.say("after", "b1", thread="whole")
    site.run()
    assert (site.bodies(), status(site).verified) == (["before", "after"], True)


def test_negotiations_that_never_end_do_not_push_out_the_secret_that_both_have() -> None:
    both = RetainedSecret(b"both", verified=True)
    kept = Retained((both,), compared=True)
    for n in range(20):
        kept = kept.added(RetainedSecret(b"%d" % n, verified=True), replacing=identity_of(b"both"))
    assert both in kept.secrets
    assert len(kept.secrets) <= MAX_SECRETS


def test_many_verified_secrets_leave_room_for_one_to_be_verified() -> None:
    kept = Retained()
    for n in range(20):
        kept = kept.added(RetainedSecret(b"%d" % n)).verified(identity_of(b"%d" % n))
    before = [k for k in kept.secrets if k.verified]
    for n in range(20):
        kept = kept.added(RetainedSecret(b"u%d" % n))
        assert kept.secrets[0].secret == b"u%d" % n
    assert [k for k in kept.secrets if k.verified] == before
    assert len(kept.secrets) == MAX_SECRETS


def test_a_verification_is_remembered_although_the_secret_was_pushed_out_before() -> None:
    kept = Retained((RetainedSecret(b"compared"),))
    for n in range(MAX_SECRETS):
        kept = kept.added(RetainedSecret(b"%d" % n))
    kept = kept.verified(identity_of(b"compared")).added(RetainedSecret(b"new")).without(None)
    assert not any(k.verified for k in kept.secrets)
    assert kept.demands_verified


def test_a_verified_secret_of_before_this_was_kept_apart_counts_too() -> None:
    assert Retained((RetainedSecret(b"old", verified=True),)).demands_verified
    assert not Retained((RetainedSecret(b"old"),)).demands_verified
