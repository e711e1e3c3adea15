"""A lying server between ESessions and OMEMO: what was compared in one of them is not undone by the other."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_arrivals import key_decided
from adapters.xmpp.inside_omemo_own import store_in
from adapters.xmpp.inside_omemo_trust import keys_in
from adapters.xmpp.inside_trust import verify
from bridge.wire.values import Sealed
from crypto.message import Standing
from crypto.omemo.bundles import bundle_element
from crypto.omemo.device import own, public_bundle
from crypto.omemo.fingerprints import fingerprint
from crypto.xml import serialize
from tests.unit.omemo_desk import BUNDLES, OLD, Desk
from tests.unit.omemo_site import AXOLOTL, OMEMO_2, OmemoSite
from tests.unit.test_xmpp_omemo_devices import PHONE
from tests.unit.xmpp_site import ALICE, BOB, Alice


def compare_session(site: OmemoSite) -> None:
    """The operator compared the string of the session."""
    codes: list[str] = []

    def act() -> None:
        at = LegStep(site.step, site.bob)
        codes.append(verify(at))
        at.finish()

    site.do(act)
    assert codes == ["ok"]
    site.run()


def compare_device(site: OmemoSite) -> None:
    """The operator compared the fingerprint of the device that was met first."""
    key = fingerprint(keys_in(site.records).known[0].identity)
    codes: list[str] = []
    site.do(lambda: codes.append(key_decided(LegStep(site.step, site.bob), "verify", key, "operator")))
    assert codes == ["ok"]
    site.run()


@pytest.fixture
def planted() -> Iterator[OmemoSite]:
    """Alice's session is compared. Her server says that she has an OMEMO device, too."""
    site = OmemoSite(AXOLOTL)
    site.established()
    compare_session(site)
    yield site
    site.close()


@pytest.fixture
def forged() -> Iterator[OmemoSite]:
    """Alice's OMEMO device is compared. Her server says that she has a client with ESessions, too."""
    site = OmemoSite(AXOLOTL)
    site.devices[0].say("hi", "a0")
    site.run()
    compare_device(site)
    site.resources(site.alice.jid)
    yield site
    site.close()


# ---------------------------------------------------------------- a session is compared, a device is planted
def test_a_planted_device_is_shown_no_copy_of_what_goes_out_in_a_compared_session(planted: OmemoSite) -> None:
    planted.message("secret", "$1")
    planted.run()
    assert planted.alice.shown == ["secret"]
    assert planted.devices[0].shown == []
    assert "omemo-unverified" in [str(c.values["code"].v) for c in planted.sent("notice")]


def test_with_her_presence_hidden_messages_wait_and_do_not_go_to_a_planted_device(planted: OmemoSite) -> None:
    planted.resources()
    planted.message("secret", "$1")
    planted.wait(120)
    assert planted.devices[0].shown == []
    compare_device(planted)
    assert planted.devices[0].shown == ["secret"]


def test_with_a_session_that_is_held_messages_do_not_go_to_a_planted_device(planted: OmemoSite) -> None:
    planted.resources()
    planted.alice = Alice()  # somebody in between, who shares no secret
    planted.resources(planted.alice.jid)
    planted.alice.start()
    planted.run()
    planted.message("secret", "$1")
    planted.wait(120)
    assert planted.alice.shown == planted.devices[0].shown == []


def test_what_a_planted_device_writes_is_refused(planted: OmemoSite) -> None:
    planted.devices[0].say("I am Alice", "a1")
    planted.run()
    assert planted.bodies() == []
    assert planted.devices[0].errors == [("a1", "policy-violation")]
    (status,) = planted.half.status(planted.records, planted.step.account)
    assert status.device is not None
    assert [device.state for device in status.device.devices] == ["undecided"]


def test_who_pins_keys_or_sets_a_password_for_sessions_does_not_get_any_device_in_their_place() -> None:
    for named in ({"password": "a long password of theirs"}, {"fingerprints": "00" * 32}):
        site = OmemoSite(AXOLOTL, options=named)
        site.message("secret", "$1")
        site.devices[0].say("I am Alice", "a1")
        site.wait(120)
        assert site.devices[0].shown == []
        assert site.bodies() == []
        site.close()


# ---------------------------------------------------------------- a device is compared, a client is forged
def test_after_a_device_was_compared_no_message_goes_out_in_a_session_that_nobody_compared(forged: OmemoSite) -> None:
    forged.message("secret", "$1")
    forged.wait(120)
    assert forged.alice.shown == []
    assert forged.devices[0].shown == ["secret"]


def test_what_comes_in_such_a_session_is_refused_until_its_string_is_compared(forged: OmemoSite) -> None:
    forged.alice.start()
    forged.run()
    forged.alice.say("I am Alice", "e1")
    forged.run()
    assert forged.bodies() == ["hi"]
    compare_session(forged)
    forged.alice.start()
    forged.run()
    forged.alice.say("I am Alice", "e2")
    forged.run()
    assert forged.bodies() == ["hi", "I am Alice"]
    assert forged.step.deliveries[1][1].standing is Standing.VERIFIED


def test_a_session_that_stands_when_a_device_is_compared_is_held_and_its_messages_go_by_omemo() -> None:
    site = OmemoSite(AXOLOTL)
    site.devices[0].say("hi", "a0")
    site.run()
    site.established()
    site.alice.receipts = False
    compare_device(site)
    site.message("secret", "$1")
    site.alice.say("I am Alice", "e1")
    site.run()
    assert site.alice.shown == []
    assert site.devices[0].shown == ["secret"]
    assert site.bodies() == ["hi"]
    site.close()


def switch(site: OmemoSite, word: str) -> None:
    """The operator turns OMEMO on or off for the contact, and restarts."""
    site.bob = replace(site.bob, options={**site.bob.options, "omemo": word})
    site.step.account = replace(site.step.account, contacts=(site.bob,))
    site.start(resumed=True)
    site.run()


def test_a_session_that_nobody_compared_is_held_once_the_contact_becomes_an_omemo_device(forged: OmemoSite) -> None:
    switch(forged, "off")
    forged.established()
    switch(forged, "on")
    forged.message("secret", "$1")
    forged.alice.say("I am Alice", "e1")
    forged.wait(120)
    assert forged.alice.shown == []
    assert forged.devices[0].shown == ["secret"]
    assert forged.bodies() == ["hi"]


def test_a_session_that_was_held_for_a_device_is_not_once_the_contact_is_none_any_more(forged: OmemoSite) -> None:
    forged.alice.start()
    forged.run()
    forged.devices.clear()
    switch(forged, "off")
    forged.message("hello", "$1")
    forged.wait(120)
    assert forged.alice.shown == ["hello"]


# ---------------------------------------------------------------- a contact's keys are listed as the user's
def test_what_one_contact_writes_is_not_passed_on_to_another_whose_keys_a_server_lists_as_the_users() -> None:
    desk = Desk().begin()
    store = store_in(desk.records, desk.eve.id)
    eves = own(store)
    assert eves is not None
    desk.nodes.announce(PHONE)
    desk.nodes.listed(OLD, PHONE.device_id, eves.device_id)
    desk.nodes.held[BUNDLES[OLD], eves.device_id] = serialize(bundle_element(public_bundle(store, OLD))).decode()
    assert desk.ids() == [PHONE.device_id]
    assert desk.told == ["omemo-device-new"]
    desk.message("for Alice only", "$1")
    desk.settle()
    content = desk.sent("omemo")[0].values["content"]
    assert isinstance(content, Sealed)
    head = f"<message from='{ALICE}/x' to='{desk.eve.alias}' type='chat' id='x1'>"
    desk.arrive(head.encode() + content.v + b"</message>")
    assert desk.step.deliveries == []


# ---------------------------------------------------------------- what comes back
def test_an_error_about_what_was_said_beside_messages_by_omemo_ends_no_session() -> None:
    site = OmemoSite(OMEMO_2)
    site.established()
    site.devices[0].say("hi", "a1")
    site.run()
    (aside, *_) = site.stanza_ids("omemo-aside")
    error = "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
    site.arrive(f"<message from='{site.alice.jid}' to='{BOB}' type='error' id='{aside}'>{error}</message>".encode())
    site.message("hello", "$1")
    site.run()
    assert site.alice.shown == ["hello"]
    assert "session-lost" not in site.step.codes()
    site.close()


def test_what_came_back_goes_in_the_session_that_was_made_since_and_holds_up_nothing() -> None:
    site = OmemoSite(AXOLOTL)
    site.lost = lambda one: one.request == "omemo"
    site.message("came back", "$b")
    site.run()
    for _ in range(8):  # the pause doubles each time
        site.wait(700)
        site.answer(site.sent("omemo")[-1])
        (id_, *_) = site.stanza_ids("omemo")
        error = "<error type='wait'><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        site.arrive(f"<message from='{ALICE}' to='{BOB}/lockgate' type='error' id='{id_}'>{error}</message>".encode())
    site.established()
    for number in range(40):
        site.message(f"{number}", f"${number}")
        site.run()
    assert site.alice.shown == ["came back", *(f"{n}" for n in range(40))]
    site.close()
