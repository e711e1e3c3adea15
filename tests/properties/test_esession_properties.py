"""Properties of ESessions: no change of any message goes unnoticed, content arrives as it was sent or not at all."""

import base64
from contextlib import suppress
from dataclasses import replace

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto.esession.conversation import Conversation, Event
from crypto.esession.normal_form import READINGS, normal_form
from crypto.esession.opening import open_stanza
from crypto.esession.payloads import kind_of
from crypto.esession.profiles import TRAITS, Profile
from crypto.esession.sealing import seal
from crypto.esession.session import ReceivingDirection, Session
from crypto.primitives.ciphers import counter_mode, hmac_sha256
from crypto.primitives.integers import from_octets, mpi
from crypto.xml import (
    CLIENT,
    Element,
    MalformedXml,
    element,
    escape_text,
    parse,
    parse_content,
    sanitise_text,
    serialize,
)
from tests.unit.esession_world import FAST, End, established, negotiate, with_form

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80).map(sanitise_text)
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9._-]{0,8}", fullmatch=True)


# ---------------------------------------------------------------------------------------------------- tampering
def fields_of(x: Element) -> list[int]:
    return [i for i, c in enumerate(x.children) if isinstance(c, Element) and c.name == "field"]


@st.composite
def meddlings(draw: st.DrawFn) -> tuple[str, int, int, str]:
    kinds = ["value", "drop", "double", "swap", "type", "label", "var", "add-value", "insert", "title"]
    return draw(st.sampled_from(kinds)), draw(st.integers(0, 40)), draw(st.integers(0, 255)), draw(names)


def flipped(value: str, at: int) -> str:
    """Another value: of base64 another octet, else another letter."""
    try:
        octets = base64.b64decode(value, validate=True) if len(value) >= 12 else b""
    except ValueError:
        octets = b""
    if octets:
        place = at % len(octets)
        return base64.b64encode(octets[:place] + bytes([octets[place] ^ (1 + at % 255)]) + octets[place + 1 :]).decode()
    return value + "x" if at % 2 else "x" + value


def meddled(x: Element, how: tuple[str, int, int, str]) -> Element:
    kind, which, at, name = how
    places = fields_of(x)
    place = places[which % len(places)]
    field = x.children[place]
    assert isinstance(field, Element)
    children: list[Element | str] = list(x.children)
    if kind == "drop":
        del children[place]
    elif kind == "double":
        children.insert(place, field)
    elif kind == "swap":
        other = places[(which + 1) % len(places)]
        children[place], children[other] = children[other], children[place]
    elif kind == "insert":
        children.insert(
            place, element("jabber:x:data", "field", element("jabber:x:data", "value", "x"), var="+" + name)
        )
    elif kind == "title":
        children.insert(0, element("jabber:x:data", "title", name))
    else:
        children[place] = meddled_field(field, kind, at, name)
    return Element(x.namespace, x.name, x.attributes, tuple(children))


def meddled_field(field: Element, kind: str, at: int, name: str) -> Element:
    attributes = dict(field.attributes)
    children = field.children
    if kind == "type":
        attributes["type"] = attributes.get("type", "") + "x"
    elif kind == "label":
        attributes["label"] = name
    elif kind == "var":
        attributes["var"] = attributes.get("var", "") + "x"
    elif kind == "add-value":
        children = (*children, element(field.namespace, "value", name))
    else:
        children = tuple(changed_values(c, at) for c in children)
    return Element(field.namespace, field.name, tuple(attributes.items()), children)


def changed_values(child: Element | str, at: int) -> Element | str:
    if isinstance(child, str):
        return flipped(child, at)
    return Element(child.namespace, child.name, child.attributes, tuple(changed_values(c, at) for c in child.children))


def is_covered(how: tuple[str, int, int, str], number: int, var: str | None) -> bool:
    """Everything is, but how the fields `identity` and `mac` themselves are written, and where they stand."""
    closing = number in (3, 4) and var in ("identity", "mac")
    return not (closing and how[0] in ("type", "label", "swap"))


@QUICK
@given(st.integers(1, 4), meddlings(), st.sampled_from([Profile.DEPLOYED, Profile.LETTER]))
def test_no_change_of_any_message_leaves_its_taker_with_a_session(
    number: int, how: tuple[str, int, int, str], profile: Profile
) -> None:
    touched: list[str | None] = []

    def change(stanza: Element) -> Element:
        def change_form(x: Element) -> Element:
            places = fields_of(x)
            for step in (0, 1):
                field = x.children[places[(how[1] + step) % len(places)]]
                assert isinstance(field, Element)
                touched.append(field.attribute("var"))
            return meddled(x, how)

        return with_form(stanza, change_form)

    alice, bob = End("alice"), End("bob")
    events = negotiate(alice, bob, profile=profile, change=change, at=number)
    relevant = touched if how[0] == "swap" else touched[:1]
    if all(is_covered(how, number, var) for var in relevant):
        assert events[1 if number in (1, 3) else 0] is not Event.ESTABLISHED


@QUICK
@given(st.sampled_from(list(Profile)), st.integers(0, 10_000), st.integers(0, 7), st.booleans())
def test_no_bit_of_an_encrypted_stanza_can_be_changed(profile: Profile, place: int, bit: int, in_mac: bool) -> None:
    alice, bob = CACHE[profile]
    _, payload = seal(alice, b"<body>hello to the other side</body>")
    c = parse(payload)
    data, mac = (base64.b64decode(e.text) for e in c.elements)
    chosen = bytearray(mac if in_mac else data)
    chosen[place % len(chosen)] ^= 1 << bit
    parts = (data, bytes(chosen)) if in_mac else (bytes(chosen), mac)
    children = tuple(
        Element(c.namespace, name, (), (base64.b64encode(part).decode(),))
        for name, part in zip(("data", "mac"), parts, strict=True)
    )
    taker = End("bob", conversation=Conversation("t", session=bob))
    out = taker.take(element(CLIENT, "message", Element(c.namespace, "c", (), children)))
    assert out.event is Event.BROKEN


def sessions(profile: Profile) -> tuple[Session, Session]:
    alice, bob = established(profile, seed=f"properties/{profile}")
    return alice.session, bob.session


CACHE = {profile: sessions(profile) for profile in Profile}


# ---------------------------------------------------------------------------------------------------- content
@QUICK
@given(st.sampled_from(list(Profile)), st.lists(st.tuples(st.booleans(), texts), min_size=1, max_size=12))
def test_any_text_arrives_as_it_was_sent(profile: Profile, sent: list[tuple[bool, str]]) -> None:
    ends = list(CACHE[profile])
    for from_first, text in sent:
        sender, taker = (0, 1) if from_first else (1, 0)
        content = serialize(element(CLIENT, "body", text), inherited=CLIENT)
        ends[sender], payload = seal(ends[sender], content)
        ends[taker], found = open_stanza(ends[taker], parse(payload))
        assert [e.text for e in found] == [text]


class Foreign:
    """A peer that does not pad: its key stream runs on, or begins a block with each stanza."""

    def __init__(self, way: ReceivingDirection, *, runs_on: bool) -> None:
        self.way, self.runs_on = way, runs_on
        self.counter, self.used = from_octets(way.counter), 0

    def sealed(self, content: bytes) -> Element:
        if not self.runs_on:
            self.used = 0
        first = self.counter + self.way.first_block - (1 if self.used else 0)
        data = base64.b64encode(counter_mode(self.way.cipher_key, first, content, skip=self.used))
        covered = b"<data>" + data + b"</data>"
        mac = base64.b64encode(hmac_sha256(self.way.mac_key, covered, mpi(self.counter)))
        self.counter += -(-(self.used + len(content)) // 16) - (1 if self.used else 0)
        self.used = (self.used + len(content)) % 16
        return parse(
            b"<c xmlns='http://www.xmpp.org/extensions/xep-0200.html#ns'>" + covered + b"<mac>" + mac + b"</mac></c>"
        )


@QUICK
@given(st.sampled_from(list(Profile)), st.booleans(), st.lists(texts, min_size=1, max_size=10))
def test_contents_of_any_length_are_read_from_peers_that_do_not_pad(
    profile: Profile, begins_blocks: bool, sent: list[str]
) -> None:
    session = CACHE[profile][1]
    peer = Foreign(session.receiving, runs_on=TRAITS[profile].runs_on and not begins_blocks)
    for text in sent:
        content = f"<body>{escape_text(text)}</body>".encode()
        session, found = open_stanza(session, peer.sealed(content))
        assert [e.text for e in found] == [text]


@QUICK
@given(st.sampled_from(list(Profile)), st.permutations(range(4)))
def test_stanzas_out_of_order_are_never_content(profile: Profile, order: list[int]) -> None:
    alice, bob = CACHE[profile]
    sealed = []
    for number in range(4):
        alice, payload = seal(alice, b"<body>%d</body>" % number)
        sealed.append(element(CLIENT, "message", parse(payload)))
    taker = End("bob", conversation=Conversation("t", session=bob))
    for expected, number in enumerate(order):
        out = taker.take(sealed[number])
        if number != expected:
            assert out.event is Event.BROKEN
            break
        assert [e.text for e in out.content] == [str(number)]


@pytest.mark.parametrize("size", [1, 15, 16, 17, 100, 1000])
@pytest.mark.parametrize("profile", list(Profile))
def test_what_is_sent_is_whole_blocks(profile: Profile, size: int) -> None:
    body = b"<b>" + b"x" * size + b"</b>"
    after, payload = seal(CACHE[profile][0], body)
    data = base64.b64decode(parse(payload).elements[0].text)
    assert len(data) % 16 == 0
    before = CACHE[profile][0].sending.counter
    assert from_octets(after.sending.counter) - from_octets(before) == len(data) // 16


def test_a_counter_wraps_in_the_middle_of_a_session() -> None:
    alice, bob = CACHE[Profile.LETTER]
    high = ((1 << 128) - 2).to_bytes(16, "big")
    alice = replace(alice, sending=replace(alice.sending, counter=high))
    bob = replace(bob, receiving=replace(bob.receiving, counter=high))
    for text in (b"<body>before and across the end of the counter</body>", b"<body>after</body>", b"<body>more</body>"):
        alice, payload = seal(alice, text)
        bob, found = open_stanza(bob, parse(payload))
        assert found
    assert from_octets(alice.sending.counter) < 100


# ---------------------------------------------------------------------------------------------------- XML
attributes = st.dictionaries(names.filter(lambda n: not n.lower().startswith("xml")), texts, max_size=3)
elements = st.recursive(
    st.builds(lambda n, a, t: Element("urn:x", n, tuple(a.items()), (t,) if t else ()), names, attributes, texts),
    lambda inner: st.builds(
        lambda n, a, c: Element("urn:y", n, tuple(a.items()), tuple(c)), names, attributes, st.lists(inner, max_size=3)
    ),
    max_leaves=8,
)


@QUICK
@given(elements)
def test_any_element_is_read_back_as_it_was_written(tree: Element) -> None:
    assert parse(serialize(tree)) == tree
    assert parse_content(serialize(tree, inherited=CLIENT)) == (tree,)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(tree), type=Element) == tree


@QUICK
@given(st.binary(max_size=200))
def test_any_octets_are_read_or_refused(data: bytes) -> None:
    for reader in (parse, parse_content):
        with suppress(MalformedXml):
            reader(data)


@QUICK
@given(elements)
def test_a_normal_form_is_the_same_for_what_passed_the_wire(tree: Element) -> None:
    for reading in READINGS:
        assert normal_form(tree, reading) == normal_form(parse(serialize(tree)), reading)


@QUICK
@given(elements)
def test_any_stanza_can_be_looked_at(tree: Element) -> None:
    stanza = element(CLIENT, "message", tree)
    assert kind_of(stanza) is None


def test_the_groups_of_these_tests_are_quick() -> None:
    assert FAST.groups == (14,)
