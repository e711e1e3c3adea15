"""Olm and Megolm for all inputs: signed JSON, ciphertexts that were changed."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from vodozemac import Account, GroupSession

from crypto.olm.canonical import LARGEST_INTEGER, canonical, decoded
from crypto.olm.device import own_device, verified_device
from crypto.olm.errors import OlmError
from crypto.olm.group import encrypted_event, opened_event, received_room_key, room_key_content, sealed_event

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_plain = st.none() | st.booleans() | st.integers(-LARGEST_INTEGER, LARGEST_INTEGER) | _text
json_values = st.recursive(
    _plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4), max_leaves=12
)

_ACCOUNT = Account()
_OWN = own_device(_ACCOUNT, "@alice:x", "DEV")


@given(json_values)
def test_canonical_json_reads_back_as_the_same_value_and_is_its_own_canonical_form(value: object) -> None:
    text = canonical(value)
    assert json.loads(text) == value
    assert canonical(decoded(text, object)) == text


@given(st.dictionaries(_text, json_values, max_size=4))
def test_the_order_of_members_does_not_matter(value: dict[str, object]) -> None:
    assert canonical(dict(reversed(value.items()))) == canonical(value)


@given(st.data())
def test_device_keys_with_any_octet_changed_are_refused_or_the_same(data: st.DataObject) -> None:
    keys = bytearray(_OWN.device_keys)
    at = data.draw(st.integers(0, len(keys) - 1))
    keys[at] ^= data.draw(st.integers(1, 255))
    try:
        device = verified_device("@alice:x", "DEV", decoded(bytes(keys), object))
    except OlmError:
        return
    assert (device.ed25519, device.curve25519) == (_OWN.ed25519, _OWN.curve25519)


@settings(max_examples=50)
@given(st.data())
def test_a_ciphertext_with_any_bit_changed_does_not_open_or_says_the_same(data: st.DataObject) -> None:
    session = GroupSession()
    key = received_room_key(json.dumps(room_key_content(session, "!r:x")).encode())
    sent = encrypted_event(session, _OWN, "!r:x", "m.room.message", {"body": "text"})
    content = json.loads(sent)
    at = data.draw(st.integers(0, len(content["ciphertext"]) - 2))  # the last character has unused bits
    letter = data.draw(st.sampled_from("ABCDwxyz0189+/"))
    changed = content["ciphertext"][:at] + letter + content["ciphertext"][at + 1 :]
    if changed == content["ciphertext"]:
        return
    try:
        event = opened_event(key.session, sealed_event(json.dumps({**content, "ciphertext": changed}).encode()), "!r:x")
    except OlmError:
        return
    # vodozemac authenticates index and ciphertext as it understood them: an index of 0 may also be left out.
    assert event == opened_event(key.session, sealed_event(sent), "!r:x")


@given(_text, st.dictionaries(_text, json_values, max_size=3))
def test_any_content_arrives_as_it_was(kind: str, content: dict[str, object]) -> None:
    session = GroupSession()
    key = received_room_key(json.dumps(room_key_content(session, "!r:x")).encode())
    event = opened_event(key.session, sealed_event(encrypted_event(session, _OWN, "!r:x", kind, content)), "!r:x")
    assert (event.type, json.loads(event.content)) == (kind, content)
