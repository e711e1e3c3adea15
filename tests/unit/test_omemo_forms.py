"""Devices and trust by forms (XEP-0050), inside a session with the gateway itself."""

import xml.etree.ElementTree as ET

import pytest

from adapters.control import inside_words as words
from adapters.xmpp.outside_commands import plain_command
from adapters.xmpp.sentences import explanation
from crypto.omemo.fingerprints import fingerprint, trust_uri, uri
from crypto.xml import Element
from tests.unit.test_control import FORM, command, fields, note
from tests.unit.test_omemo_decisions import DESKTOP, PHONE, OmemoDesk

KEYS = {"phone": PHONE.identity.hex(), "desktop": DESKTOP.identity.hex()}


@pytest.fixture
def desk() -> OmemoDesk:
    """Alice, in a session that the operator has verified; two devices of hers, trusted blindly."""
    return OmemoDesk().established()


def options(answer: Element, name: str) -> list[str]:
    """The values that a field offers."""
    form = answer.child(FORM, "x")
    assert form is not None
    found = next(e for e in form.elements if e.attribute("var") == name)
    return [e.elements[0].text for e in found.elements if e.name == "option"]


def session(answer: Element) -> str:
    """Its session."""
    return answer.attribute("sessionid") or ""


def test_the_devices_are_listed_with_their_state(desk: OmemoDesk) -> None:
    _, answer = desk.asks(command("devices"))
    assert answer.attribute("status") == "completed"
    told = fields(answer)["told"]
    assert told[:2] == ["Device 11: trusted, not verified", fingerprint(PHONE.identity)]


@pytest.mark.parametrize(("decision", "state"), [("trust", "verified"), ("distrust", "distrusted")])
def test_a_device_is_chosen_compared_and_decided_about(desk: OmemoDesk, decision: str, state: str) -> None:
    _, first = desk.asks(command("trust"))
    assert options(first, "device") == list(KEYS.values())
    assert options(first, "decision") == ["trust", "distrust"]
    chosen = {"device": KEYS["phone"], "decision": decision}
    _, second = desk.asks(command("trust", session(first), "next", **chosen))
    seen = fields(second)
    assert fingerprint(PHONE.identity) in seen["shown"]
    assert (seen["device"], seen["decision"]) == ([KEYS["phone"]], [decision])
    assert options(second, "same") == ["no", "yes"]
    assert desk.states == {11: "blind", 22: "blind"}
    _, third = desk.asks(command("trust", session(second), "next", same="yes", **chosen))
    assert (third.attribute("status"), note(third)) == ("completed", "That is noted.")
    assert desk.states == {11: state, 22: "blind"}


@pytest.mark.parametrize("decision", ["trust", "distrust"])
def test_who_does_not_see_the_same_decides_nothing(desk: OmemoDesk, decision: str) -> None:
    _, answer = desk.asks(command("trust", "x", "next", device=KEYS["phone"], decision=decision, same="no"))
    assert note(answer) == words.LEFT[decision]
    assert desk.states == {11: "blind", 22: "blind"}


@pytest.mark.parametrize(
    "answers",
    [
        {"device": "ab" * 32, "decision": "trust", "same": "yes"},
        {"device": KEYS["phone"], "decision": "verify", "same": "yes"},
        {"device": KEYS["phone"], "same": "yes"},
        {"decision": "trust", "same": "yes"},
        {"device": "11", "decision": "trust", "same": "yes"},
        {"device": KEYS["phone"], "decision": "trust", "same": "maybe"},
    ],
)
def test_a_form_that_does_not_say_what_was_compared_asks_again(desk: OmemoDesk, answers: dict[str, str]) -> None:
    _, answer = desk.asks(command("trust", "x", "next", **answers))
    assert answer.attribute("status") == "executing"
    assert desk.states == {11: "blind", 22: "blind"}


def test_in_a_session_that_nobody_compared_devices_are_read_and_nothing_is_decided() -> None:
    desk = OmemoDesk().established(verified=False)
    _, listed = desk.asks(command("devices"))
    assert words.NOTE_UNVERIFIED in fields(listed)["told"]
    for stage in ({}, {"device": KEYS["phone"], "decision": "trust"}):
        _, answer = desk.asks(command("trust", **stage))
        assert (answer.attribute("status"), note(answer)) == ("completed", words.UNVERIFIED)
    _, answer = desk.asks(command("trust", "x", "next", device=KEYS["phone"], decision="trust", same="yes"))
    assert note(answer) == words.UNVERIFIED
    assert desk.states == {11: "blind", 22: "blind"}


def test_going_back_asks_for_the_device_again(desk: OmemoDesk) -> None:
    _, answer = desk.asks(command("trust", "x", "prev", device=KEYS["phone"], decision="trust", same="yes"))
    assert options(answer, "device") == list(KEYS.values())
    assert desk.states == {11: "blind", 22: "blind"}


def test_a_trust_form_is_cancelled(desk: OmemoDesk) -> None:
    _, answer = desk.asks(command("trust", "x", "cancel"))
    assert answer.attribute("status") == "canceled"
    assert desk.states == {11: "blind", 22: "blind"}


def test_fingerprints_carry_the_addresses_to_copy(desk: OmemoDesk) -> None:
    found = next(leg.device for leg in desk.chamber.status(1).legs if leg.contact == "bob" and leg.device is not None)
    _, answer = desk.asks(command("fingerprints", contact="bob"))
    told, key = fields(answer), bytes.fromhex(found.key)
    assert told["uri"] == [uri("bob@gate.example", {found.id: key})]
    assert told["uri-kaidan"] == [trust_uri("bob@gate.example", key)]


def test_in_plain_a_command_is_refused_with_what_to_write_where() -> None:
    iq = ET.fromstring(f"<iq type='set'>{command('trust')}</iq>")
    assert plain_command(iq)
    said = explanation("command-in-plain").sentence
    assert "OMEMO does not encrypt commands" in said
    assert "“trust”" in said
