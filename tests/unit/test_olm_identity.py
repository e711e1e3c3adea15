"""Cross-signing keys: what we publish is what others verify, and nothing else passes."""

import copy
from typing import Any, cast

import pytest
from vodozemac import Account

from crypto.errors import Misuse
from crypto.olm.canonical import canonical, decoded_object
from crypto.olm.device import own_device
from crypto.olm.errors import BadSignature, Malformed, OlmError, WrongParty
from crypto.olm.identity import (
    MASTER,
    USAGES,
    Identity,
    OwnIdentity,
    require_vouched_device,
    require_vouched_master,
    signing_keys,
    verified_identity,
    vouched_device,
    vouched_master,
)

ALICE, BOB = "@alice:one.example", "@bob:two.example"
JSON = dict[str, Any]


def own(user: str = ALICE, first: int = 1) -> OwnIdentity:
    """An identity of known seeds."""
    return OwnIdentity(user, *(bytes([first + number] * 32) for number in range(3)))


def published(identity: OwnIdentity) -> JSON:
    """Its three objects, as they come back from a server."""
    return decoded_object(canonical(signing_keys(identity)))


def read(objects: JSON, user: str = ALICE) -> Identity:
    """What is made of them."""
    return verified_identity(user, *(objects.get(f"{usage}_key") for usage in USAGES))


def device(user: str = ALICE, device_id: str = "ABC") -> JSON:
    """The signed keys of a device."""
    return decoded_object(own_device(Account(), user, device_id).device_keys)


def test_what_is_published_is_read_back_as_the_same_keys() -> None:
    found = read(published(own()))
    assert found.master == own().public(MASTER)
    assert (found.self_signing, found.user_signing) == (own().public("self_signing"), own().public("user_signing"))


def test_the_seeds_are_in_no_text_of_it() -> None:
    assert "0101" not in repr(own())
    assert bytes([1] * 32).hex() not in repr(own())


def test_seeds_of_another_size_are_refused() -> None:
    with pytest.raises(Misuse):
        OwnIdentity(ALICE, bytes(32), bytes(32), bytes(31))


@pytest.mark.parametrize("usage", ["self_signing", "user_signing"])
def test_a_key_that_another_master_key_vouches_for_is_refused(usage: str) -> None:
    objects = published(own())
    objects[f"{usage}_key"] = published(own(first=7))[f"{usage}_key"]
    with pytest.raises(OlmError):
        read(objects)


@pytest.mark.parametrize("usage", USAGES)
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"user_id": BOB}, WrongParty),
        ({"usage": []}, Malformed),
        ({"keys": {}}, Malformed),
        ({"keys": {"ed25519:x": "x"}}, Malformed),
        ({"keys": 7}, Malformed),
    ],
)
def test_a_key_object_that_is_not_as_it_must_be_is_refused(usage: str, change: JSON, expected: type[OlmError]) -> None:
    objects = published(own())
    objects[f"{usage}_key"] = {**objects[f"{usage}_key"], **change}
    with pytest.raises(expected):
        read(objects)


@pytest.mark.parametrize("usage", ["self_signing", "user_signing"])
def test_a_key_without_the_master_keys_signature_is_refused(usage: str) -> None:
    objects = published(own())
    del objects[f"{usage}_key"]["signatures"]
    with pytest.raises(Malformed):
        read(objects)
    objects = published(own())
    signatures = objects[f"{usage}_key"]["signatures"][ALICE]
    key_id = next(iter(signatures))
    signatures[key_id] = ("A" if signatures[key_id][0] != "A" else "B") + signatures[key_id][1:]
    with pytest.raises(BadSignature):
        read(objects)


def test_a_device_that_was_vouched_for_passes_and_a_changed_one_does_not() -> None:
    identity, keys = read(published(own())), device()
    signed = vouched_device(own(), keys)
    assert "ed25519:ABC" not in cast(JSON, signed["signatures"])[ALICE]
    require_vouched_device(identity, signed)
    changed = copy.deepcopy(signed)
    cast(JSON, changed["keys"])["ed25519:ABC"] = cast(JSON, device()["keys"])["ed25519:ABC"]
    with pytest.raises(BadSignature):
        require_vouched_device(identity, changed)


def test_a_device_that_nobody_vouched_for_does_not_pass() -> None:
    with pytest.raises(Malformed):
        require_vouched_device(read(published(own())), device())
    with pytest.raises(Malformed):
        require_vouched_device(read(published(own(first=9))), vouched_device(own(), device()))


def test_devices_of_others_are_never_vouched_for() -> None:
    with pytest.raises(WrongParty):
        vouched_device(own(), device(BOB))
    with pytest.raises(WrongParty):
        require_vouched_device(read(published(own())), device(BOB))


def test_a_person_who_was_verified_is_told_from_one_who_was_not() -> None:
    bob = read(published(own(BOB, 11)), BOB)
    signed = vouched_master(own(), bob)
    require_vouched_master(own(), bob, signed)
    with pytest.raises(OlmError):
        require_vouched_master(own(first=5), bob, signed)
    other = read(published(own(BOB, 21)), BOB)
    with pytest.raises(WrongParty):
        require_vouched_master(own(), other, signed)
