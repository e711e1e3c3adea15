"""Olm and Megolm on vodozemac: keys and signatures, sessions, room keys, pickles, canonical JSON."""

import json

import pytest
from vodozemac import (
    Account,
    Curve25519PublicKey,
    Ed25519PublicKey,
    GroupSession,
    InboundGroupSession,
    MegolmMessage,
    Session,
    SessionKey,
)

from crypto.olm import keys, pickles
from crypto.olm.canonical import canonical, decoded_object, signature_of, signed_part
from crypto.olm.contained import contained
from crypto.olm.device import (
    Device,
    OwnDevice,
    new_fallback_key,
    new_one_time_keys,
    own_device,
    verified_device,
    verified_one_time_key,
)
from crypto.olm.errors import (
    BadSignature,
    Malformed,
    OlmError,
    TooLarge,
    Undecryptable,
    UnknownAlgorithm,
    WrongParty,
)
from crypto.olm.group import (
    encrypted_event,
    opened_event,
    received_room_key,
    room_key_content,
    sealed_event,
)
from crypto.olm.pairwise import (
    OlmMessage,
    checked_event,
    encrypted_for,
    message_for,
    opened,
    outbound_session,
)

ALICE, BOB, ROOM = "@alice:x", "@bob:x", "!room:x"


def party(user: str) -> tuple[Account, OwnDevice]:
    """An account and its device."""
    account = Account()
    return account, own_device(account, user, "DEV")


def session_between(sender: Account, receiver: Account, device: Device) -> Session:
    """An outbound session by a fresh one-time key."""
    keys = new_one_time_keys(receiver, device, 1)
    receiver.mark_keys_as_published()
    return outbound_session(sender, device, verified_one_time_key(device, keys))


# ---------------------------------------------------------------- canonical JSON (appendices: Canonical JSON)
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}"),
        ({"one": 1, "two": "Two"}, '{"one":1,"two":"Two"}'),
        ({"b": "2", "a": "1"}, '{"a":"1","b":"2"}'),
        ({"a": "日本語"}, '{"a":"日本語"}'),
        ({"本": 2, "日": 1}, '{"日":1,"本":2}'),
        ({"a": "\u65e5"}, '{"a":"日"}'),
        ({"a": None}, '{"a":null}'),
        ({"a": '\x07\x08\x0c\n\r\t"\\\x7f'}, '{"a":"\\u0007\\b\\f\\n\\r\\t\\"\\\\\x7f"}'),
        ({"\U0001f6a2": 1, "\uffff": 2}, '{"\uffff":2,"\U0001f6a2":1}'),
    ],
)
def test_canonical_json_is_that_of_the_specification(value: object, text: str) -> None:
    assert canonical(value) == text.encode()


@pytest.mark.parametrize("value", [1.5, {"a": 1.0}, 1 << 53, {1: 2}, "\ud800", b"x", {"a": {1}}, [1e3]])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(Malformed):
        canonical(value)


def test_depth_is_bounded() -> None:
    value: object = 1
    for _ in range(40):
        value = [value]
    with pytest.raises(Malformed):
        canonical(value)


def test_signatures_and_unsigned_are_not_signed() -> None:
    assert signed_part({"a": 1, "unsigned": {"b": 2}, "signatures": {}}) == b'{"a":1}'


@pytest.mark.parametrize(
    "value", [{}, {"signatures": 1}, {"signatures": {ALICE: []}}, {"signatures": {ALICE: {"k": 1}}}]
)
def test_a_missing_signature_is_malformed(value: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        signature_of(value, ALICE, "k")


def test_an_error_carries_nothing_of_the_input() -> None:
    with pytest.raises(Malformed) as caught:
        decoded_object(b'{"secret": CANARY}')
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    assert "CANARY" not in str(caught.value)


# ---------------------------------------------------------------- devices
def test_a_signed_device_is_verified_and_a_changed_one_is_not() -> None:
    _, own = party(ALICE)
    keys = decoded_object(own.device_keys)
    device = verified_device(ALICE, "DEV", {**keys, "unsigned": {"device_display_name": "x"}})
    assert device == Device(ALICE, "DEV", own.ed25519, own.curve25519)
    with pytest.raises(BadSignature):
        verified_device(ALICE, "DEV", {**keys, "algorithms": [*json.loads(own.device_keys)["algorithms"], "x"]})


@pytest.mark.parametrize(("user", "device"), [(BOB, "DEV"), (ALICE, "OTHER")])
def test_a_device_of_another_name_is_refused(user: str, device: str) -> None:
    _, own = party(ALICE)
    with pytest.raises(WrongParty):
        verified_device(user, device, decoded_object(own.device_keys))


def test_a_fallback_key_is_marked_and_signed() -> None:
    account, own = party(ALICE)
    keys = new_fallback_key(account, own)
    (value,) = keys.values()
    assert isinstance(value, dict)
    assert value["fallback"] is True
    verified_one_time_key(own, keys)
    value["fallback"] = False
    with pytest.raises(BadSignature):
        verified_one_time_key(own, keys)


def test_another_devices_signature_on_a_one_time_key_is_refused() -> None:
    account, own = party(ALICE)
    _, other = party(ALICE)
    with pytest.raises(BadSignature):
        verified_one_time_key(other, new_one_time_keys(account, own, 1))


# ---------------------------------------------------------------- Olm
def test_an_event_arrives_with_its_parties_proved() -> None:
    (one, alice), (two, bob) = party(ALICE), party(BOB)
    session = session_between(one, two, bob)
    content = json.dumps(encrypted_for(session, alice, bob, "m.room_key", {"k": 1})).encode()
    message = message_for(bob, content)
    result = opened(two, [], message)
    event = checked_event(bob, ALICE, message, result.plaintext)
    assert (event.type, event.signing_key, event.sender_key) == ("m.room_key", alice.ed25519, alice.curve25519)
    assert json.loads(event.content) == {"k": 1}
    assert result.created
    with pytest.raises(WrongParty):
        checked_event(bob, "@mallory:x", message, result.plaintext)
    with pytest.raises(WrongParty):
        checked_event(alice, ALICE, message, result.plaintext)


@pytest.mark.parametrize("member", ["sender", "recipient", "recipient_keys", "sender_device_keys"])
def test_each_party_named_inside_is_checked(member: str) -> None:
    (one, alice), (two, bob), (_, mallory) = party(ALICE), party(BOB), party(BOB)
    session = session_between(one, two, bob)
    message = message_for(bob, json.dumps(encrypted_for(session, alice, bob, "m.dummy", {})).encode())
    plain = json.loads(opened(two, [], message).plaintext)
    plain[member] = {
        "sender": BOB,
        "recipient": ALICE,
        "recipient_keys": {"ed25519": mallory.ed25519},
        "sender_device_keys": json.loads(mallory.device_keys),
    }[member]
    with pytest.raises(OlmError):
        checked_event(bob, ALICE, message, json.dumps(plain).encode())


def test_a_ciphertext_for_another_device_is_refused() -> None:
    (one, alice), (two, bob), (_, other) = party(ALICE), party(BOB), party(BOB)
    content = json.dumps(encrypted_for(session_between(one, two, bob), alice, bob, "m.dummy", {})).encode()
    with pytest.raises(WrongParty):
        message_for(other, content)


def test_a_damaged_handshake_spends_no_one_time_key() -> None:
    (one, alice), (two, bob) = party(ALICE), party(BOB)
    session = session_between(one, two, bob)
    message = message_for(bob, json.dumps(encrypted_for(session, alice, bob, "m.dummy", {})).encode())
    damaged = OlmMessage(message.sender_key, 0, message.body[:-1] + bytes([message.body[-1] ^ 1]))
    with pytest.raises(Undecryptable):
        opened(two, [], damaged)
    assert opened(two, [], message).created


def test_a_message_opens_once_only() -> None:
    (one, alice), (two, bob) = party(ALICE), party(BOB)
    session = session_between(one, two, bob)
    first = message_for(bob, json.dumps(encrypted_for(session, alice, bob, "m.dummy", {})).encode())
    inbound = opened(two, [], first).session
    with pytest.raises(Undecryptable):
        opened(two, [inbound], first)
    second = message_for(bob, json.dumps(encrypted_for(session, alice, bob, "m.dummy", {})).encode())
    assert not opened(two, [inbound], second).created


def test_a_one_time_key_that_contributes_nothing_founds_no_session() -> None:
    account, _ = party(ALICE)
    weak = Device(BOB, "DEV", "A" * 43, "A" * 43)
    with pytest.raises(OlmError):
        outbound_session(account, weak, Curve25519PublicKey.from_bytes(bytes(32)))


# ---------------------------------------------------------------- Megolm
def test_an_event_is_bound_to_session_and_room() -> None:
    _, alice = party(ALICE)
    session = GroupSession()
    key = received_room_key(json.dumps(room_key_content(session, ROOM)).encode())
    content = encrypted_event(session, alice, ROOM, "m.room.message", {"body": "x"})
    event = opened_event(key.session, sealed_event(content), ROOM)
    assert (event.index, event.type, json.loads(event.content)) == (0, "m.room.message", {"body": "x"})
    with pytest.raises(WrongParty):
        opened_event(key.session, sealed_event(content), "!other:x")


def test_a_key_shared_later_does_not_open_what_was_before() -> None:
    _, alice = party(ALICE)
    session = GroupSession()
    before = encrypted_event(session, alice, ROOM, "m.room.message", {})
    key = received_room_key(json.dumps(room_key_content(session, ROOM)).encode())
    with pytest.raises(Undecryptable):
        opened_event(key.session, sealed_event(before), ROOM)


def test_a_room_key_under_another_name_is_refused() -> None:
    session, other = GroupSession(), GroupSession()
    content = room_key_content(session, ROOM) | {"session_id": other.session_id}
    with pytest.raises(WrongParty):
        received_room_key(json.dumps(content).encode())


@pytest.mark.parametrize(
    ("change", "error"),
    [({"algorithm": "m.rot13"}, UnknownAlgorithm), ({"session_key": "x"}, Malformed), ({"session_key": 1}, Malformed)],
)
def test_a_room_key_of_another_form_is_refused(change: dict[str, object], error: type[OlmError]) -> None:
    with pytest.raises(error):
        received_room_key(json.dumps(room_key_content(GroupSession(), ROOM) | change).encode())


def test_the_largest_event_is_bounded_and_a_refusal_advances_nothing() -> None:
    _, alice = party(ALICE)
    session = GroupSession()
    with pytest.raises(TooLarge):
        encrypted_event(session, alice, ROOM, "m.room.message", {"body": "x" * 50_000})
    assert session.message_index == 0
    assert len(encrypted_event(session, alice, ROOM, "m.room.message", {"body": "x" * 46_000})) < 64_000


# ---------------------------------------------------------------- pickles
def test_every_kind_of_object_is_read_back_as_it_was() -> None:
    (one, alice), (two, bob) = party(ALICE), party(BOB)
    session, group = session_between(one, two, bob), GroupSession()
    inbound = InboundGroupSession(SessionKey(group.session_key.to_base64()))
    for value in (one, session, group, inbound):
        data = pickles.encode(value, b"k" * 32)
        assert data is not None
        again = pickles.decode(data, type(value), b"k" * 32)
        assert type(again) is type(value)
    data = pickles.encode(group, b"k" * 32)
    assert data is not None
    again_group = pickles.decode(data, GroupSession, b"k" * 32)
    text = MegolmMessage.from_base64(again_group.encrypt(b"x").to_base64())
    assert inbound.decrypt(text).plaintext == b"x"
    assert alice.user_id == ALICE


def test_other_objects_are_not_pickled_and_wrong_keys_are_refused() -> None:
    assert pickles.encode("text", b"k" * 32) is None
    assert not pickles.handles(str)
    data = pickles.encode(Account(), b"k" * 32)
    assert data is not None
    with pytest.raises(pickles.BadPickle) as caught:
        pickles.decode(data, Account, b"x" * 32)
    assert caught.value.__context__ is None
    with pytest.raises(pickles.BadPickle):
        pickles.decode(data, Session, b"k" * 32)
    with pytest.raises(pickles.BadPickle):
        pickles.decode(b"\xff", Account, b"k" * 32)
    with pytest.raises(pickles.BadPickle):
        pickles.decode(data, str, b"k" * 32)


# ---------------------------------------------------------------- the library's own faults
@pytest.mark.parametrize("size", [0, 1, 31, 33, 64, 100])
def test_keys_of_another_size_are_malformed(size: int) -> None:
    for parse in (keys.ed25519, keys.curve25519):
        with pytest.raises(Malformed):
            parse(keys.b64(bytes(size)))
    with pytest.raises(Malformed):
        keys.require_signature(keys.b64(bytes(32)), b"", keys.b64(bytes(size + 1)))


def test_a_panic_of_the_library_is_a_refusal_and_other_errors_are_not() -> None:
    with contained():
        Ed25519PublicKey.from_base64(keys.b64(bytes(33)))  # panics in vodozemac 0.10
    with contained():
        Ed25519PublicKey.from_base64("!")
    with pytest.raises(KeyError), contained():
        raise KeyError
    with pytest.raises(KeyboardInterrupt), contained():
        raise KeyboardInterrupt
