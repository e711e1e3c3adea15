"""A contact is verified by a code that they scan here, and it is remembered how, by whom and when; also by its key."""

import json
from typing import Any

import pytest

from adapters.inside_api import Proof
from adapters.matrix import inside_vouching, names
from adapters.matrix.inside_identity import state_of
from adapters.matrix.inside_peers import Pin, pin_of
from adapters.matrix.inside_status import leg
from crypto.olm.identity import require_vouched_master, verified_identity
from crypto.olm.keys import b64
from tests.unit.matrix_world import BOB, Machine, World, pair
from tests.unit.test_matrix_peers import trust
from tests.unit.test_matrix_verification import act, joined, met, numbers, request, settled, shown, verified

JSON = dict[str, Any]
SCANS = ["m.sas.v1", "m.qr_code.scan.v1", "m.reciprocate.v1"]


def scanned(alice: Machine, secret: bytes, device: str = "BOBDEV") -> None:
    """Bob's client says that it scanned the code."""
    content = {"from_device": device, "method": "m.reciprocate.v1", "secret": b64(secret), "transaction_id": "t"}
    alice.arrives(names.TO_DEVICE, {"type": "m.key.verification.start", "sender": BOB, "content": content})


def showing() -> tuple[World, Machine, Machine, bytes]:
    """Bob asked, and Alice's operator shows a code; its secret."""
    world, alice, bob = met()
    alice.arrives(names.TO_DEVICE, request(methods=SCANS))
    assert act(alice, "begin-code") == "ok"
    (ready,) = world.sent(alice.user, names.SEND_VERIFICATION)[-1:] or alice.step.carries[-1:]
    told = json.loads(bytes(ready.values["body"].v))  # type: ignore[arg-type]
    content = told["messages"][BOB]["BOBDEV"]
    assert content["methods"] == ["m.sas.v1", "m.qr_code.show.v1", "m.reciprocate.v1"]
    code = shown(alice).scan
    assert code.startswith(b"MATRIX\x02\x00\x00\x01t")
    return world, alice, bob, code[75:]


def test_bob_scans_and_the_operator_says_so() -> None:
    world, alice, bob, secret = showing()
    scanned(alice, secret)
    assert shown(alice).state == "scanned"
    assert not verified(alice)
    assert act(alice, "match", "another") == "other-session"
    assert act(alice, "match", None) == "other-session"
    assert not verified(alice)
    assert act(alice, "match", shown(alice).mark) == "ok"
    settled(world, alice, bob)
    pin = pin_of(alice.step.records, BOB)
    assert pin is not None
    assert (pin.verified, pin.proof) == (True, Proof("code", "operator", alice.step.now))
    assert "identity-vouched" in alice.step.codes()


@pytest.mark.parametrize("secret", [bytes(16), b"x"])
def test_a_secret_that_is_in_no_code_ends_it(secret: bytes) -> None:
    _, alice, _, _ = showing()
    scanned(alice, secret)
    assert (shown(alice).state, shown(alice).code) == ("cancelled", "key-mismatch")
    assert not verified(alice)


def test_a_code_is_not_shown_unless_it_was_asked_for() -> None:
    _, alice, _ = met()
    alice.arrives(names.TO_DEVICE, request(methods=SCANS))
    assert act(alice, "begin") == "ok"
    assert shown(alice).scan == b""
    scanned(alice, bytes(16))
    assert shown(alice).code == "unexpected-message"


def test_the_code_is_in_nothing_that_goes_out() -> None:
    world, alice, _, secret = showing()
    world.settle()
    sent = repr([c.values for c in world.sent(alice.user, names.SEND_VERIFICATION)])
    assert b64(secret) not in sent
    assert secret not in repr(shown(alice)).encode()


def test_who_wanted_to_begin_too_early_is_told_once_when_it_is_possible() -> None:
    world, alice, _ = pair()
    assert act(alice, "begin") == "devices-unknown"
    assert alice.step.moves == []
    world.settle()
    assert alice.step.moves == ["bob"]
    assert act(alice, "begin") == "ok"


def test_what_was_compared_and_by_whom_is_remembered() -> None:
    world, alice, bob = joined()
    alice_contact = alice.step.account.contacts[0]
    said: list[object] = []
    alice.step.commit(
        lambda: said.append(alice.half.verification(alice.step, alice_contact, "match", numbers(alice), by="user"))
    )
    assert act(bob, "match", numbers(bob)) == "ok"
    settled(world, alice, bob)
    status = leg(alice.step.records, alice_contact)
    assert (status.verified, status.proof) == (True, Proof("emoji", "user", alice.step.now))
    status = leg(bob.step.records, bob.step.account.contacts[0])
    assert (status.verified, status.proof) == (True, Proof("emoji", "operator", bob.step.now))


def test_a_key_that_the_operator_compared_is_signed_so_that_the_users_other_clients_know() -> None:
    world, alice, _ = met()
    assert trust(alice, "verify") == "ok"
    settled(world, alice)
    pin = pin_of(alice.step.records, BOB)
    assert pin == Pin(pin.master if pin else "", True, proof=Proof("key", "operator", alice.step.now))
    assert "identity-vouched" in alice.step.codes()
    master = world.identities[BOB]["master_key"]
    identity = verified_identity(BOB, master, world.identities[BOB]["self_signing_key"])
    own = state_of(alice.step).own
    assert own is not None
    require_vouched_master(own, identity, master)


def test_a_signature_that_waits_is_not_made_once_the_contact_is_distrusted() -> None:
    world, alice, _ = met()
    world.failing[names.SIGNATURES_UPLOAD] = "rejected"
    assert trust(alice, "verify") == "ok"
    world.settle()
    assert "vouching-failed" in alice.step.codes()
    assert trust(alice, "distrust") == "ok"
    world.failing.clear()
    alice.wakes(inside_vouching.RETRY)
    world.settle()
    assert "identity-vouched" not in alice.step.codes()
