"""A string of the XEP's own kind can be tried out (decision 0089): it is called weak, and counts with consent only."""

from dataclasses import replace

from adapters.xmpp.inside_policy import read_policy
from crypto.esession import names
from crypto.esession.profiles import Profile
from tests.unit.client_world import World
from tests.unit.companion_desk import Desk
from tests.unit.test_xmpp_held_sessions import status
from tests.unit.test_xmpp_policy import site_with
from tests.unit.xmpp_site import DEPLOYED_TERMS, Site

WEAK, CONSENT = "verify", "verify-weak-string"


def decided(site: Site, decision: str) -> str:
    """The code that the operator is given."""
    codes: list[str] = []
    site.do(lambda: codes.append(site.half.trust(site.step, site.bob, decision)))
    return codes[0]


def weak(site: Site, profile: Profile = Profile.LETTER) -> Site:
    """A session whose string is of the XEP's own kind."""
    site.alice.terms = replace(site.alice.terms, sas_algs=(names.SAS,))
    return site.established(profile)


# ---------------------------------------------------------------- the gateway
def test_the_status_says_of_which_kind_the_string_is() -> None:
    assert status(Site().established()).sas_bound
    found = status(weak(Site()))
    assert found.sas is not None
    assert not found.sas_bound


def test_a_deployed_peer_has_the_weak_string_only() -> None:
    site = Site()
    site.alice.terms = DEPLOYED_TERMS
    site.established(Profile.DEPLOYED)
    assert (status(site).sas_bound, decided(site, WEAK)) == (False, "weak-string")


def test_a_weak_string_does_not_verify_without_consent() -> None:
    site = weak(Site())
    assert decided(site, WEAK) == "weak-string"
    assert not status(site).verified
    assert decided(site, CONSENT) == "ok"
    assert status(site).verified


def test_consent_to_a_weak_string_is_no_hindrance_where_the_string_is_bound() -> None:
    site = Site().established()
    assert decided(site, CONSENT) == "ok"
    assert status(site).verified


def test_where_weak_strings_are_refused_no_consent_helps() -> None:
    site = weak(site_with({"weak-string": "refuse"}))
    assert decided(site, CONSENT) == "weak-string-refused"
    assert not status(site).verified


def test_where_weak_strings_are_refused_a_session_does_not_inherit_a_verification_and_is_held() -> None:
    site = site_with({"weak-string": "refuse"}).established()
    site.alice.say("before", "a0")
    site.run()
    assert decided(site, WEAK) == "ok"
    site.alice.end()
    site.run()
    site.alice.terms = replace(site.alice.terms, sas_algs=(names.SAS,))
    site.alice.start(Profile.LETTER, "weak")
    site.run()
    found = status(site)
    assert (found.state, found.verified, found.sas_bound) == ("held", False, False)
    site.message("for the user", "$1", site.bob)
    site.run()
    assert site.alice.shown == []


def test_by_default_a_weak_session_that_continues_a_verified_one_counts() -> None:
    site = Site().established()
    site.alice.say("before", "a0")
    site.run()
    assert decided(site, WEAK) == "ok"
    site.alice.end()
    site.run()
    weak(site)
    assert (status(site).state, status(site).verified) == ("active", True)


def test_unless_the_operator_says_otherwise_they_are_accepted() -> None:
    assert read_policy({}).weak_string == "accept"


# ---------------------------------------------------------------- the client
def test_the_client_shows_the_kind_of_the_string_and_asks_for_consent() -> None:
    world = World()
    world.bob.contact._settings = replace(  # the other end knows only the XEP's string
        world.bob.contact._settings, terms=replace(world.bob.contact._settings.terms, sas_algs=(names.SAS,))
    )
    world.meet()
    world.alice.say("hello")
    world.run()
    assert world.alice.contact.view().weak_string
    assert not world.alice.contact.verify()
    assert not world.alice.contact.view().verified
    assert world.alice.contact.verify(weak_string=True)
    assert world.alice.contact.view().verified


# ---------------------------------------------------------------- the companion
def test_the_companion_asks_for_a_second_word_before_a_weak_string_counts() -> None:
    desk = Desk().online()
    desk.bob.terms = replace(desk.bob.terms, sas_algs=(names.SAS,))
    desk.write("alpha")
    assert "can be forged" in desk.command("status")
    told = desk.command(f"verify bob {desk.bob.sas}")
    assert "anyway" in told
    assert "not verified" in desk.command("status")
    assert "verified" in desk.command(f"verify bob {desk.bob.sas} anyway")
    assert "not verified" not in desk.command("status")
