"""Negotiations with keys, hybrid and in 3 messages: no change of any message leaves its taker with anything."""

from dataclasses import replace
from functools import partial

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from crypto.esession.conversation import Event
from crypto.esession.normal_form import CLOSING_FIELDS, READINGS, normal_form
from crypto.esession.payloads import negotiation_form
from crypto.esession.terms import Terms
from crypto.xml import Element, MalformedXml, parse, serialize
from tests.properties.test_esession_properties import fields_of, meddled, meddlings
from tests.unit.esession_keys import ed25519, keyed
from tests.unit.esession_world import Change, End, negotiate, negotiate_three, unchanged, with_form

QUICK = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ALICE, BOB = ed25519("alice"), ed25519("bob")
_RICH = {"groups": ("x25519", 14), "hashes": ("sha512",), "rekey_freq": 9}
ONE = replace(keyed(ALICE, BOB.public), **_RICH)  # type: ignore[arg-type]
OTHER = replace(keyed(BOB, ALICE.public), **_RICH)  # type: ignore[arg-type]
GAINED = {Event.ESTABLISHED, Event.ONCE_SENT, Event.CONTENT_ONCE, Event.CONTENT}
ALONE = b"<body>alone</body>"


def meddle(how: tuple[str, int, int, str], touched: list[str | None]) -> Change:
    """A change that notes the names of the fields that it touches."""

    def change_form(x: Element) -> Element:
        places = fields_of(x)
        for step in (0, 1) if how[0] == "swap" else (0,):
            field = x.children[places[(how[1] + step) % len(places)]]
            assert isinstance(field, Element)
            touched.append(field.attribute("var"))
        return meddled(x, how)

    return lambda stanza: with_form(stanza, change_form)


def is_closing(how: tuple[str, int, int, str], touched: list[str | None]) -> bool:
    """Whether only the way is changed in which `identity` and `mac` are written, which nothing covers."""
    return bool(CLOSING_FIELDS & set(touched)) and how[0] in ("type", "label", "swap")


def outcome_of(number: int, alice: End, bob: End) -> Event:
    """What came of it for the end that takes message `number`."""
    return (bob if number in (1, 3) else alice).last.event


@QUICK
@given(st.integers(1, 3), meddlings(), st.booleans())
def test_no_change_in_three_messages_goes_unnoticed(number: int, how: tuple[str, int, int, str], once: bool) -> None:
    touched: list[str | None] = []
    alice, bob = End("alice", ONE), End("bob", OTHER)
    change = meddle(how, touched)
    negotiate_three(alice, bob, change=change, at=number, once=ALONE if once else None)
    assume(not is_closing(how, touched))
    assert outcome_of(number, alice, bob) not in GAINED
    if number == 1:
        assert alice.last.event not in GAINED
        assert not any(b"<c " in reply.payload for outcome in alice.outcomes for reply in outcome.replies)
    assert bob.last.content == ()


@QUICK
@given(st.integers(1, 4), meddlings(), st.booleans())
def test_no_change_in_four_messages_with_keys_goes_unnoticed(
    number: int, how: tuple[str, int, int, str], with_password: bool
) -> None:
    touched: list[str | None] = []
    secret = b"correct horse" if with_password else None
    alice, bob = End("alice", replace(ONE, password=secret)), End("bob", replace(OTHER, password=secret))
    negotiate(alice, bob, change=meddle(how, touched), at=number)
    assume(not is_closing(how, touched))
    assert outcome_of(number, alice, bob) is not Event.ESTABLISHED


def replaced(x: Element, place: int, octet: int) -> Element | None:
    """The form with one octet replaced in what is covered; None when it is none any more, or means the same."""
    closing = [c for c in x.elements if c.attribute("var") in CLOSING_FIELDS]
    covered = Element(x.namespace, x.name, x.attributes, tuple(c for c in x.children if c not in closing))
    octets = bytearray(serialize(covered))
    at = place % len(octets)
    octets[at] = octet
    try:
        found = parse(bytes(octets))
    except MalformedXml:
        return None
    same = all(normal_form(found, r) == normal_form(covered, r) for r in READINGS) and found.attributes == x.attributes
    return None if same else Element(found.namespace, found.name, found.attributes, (*found.children, *closing))


@QUICK
@given(st.integers(1, 3), st.integers(0, 20_000), st.integers(32, 126))
def test_no_octet_of_three_messages_can_be_replaced(number: int, place: int, octet: int) -> None:
    changed: list[bool] = []

    def change(stanza: Element) -> Element:
        x = negotiation_form(stanza)
        assert x is not None
        other = replaced(x, place, octet)
        changed.append(other is not None)
        return with_form(stanza, lambda _: x if other is None else other)

    alice, bob = End("alice", ONE), End("bob", OTHER)
    negotiate_three(alice, bob, change=change, at=number)
    assume(changed == [True])
    assert outcome_of(number, alice, bob) not in GAINED


def test_what_is_not_changed_is_taken() -> None:
    for run in (negotiate, partial(negotiate_three, once=None)):
        alice, bob = End("alice", ONE), End("bob", OTHER)
        assert run(alice, bob, change=unchanged, at=1) == (Event.ESTABLISHED, Event.ESTABLISHED)
    assert isinstance(ONE, Terms)
