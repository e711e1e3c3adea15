"""Properties of offline ESessions: changes are refused, nothing is taken twice or late; online is no weaker."""

import base64
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from crypto.errors import PeerFault
from crypto.esession import keys, names, payloads
from crypto.esession.conversation import Event, receive
from crypto.esession.forms import read_form
from crypto.esession.normal_form import CANONICAL, CLOSING_FIELDS, normal_form
from crypto.esession.offline_accepting import offline_form
from crypto.esession.offline_content import Way, opened, sealed
from crypto.esession.offline_options import SIGNATURES, Audience, OptionSet
from crypto.esession.offline_publishing import LIFETIME_MS, Shelf
from crypto.esession.offline_refusals import OfflineFlaw, OfflineRefusal
from crypto.esession.offline_time import read_time, write_time
from crypto.esession.payloads import kind_of
from crypto.esession.profiles import TRAITS, Profile
from crypto.esession.retained import Retained
from crypto.esession.session import Session
from crypto.esession.suite import Suite, exchange
from crypto.xml import Element, parse, serialize
from tests.unit.esession_keys import ed25519, keyed
from tests.unit.esession_world import End, negotiate, plain
from tests.unit.esession_world import message as online_message
from tests.unit.offline_world import FAST, NOW, PLAIN, Dice, Publisher, Sender, follow_up, message

QUICK = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])

ALICE = Publisher()
FORM = ALICE.publish()
ONCE = message(Sender().write(FORM))
SHELF = ALICE.shelf


def back() -> Publisher:
    """Alice, before she has read anything."""
    return Publisher(shelf=SHELF)


# ---------------------------------------------------------------------------------------------------- any change
def texts_of(element: Element, path: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """Where there is text."""
    for number, child in enumerate(element.children):
        if isinstance(child, Element):
            yield from texts_of(child, (*path, number))
        else:
            yield (*path, number)


def changed(element: Element, path: tuple[int, ...], how: int) -> Element:
    """With one text changed: base64 in one octet, else by a letter."""
    child = element.children[path[0]]
    new = changed(child, path[1:], how) if isinstance(child, Element) else flipped(child, how)
    return replace(element, children=(*element.children[: path[0]], new, *element.children[path[0] + 1 :]))


def flipped(text: str, how: int) -> str:
    try:
        octets = base64.b64decode(text, validate=True) if len(text) >= 8 else b""
    except ValueError:
        octets = b""
    if not octets:
        return text + "x" if how % 2 else "x" + text
    place = how % len(octets)
    return base64.b64encode(octets[:place] + bytes([octets[place] ^ (1 + how % 255)]) + octets[place + 1 :]).decode()


@QUICK
@given(st.data(), st.integers(0, 10_000))
def test_a_stanza_with_any_text_changed_is_refused(data: st.DataObject, how: int) -> None:
    path = data.draw(st.sampled_from(sorted(texts_of(ONCE))))
    alice = back()
    with pytest.raises(OfflineRefusal):
        alice.take(changed(ONCE, path, how))
    assert alice.shelf == SHELF, "nothing was noted"
    assert alice.take(ONCE).content[0].text == "Hello, Alice!"


@QUICK
@given(st.data())
def test_a_stanza_with_a_field_dropped_doubled_or_moved_is_refused(data: st.DataObject) -> None:
    x = offline_form(ONCE)
    assert x is not None
    fields = list(x.children)
    place = data.draw(st.integers(0, len(fields) - 1))
    what = data.draw(st.sampled_from(["drop", "double", "swap", "insert"]))
    field = fields[place]
    if what == "drop":
        del fields[place]
    elif what == "double":
        fields.insert(place, field)
    elif what == "insert":
        fields.insert(place, Element(names.DATA, "field", (("var", "new"),), (Element(names.DATA, "value"),)))
    else:
        other = (place + 1) % len(fields)
        fields[place], fields[other] = fields[other], fields[place]
        # `identity` and `mac` are taken out of the form before it is normalised: where they stand does not matter.
        moved = (field, fields[place])
        assume(not any(f.attribute("var") in CLOSING_FIELDS for f in moved if isinstance(f, Element)))
    init = ONCE.elements[0]
    stanza = replace(ONCE, children=(replace(init, children=(replace(x, children=tuple(fields)),)), *ONCE.elements[1:]))
    with pytest.raises(OfflineRefusal):
        back().take(stanza)


@QUICK
@given(st.data(), st.integers(0, 10_000))
def test_options_with_any_text_changed_are_not_used(data: st.DataObject, how: int) -> None:
    path = data.draw(st.sampled_from(sorted(texts_of(FORM))))
    with pytest.raises(OfflineRefusal):
        Sender().judged(changed(FORM, path, how))


# ---------------------------------------------------------------------------------------------------- once, in time
@FEW
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=25))
def test_whatever_is_delivered_however_often_each_stanza_is_taken_once(delivered: list[tuple[int, bool]]) -> None:
    alice, bob = Publisher(), Sender()
    forms = [alice.publish(), alice.publish()]
    stanzas = [message(bob.write(forms[number % 2], f"<body>{number}</body>".encode())) for number in range(6)]
    taken: list[str] = []
    for number, stored in delivered:
        if stored:  # the enclave put its state away and got it back
            alice.shelf = msgspec.msgpack.decode(msgspec.msgpack.encode(alice.shelf), type=Shelf)
        if str(number) in taken:
            with pytest.raises(OfflineRefusal) as refused:
                alice.take(stanzas[number])
            assert refused.value.flaw is OfflineFlaw.REPLAYED
        else:
            taken.append(alice.take(stanzas[number]).content[0].text)
    assert sorted(taken) == sorted({str(number) for number, _ in delivered})


@QUICK
@given(st.integers(-LIFETIME_MS, 3 * LIFETIME_MS))
def test_nothing_is_sealed_or_opened_beyond_the_time_of_the_options(offset: int) -> None:
    now_ms = NOW + offset
    alice, opens = back(), offset + 5 * 60_000 >= 0 and offset < LIFETIME_MS
    if opens:
        assert alice.take(ONCE, now_ms=now_ms).content
    else:
        with pytest.raises(OfflineRefusal) as refused:
            alice.take(ONCE, now_ms=now_ms)
        assert refused.value.flaw is OfflineFlaw.EXPIRED
    with suppress(OfflineRefusal):
        Sender().judged(FORM, now_ms=now_ms)
        assert now_ms < NOW + LIFETIME_MS
    assert all(s.expires_ms > now_ms for s in alice.shelf.tended(now_ms).sets)


@QUICK
@given(st.text(max_size=20))
def test_options_for_a_resource_open_nothing_that_came_for_another(resource: str) -> None:
    alice = Publisher()
    stanza = message(Sender().write(alice.publish(match=True)))
    if resource == alice.resource:
        alice.take(stanza, resource=resource)
        return
    with pytest.raises(OfflineRefusal) as refused:
        alice.take(stanza, resource=resource)
    assert refused.value.flaw is OfflineFlaw.MISDIRECTED


@QUICK
@given(st.lists(st.binary(min_size=1, max_size=60).map(lambda b: f"<body>{b.hex()}</body>".encode()), max_size=6))
def test_a_session_delivers_what_was_sealed_in_order(contents: list[bytes]) -> None:
    alice, bob = Publisher(), Sender()
    begun = bob.write(alice.publish(), once=False)
    receiving, sending = alice.take(message(begun)).way, begun.way
    assert sending is not None
    for content in contents:
        assert receiving is not None
        receiving = msgspec.msgpack.decode(msgspec.msgpack.encode(receiving), type=Way)
        sending, c = sealed(sending, content)
        receiving, elements = opened(receiving, follow_up(c), now_ms=NOW)
        assert serialize(elements[0], inherited="jabber:client") == content


@QUICK
@given(st.integers(0, 253_402_300_799_999))
def test_a_time_is_read_as_it_was_written(at_ms: int) -> None:
    assert read_time(write_time(at_ms)) == at_ms // 1000 * 1000


# ---------------------------------------------------------------------------------------------------- online
ONLINE = {"alice": ed25519("alice"), "bob": ed25519("bob")}


def online() -> tuple[End, End, list[Element]]:
    """A session in 4 messages of the very same two, and all that went over the wire."""
    alice = End("on-a", keyed(ONLINE["alice"], ONLINE["bob"].public))
    bob = End("on-b", keyed(ONLINE["bob"], ONLINE["alice"].public))
    assert negotiate(alice, bob) == (Event.ESTABLISHED, Event.ESTABLISHED)
    return alice, bob, [online_message(r) for o in (*alice.outcomes, *bob.outcomes) for r in o.replies]


def test_whoever_has_every_offline_secret_can_neither_read_nor_write_online() -> None:
    """The published sets, the used ones, the senders' too: none of it is a key of an online session."""
    offline = Publisher()
    bob_offline = Sender(offer=PLAIN)
    for offer in (PLAIN, FAST):
        form = offline.publish(offer)
        with suppress(OfflineRefusal):
            offline.take(message(bob_offline.write(form)))
    alice, bob, wire = online()
    stolen = [s for kept in offline.shelf.sets for s in kept.secrets]
    forms = [x for x in map(payloads.negotiation_form, wire) if x is not None]
    publics = {p for x in forms for p in publics_of(x)}
    assert publics, "the exchange was seen"
    assert alice.session.sending.cipher_key in repr_of(alice.session), "its keys would be found"
    for secret in stolen:
        group = exchange(secret.group)
        assert group.public(secret.secret) not in publics
        for public in publics:
            with suppress(PeerFault):
                k = keys.key_from_exchange(group.shared(public, secret.secret))
                _require_no_key(alice.session, k)
    assert all(kept.nonce not in nonces_of(x) for kept in offline.shelf.sets for x in forms)
    assert bob.take(alice.send(b"<body>online</body>")).content[0].text == "online"


def publics_of(x: Element) -> set[bytes]:
    form, found = read_form(x), set()
    for var in ("dhkeys", names.GROUP_KEYS):
        if form.field(var) is not None:
            found |= set(form.octet_strings(var, 1, 1100))
    return found


def nonces_of(x: Element) -> set[bytes]:
    form = read_form(x)
    return {form.octets(var, 1, 64) for var in ("my_nonce", "nonce") if form.field(var) is not None}


def _require_no_key(session: Session, k: bytes) -> None:
    for role in keys.Role:
        for suite in (Suite(), session.agreed.suite):
            made = keys.direction_keys(k, role, TRAITS[Profile.LETTER], suite)
            assert made.cipher not in repr_of(session)
            assert made.mac not in repr_of(session)


def repr_of(session: Session) -> bytes:
    """All octets of a session, secrets too."""
    return msgspec.msgpack.encode(session)


@pytest.mark.parametrize("audience", list(Audience))
def test_published_options_begin_no_online_negotiation(audience: Audience) -> None:
    """Sent as a request in the publisher's name, they are nothing that a responder answers."""
    form = Publisher().publish(PLAIN, audience=audience)
    stanza = plain(payloads.feature(form).decode())
    payload = kind_of(stanza)
    assert payload is not payloads.Payload.REQUEST
    end = End("bob", keyed(ONLINE["bob"], ONLINE["alice"].public))
    outcome = receive(None, stanza, terms=end.terms, retained=Retained(), draw=Dice("x"))
    assert outcome.event is not Event.ANSWERED
    assert outcome.conversation is None


def test_an_offline_stanza_makes_no_online_session_and_an_online_one_no_offline_session() -> None:
    alice = End("alice", keyed(ONLINE["alice"], ONLINE["bob"].public))
    alice.initiate()
    outcome = alice.take(replace(ONCE, children=(*ONCE.children, *plain("").elements[:1])))
    assert outcome.event not in (Event.ESTABLISHED, Event.CONTENT, Event.ANSWERED, Event.PROVED)
    assert not outcome.content
    _, _, wire = online()
    for stanza in wire:
        x = payloads.negotiation_form(stanza)
        if x is None:
            continue
        with pytest.raises(OfflineRefusal):
            back().introduced(
                replace(stanza, children=(Element(names.INIT, "init", (), (_as_submit(x),)),)), resource="pda"
            )


def _as_submit(x: Element) -> Element:
    return replace(x, attributes=(("type", "submit"),))


def test_a_signature_of_options_is_none_of_a_negotiation() -> None:
    """Online the MAC is signed, as long as a hash; offline the form, which is always longer."""
    form = Publisher().publish()
    assert len(normal_form(form, CANONICAL, without={SIGNATURES})) > 64
    assert OptionSet.__module__ != Session.__module__


def test_the_form_that_was_changed_is_the_one_that_was_refused() -> None:
    """The tests above change what is authenticated, not what is around it."""
    assert parse(serialize(FORM)) == FORM
    assert back().take(parse(serialize(ONCE))).content
