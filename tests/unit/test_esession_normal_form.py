"""The normal form: what every reading of the clause makes of a form, and that each is recognised."""

from dataclasses import replace

import pytest

from crypto.esession import initiator
from crypto.esession.conversation import Event
from crypto.esession.normal_form import AS_DEPLOYED, CANONICAL, READINGS, Reading, distinct_readings, normal_form
from crypto.esession.payloads import feature, negotiation_form
from crypto.esession.profiles import Profile
from crypto.xml import Element, parse, serialize
from tests.unit.esession_world import End, message, plain

FORM = parse(
    b"""<x xmlns='jabber:x:data' type='form'><title> A &amp; B </title> <field var='a' type="t" label='it&apos;s "so"'>
  <value> 1 &lt; 2 </value><required/>
</field>text<field var='mac'><value/></field></x>"""
)
QUOTED = '"it\'s &quot;so&quot;"'


def test_the_deployed_reading() -> None:
    assert normal_form(FORM, AS_DEPLOYED).decode() == (
        f'<title> A &amp; B </title><field label={QUOTED} type="t" var="a">\n'
        '  <value> 1 &lt; 2 </value><required />\n</field><field var="mac"><value /></field>'
    )


def test_the_canonical_reading() -> None:
    assert normal_form(FORM, CANONICAL).decode() == (
        f'<title> A &amp; B </title><field label={QUOTED} type="t" var="a">'
        '<value> 1 &lt; 2 </value><required></required></field><field var="mac"><value></value></field>'
    )


def test_single_quotes_are_escaped_where_they_delimit() -> None:
    single = Reading("'", paired=True, spaced=False)
    assert b"label='it&apos;s &quot;so&quot;' type='t'" in normal_form(FORM, single)


def test_closing_fields_are_left_out_and_nothing_else() -> None:
    whole = normal_form(FORM, CANONICAL)
    assert normal_form(FORM, CANONICAL, without={"mac"}) == whole.replace(
        b'<field var="mac"><value></value></field>', b""
    )


def test_all_readings_of_a_decorated_form_differ() -> None:
    assert len({normal_form(FORM, reading) for reading in READINGS}) == len(READINGS) == 8


def test_all_readings_of_our_own_forms_agree_but_for_quotes() -> None:
    alice, bob = End("a"), End("b")
    one = alice.initiate()
    two = message(bob.take(one).replies[0])
    three = message(alice.take(two).replies[0])
    four = message(bob.take(three).replies[0])
    for stanza in (one, two, three, four):
        x = negotiation_form(stanza)
        assert x is not None
        assert len({normal_form(x, reading).replace(b"'", b'"') for reading in READINGS}) == 1


def decorated(x: Element) -> Element:
    """A request as other clients write it: labels, required fields, white space."""
    text = (
        serialize(x)
        .decode()
        .replace("</field>", " <required/>\n </field>\n ")
        .replace('var="accept"', 'label="x" var="accept"')
    )
    return parse(text.encode())


@pytest.mark.parametrize("profile", list(Profile))
@pytest.mark.parametrize("reading", READINGS)
def test_whatever_reading_the_initiator_has_is_recognised(
    reading: Reading, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(initiator, "own_reading", lambda _profile: reading)
    alice, bob = End("a"), End("b")
    x = negotiation_form(alice.initiate(profile))
    assert x is not None
    written = decorated(x)
    assert alice.conversation is not None
    assert alice.conversation.offered is not None
    offered = replace(alice.conversation.offered, request=serialize(written))
    alice.conversation = replace(alice.conversation, offered=offered)
    bob.take(plain(feature(written).decode()))
    bob.take(message(alice.take(message(bob.last.replies[0])).replies[0]))
    assert bob.last.event is Event.ESTABLISHED
    assert alice.take(message(bob.last.replies[0])).event is Event.ESTABLISHED
    assert bob.session.profile is alice.session.profile is profile
    assert bob.session.sas == alice.session.sas
    assert [e.text for e in alice.take(bob.send(b"<body>hi</body>")).content] == ["hi"]


@pytest.mark.parametrize("kind", ["clean", "empty", "mixed", "both"])
def test_the_distinct_readings_of_a_form_give_every_normal_form_that_it_has(kind: str) -> None:
    empty = "<required/>" if kind in ("empty", "both") else ""
    white = "<option> <value>a</value></option>" if kind in ("mixed", "both") else "<option><value>a</value></option>"
    form = parse(f"<x xmlns='jabber:x:data'><field var='v'>{empty}{white}</field></x>".encode())
    distinct = distinct_readings(form)
    assert len(distinct) == {"clean": 2, "empty": 4, "mixed": 4, "both": 8}[kind]
    assert {normal_form(form, r) for r in distinct} == {normal_form(form, r) for r in READINGS}
