"""The backup's algorithm and the session exports: against vectors, vodozemac, and what a server may send instead."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
from vodozemac import (
    Account,
    Curve25519SecretKey,
    ExportedSessionKey,
    GroupSession,
    InboundGroupSession,
    Message,
    PkDecryption,
    PkEncryption,
)

from crypto.errors import Misuse
from crypto.olm.backup import (
    ALGORITHM,
    BackupKey,
    Origin,
    entry,
    new_version,
    opened,
    own_version,
    read_entry,
    read_key,
    sealed,
)
from crypto.olm.canonical import signature_of, signed_part
from crypto.olm.errors import BadSignature, Malformed, OlmError, TooLarge, UnknownAlgorithm, WrongParty
from crypto.olm.forwarded import (
    Wanted,
    exported,
    forward_content,
    imported,
    received_forward,
    received_request,
    request_content,
    same_ratchet,
)
from crypto.olm.identity import MASTER, OwnIdentity
from crypto.olm.keys import b64, require_signature, unb64
from tests.vectors import derive_backup

JSON = dict[str, Any]
VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "backup.json").read_text())
KEY = BackupKey(bytes(range(32)))
ALICE = "@alice:one.example"
IDENTITY = OwnIdentity(ALICE, bytes([4] * 32), bytes([5] * 32), bytes([6] * 32))
ROOM = "!Room:one.example"


def session(index: int = 0) -> InboundGroupSession:
    """A session that is known from this index on."""
    group = GroupSession()
    for _ in range(index):
        group.encrypt(b"x")
    return InboundGroupSession(group.session_key)


def origin() -> Origin:
    """Keys of a device."""
    account = Account()
    return Origin(account.curve25519_key.to_base64(), account.ed25519_key.to_base64())


def written(**changes: object) -> tuple[InboundGroupSession, bytes]:
    """A session, and its entry with these changes to what is encrypted."""
    made = session(3)
    plain = json.loads(
        opened(KEY, cast(JSON, entry(KEY, made, origin(), bytes([7] * 32), believed=True))["session_data"])
    )
    data = sealed(KEY.public(), json.dumps({**plain, **changes}).encode(), bytes([8] * 32))
    return made, json.dumps({"session_data": data}).encode()


# ---------------------------------------------------------------- vectors, and another implementation
def test_the_vectors_are_what_the_script_derives() -> None:
    assert derive_backup.derived() == VECTORS


@pytest.mark.parametrize("case", VECTORS["cases"])
def test_an_entry_is_the_one_that_was_derived(case: JSON) -> None:
    key = BackupKey(bytes.fromhex(case["private"]))
    assert key.public() == case["public"]
    plain = json.loads(case["plain"])
    made = imported(plain["session_key"])
    claimed = Origin(plain["sender_key"], plain["sender_claimed_keys"]["ed25519"])
    found = cast(JSON, entry(key, made, claimed, bytes.fromhex(case["ephemeral"]), believed=True))
    assert found["session_data"] == case["session_data"]
    assert found["first_message_index"] == case["first_message_index"]
    read = read_entry(key, json.dumps({"session_data": case["session_data"]}).encode(), case["session_id"])
    assert read.origin == claimed
    following = cast(ExportedSessionKey, read.session.export_at(case["first_message_index"] + 1))
    assert following.to_base64() == case["next"]


def test_vodozemac_opens_what_we_seal_and_we_what_it_seals() -> None:
    secret = Curve25519SecretKey.from_bytes(KEY.octets)
    theirs = PkDecryption.from_key(secret)
    data = sealed(KEY.public(), b"text", bytes([9] * 32))
    message = Message.from_base64(data["ciphertext"], data["mac"], data["ephemeral"])
    assert bytes(theirs.decrypt(message)) == b"text"
    ephemeral, mac, ciphertext = PkEncryption.from_key(theirs.public_key).encrypt(b"other").to_base64()
    assert opened(KEY, {"ciphertext": ciphertext, "mac": mac, "ephemeral": ephemeral}) == b"other"


# ---------------------------------------------------------------- versions
def version(**changes: object) -> bytes:
    """The server's word of our backup, with these changes."""
    made = new_version(KEY, IDENTITY, Account(), "DEV")
    return json.dumps({**made, "version": "1", "count": 0, "etag": "0", **changes}).encode()


def test_a_version_is_signed_by_the_master_key_and_by_the_device() -> None:
    account = Account()
    made = new_version(KEY, IDENTITY, account, "DEV")
    auth_data = cast(JSON, made["auth_data"])
    assert made["algorithm"] == ALGORITHM
    for key in (IDENTITY.public(MASTER), account.ed25519_key.to_base64()):
        name = "ed25519:DEV" if key == account.ed25519_key.to_base64() else f"ed25519:{key}"
        require_signature(key, signed_part(auth_data), signature_of(auth_data, ALICE, name))


def test_only_a_version_of_our_public_key_is_ours() -> None:
    assert own_version(KEY, version()) == "1"
    assert own_version(BackupKey(bytes(32)), version()) is None
    assert own_version(KEY, version(algorithm="m.megolm_backup.v2")) is None


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", version(version=7), version(auth_data=[]), version(auth_data={"public_key": "AAAA"})]
)
def test_a_version_that_cannot_be_read_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        own_version(KEY, body)


# ---------------------------------------------------------------- entries that a server makes up
def test_an_entry_is_read_with_its_claimed_origin() -> None:
    made, body = written()
    read = read_entry(KEY, body, made.session_id)
    assert read.session.session_id == made.session_id
    assert read.session.first_known_index == 3


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"algorithm": "m.megolm.v2"}, UnknownAlgorithm),
        ({"session_key": exported(session())}, WrongParty),
        ({"session_key": "A" * 220}, OlmError),
        ({"session_key": "A" * 5000}, Malformed),
        ({"session_key": 7}, Malformed),
        ({"sender_key": "short"}, Malformed),
        ({"sender_claimed_keys": {}}, Malformed),
        ({"sender_claimed_keys": {"ed25519": 7}}, Malformed),
        ({"sender_claimed_keys": []}, Malformed),
    ],
)
def test_an_entry_that_is_not_a_session_is_refused(changes: JSON, error: type[OlmError]) -> None:
    made, body = written(**changes)
    with pytest.raises(error):
        read_entry(KEY, body, made.session_id)


def test_an_entry_for_another_key_or_of_a_bad_form_is_refused() -> None:
    made, body = written()
    with pytest.raises(BadSignature):
        read_entry(BackupKey(bytes(32)), body, made.session_id)
    data = json.loads(body)["session_data"]
    for changes in ({"ciphertext": ""}, {"ciphertext": "AAAA"}, {"ephemeral": b64(bytes(32))}, {"mac": "?"}):
        with pytest.raises(OlmError):
            opened(KEY, {**data, **changes})
    with pytest.raises(TooLarge):
        opened(KEY, {**data, "ciphertext": "A" * 100_000})


def test_what_is_changed_in_a_ciphertext_is_no_session_any_more() -> None:
    """The MAC does not cover it, so that only the form can fail: nothing else may come of it."""
    made, body = written()
    data = json.loads(body)["session_data"]
    for at in range(0, len(data["ciphertext"]), 40):
        changed = (
            data["ciphertext"][:at] + ("A" if data["ciphertext"][at] != "A" else "B") + data["ciphertext"][at + 1 :]
        )
        entry_ = json.dumps({"session_data": {**data, "ciphertext": changed}}).encode()
        with suppress(OlmError):
            assert read_entry(KEY, entry_, made.session_id).session.session_id == made.session_id


def test_keys_and_draws_of_another_size_are_our_mistake() -> None:
    with pytest.raises(Misuse):
        BackupKey(b"short")
    with pytest.raises(Misuse):
        sealed(KEY.public(), b"", b"short")
    with pytest.raises(Malformed):
        read_key("AAAA")
    assert read_key(b64(KEY.octets)) == KEY
    assert "0001" not in repr(KEY)


# ---------------------------------------------------------------- exports and ratchets
def test_two_places_of_one_ratchet_are_recognised_and_nothing_else_is() -> None:
    group = GroupSession()
    early = InboundGroupSession(group.session_key)
    group.encrypt(b"x")
    late = InboundGroupSession(group.session_key)
    assert same_ratchet(early, late)
    assert same_ratchet(late, early)
    assert not same_ratchet(early, session())
    octets = bytearray(unb64(exported(early)))
    octets[10] ^= 1  # the same session's name over another ratchet
    assert not same_ratchet(late, imported(b64(bytes(octets))))


# ---------------------------------------------------------------- requests
def test_a_request_and_a_forwarded_key_are_read_as_they_are_written() -> None:
    made, device = session(2), origin()
    wanted = Wanted(ROOM, made.session_id)
    asked = received_request(json.dumps(request_content("DEV", "r1", wanted)).encode())
    assert (asked.device_id, asked.request_id, asked.wanted) == ("DEV", "r1", wanted)
    assert received_request(json.dumps(request_content("DEV", "r1", None)).encode()).wanted is None
    content = forward_content(made, ROOM, device.curve25519, device.ed25519)
    found, read, sender_key, signing_key = received_forward(json.dumps(content).encode())
    assert (found, sender_key, signing_key) == (wanted, device.curve25519, device.ed25519)
    assert same_ratchet(read, made)


GOOD_REQUEST = request_content("DEV", "r1", Wanted(ROOM, session().session_id))
GOOD_FORWARD = forward_content(session(), ROOM, origin().curve25519, origin().ed25519)


@pytest.mark.parametrize(
    "changes",
    [
        {"action": "other"},
        {"requesting_device_id": ""},
        {"request_id": "x" * 300},
        {"body": None},
        {"body": {}},
        {"body": {"algorithm": "m.megolm.v1.aes-sha2", "room_id": ROOM, "session_id": "short"}},
        {"body": {"algorithm": "m.megolm.v1.aes-sha2", "room_id": "", "session_id": session().session_id}},
    ],
)
def test_a_request_of_another_form_is_refused(changes: JSON) -> None:
    with pytest.raises(OlmError):
        received_request(json.dumps({**GOOD_REQUEST, **changes}).encode())


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": "m.megolm.v2"},
        {"session_id": session().session_id},
        {"session_key": "A"},
        {"sender_key": ""},
        {"sender_claimed_ed25519_key": "A" * 50},
        {"room_id": 7},
    ],
)
def test_a_forwarded_key_of_another_form_is_refused(changes: JSON) -> None:
    with pytest.raises(OlmError):
        received_forward(json.dumps({**GOOD_FORWARD, **changes}).encode())


@pytest.mark.parametrize("read", [received_request, received_forward, lambda data: own_version(KEY, data)])
@pytest.mark.parametrize("data", [b"", b"{", b"null", b"[" * 2000, b'{"a":1}'])
def test_what_is_no_object_of_the_kind_is_malformed(read: Callable[[bytes], object], data: bytes) -> None:
    with pytest.raises(Malformed):
        read(data)
