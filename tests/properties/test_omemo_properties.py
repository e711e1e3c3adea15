"""OMEMO for all inputs: any order, loss and repetition of messages; anything written is read again as the same."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from crypto.omemo import conversation, protobuf
from crypto.omemo.elements import device_list_element, message_element, read_device_list, read_message
from crypto.omemo.envelope import opened_envelope, sealed_envelope
from crypto.omemo.faults import OmemoError
from crypto.omemo.fingerprints import fingerprint, read_fingerprint, read_uri, uri
from crypto.omemo.frames import (
    TAG,
    KeyExchange,
    exchange_octets,
    frame_body,
    frame_octets,
    read_exchange,
    read_frame,
)
from crypto.omemo.model import DeviceList, Key, ListedDevice, Message
from crypto.omemo.names import KEPT_SESSIONS, MAX_DEVICES, MAX_READ_ID, MAX_SKIPPED, Namespace
from crypto.omemo.sessions import Sessions
from crypto.xml import CLIENT, Element, parse, serialize
from tests.unit.omemo_world import Dice, End

forms = st.sampled_from(Namespace)
keys = st.binary(min_size=32, max_size=32)
numbers = st.integers(0, (1 << 32) - 1)
ids = st.integers(1, MAX_READ_ID)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="￾￿"), max_size=30)
jids = st.sampled_from(["a@b", "c@d", "ü@例え.jp"])


# ---------------------------------------------------------------- written and read
@given(forms, keys, st.tuples(numbers, numbers), st.binary(max_size=80), st.binary(min_size=16, max_size=16))
def test_frames_read_back(form: Namespace, key: bytes, counts: tuple[int, int], sealed: bytes, tag: bytes) -> None:
    tag = tag[: TAG[form]]
    body = frame_body(form, key, *counts, sealed)
    frame = read_frame(form, frame_octets(form, body, tag))
    assert (frame.ratchet_key, frame.counter, frame.previous) == (key, *counts)
    assert (frame.ciphertext, frame.body, frame.tag) == (sealed, body, tag)


@given(forms, st.builds(KeyExchange, numbers, numbers, keys, keys), st.binary(max_size=80))
def test_key_exchanges_read_back(form: Namespace, exchange: KeyExchange, message: bytes) -> None:
    assert read_exchange(form, exchange_octets(form, exchange, message)) == (exchange, message)


@given(forms, st.binary(max_size=200))
def test_octets_at_random_are_read_or_refused(form: Namespace, octets: bytes) -> None:
    for read in (read_frame, read_exchange):
        try:
            read(form, octets)
        except OmemoError:
            continue


@given(st.dictionaries(st.integers(1, 100), numbers | st.binary(max_size=20), max_size=10))
def test_fields_read_back_whatever_others_stand_between(fields: dict[int, int | bytes]) -> None:
    octets = protobuf.written(list(fields.items()))
    assert protobuf.read(octets, {number: type(value) for number, value in fields.items()}) == fields
    assert protobuf.read(octets, {}) == {}


@given(forms, st.lists(ids, unique=True, max_size=MAX_DEVICES))
def test_device_lists_read_back(form: Namespace, listed: list[int]) -> None:
    devices = DeviceList(form, tuple(map(ListedDevice, listed)))
    assert read_device_list(parse(serialize(device_list_element(devices)))) == devices


@given(forms, ids, st.lists(st.tuples(jids, ids, st.booleans(), st.binary(max_size=40)), max_size=6), st.data())
def test_messages_read_back(
    form: Namespace, sender: int, parts: list[tuple[str, int, bool, bytes]], data: st.DataObject
) -> None:
    second = form is Namespace.OMEMO_2
    parts = sorted(parts, key=lambda part: part[0])
    found = [Key(jid if second else None, id_, prekey, octets) for jid, id_, prekey, octets in parts]
    iv = None if second else data.draw(st.binary(max_size=16))
    payload = data.draw(st.none() | st.binary(max_size=100))
    message = Message(form, sender, tuple(found), iv, payload)
    assert read_message(parse(serialize(message_element(message)))) == message


@given(st.lists(texts, max_size=3), texts, st.text("abc", min_size=1), st.none() | texts)
def test_envelopes_open_to_what_was_put_in(bodies: list[str], seed: str, local: str, stamp: str | None) -> None:
    content = tuple(Element(CLIENT, "body", (), (body,) if body else ()) for body in bodies)
    octets = sealed_envelope(content, Dice(seed), sender=f"{local}@b", recipient="x@y", stamp=stamp)
    opened = opened_envelope(octets, sender=f"{local}@b", recipient="x@y")
    assert (opened.content, opened.stamp) == (content, stamp)
    assert len(octets) >= 256


@given(st.dictionaries(ids, keys, max_size=5), jids)
def test_fingerprints_and_addresses_read_back(devices: dict[int, bytes], jid: str) -> None:
    assert read_uri(uri(jid, devices)) == devices
    for key in devices.values():
        assert read_fingerprint(fingerprint(key)) == key


# ---------------------------------------------------------------- conversations
_ALICE, _BOB = "alice@example.org", "bob@example.org"


@settings(max_examples=40, deadline=None)
@given(forms, st.data())
def test_a_message_with_any_octet_changed_is_refused_and_changes_nothing(form: Namespace, data: st.DataObject) -> None:
    alice, bob = End.make(_ALICE, 1), End.make(_BOB, 2)
    message = alice.says(b"text", form, bob)
    if data.draw(st.booleans()):
        bob.hears(message, _ALICE)
        alice.hears(bob.says(b"answer", form, alice), _BOB)
        message = alice.says(b"text", form, bob)
    (key,) = message.keys
    at, by = data.draw(st.integers(0, len(key.octets) - 1)), data.draw(st.integers(1, 255))
    octets = key.octets[:at] + bytes([key.octets[at] ^ by]) + key.octets[at + 1 :]
    before = dict(bob.shelf.values)
    try:
        opened = bob.hears(replace(message, keys=(replace(key, octets=octets),)), _ALICE)
    except OmemoError:
        assert bob.shelf.values == before
    else:  # an octet that says nothing: the top bit of a point, which no form of a key has
        assert opened.plaintext == b"text"


class Conversation(RuleBasedStateMachine):
    """Two devices; the network keeps, loses, repeats and mixes as it likes; both heal when they have to."""

    @initialize(form=forms)
    def begin(self, form: Namespace) -> None:
        self.form = form
        self.ends = (End.make(_ALICE, 1), End.make(_BOB, 2))
        self.under_way: list[tuple[int, Message, bytes]] = []
        self.opened: list[set[bytes]] = [set(), set()]
        self.count = self.anew = 0

    @rule(sender=st.integers(0, 1))
    def say(self, sender: int) -> None:
        self.count += 1
        text = b"%d" % self.count
        message = self.ends[sender].says(text, self.form, self.ends[1 - sender])
        self.under_way.append((sender, message, text))

    @rule(sender=st.integers(0, 1))
    def begin_anew(self, sender: int) -> None:
        self.anew += 1
        end, other = self.ends[sender], self.ends[1 - sender]
        bundle = other.bundle(self.form)
        element = conversation.empty(end.shelf, end.dice, other.peer(self.form), bundle=bundle)
        other.hears(read_message(element), end.jid)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), again=st.booleans())
    def arrive(self, data: st.DataObject, again: bool) -> None:
        at = data.draw(st.integers(0, len(self.under_way) - 1))
        sender, message, text = self.under_way[at] if again else self.under_way.pop(at)
        end = self.ends[1 - sender]
        try:
            opened = end.hears(message, self.ends[sender].jid)
        except OmemoError as error:
            code = error.code
        else:
            code = ""
        if code:
            # what came before; or it belongs to a session that was given up, or two took one prekey
            came = text in self.opened[1 - sender]
            assert came or code == "unknown-prekey" or (code == "undecryptable" and self.anew > KEPT_SESSIONS - 2)
            return
        assert opened.plaintext == text
        assert opened.identity_key == self.ends[sender].identity
        assert text not in self.opened[1 - sender], "a message opened twice"
        self.opened[1 - sender].add(text)

    @invariant()
    def what_is_kept_is_bounded(self) -> None:
        for end in getattr(self, "ends", ()):
            for value in end.shelf.values.values():
                if isinstance(value, Sessions):
                    assert len(value.kept) <= KEPT_SESSIONS
                    assert all(len(each.ratchet.skipped) <= MAX_SKIPPED for each in value.kept)


TestConversation = Conversation.TestCase
TestConversation.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("form", list(Namespace))
@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(8)))
def test_a_chain_opens_in_any_order(form: Namespace, order: list[int]) -> None:
    alice, bob = End.make(_ALICE, 1), End.make(_BOB, 2)
    said = [alice.says(b"%d" % n, form, bob, bundles=n == 0) for n in range(8)]
    assert [bob.hears(said[n], _ALICE).plaintext for n in order] == [b"%d" % n for n in order]
