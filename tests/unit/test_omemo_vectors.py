"""OMEMO against a conversation that was derived a second time: read by either end, and written to the octet."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from crypto.omemo import conversation, curve, device
from crypto.omemo.bundles import bundle_element, read_bundle
from crypto.omemo.device import Keys, OneTimeKey, SignedPreKey
from crypto.omemo.elements import read_message
from crypto.omemo.frames import encoded_key
from crypto.omemo.model import Key, Message, Opened, Peer, Recipient
from crypto.omemo.names import Namespace
from tests.unit.omemo_world import Shelf
from tests.vectors import derive_omemo

CASES: list[dict[str, Any]] = json.loads((Path(derive_omemo.__file__).parent / "omemo.json").read_text("utf-8"))
IDS = {"alice": 11, "bob": 22}
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: Namespace(case["namespace"]).short)


@dataclass
class Given:
    """Draws that are written down: each once, by name."""

    draws: dict[str, str] = field(default_factory=dict)

    def __call__(self, name: str, size: int) -> bytes:
        octets = bytes.fromhex(self.draws.pop(name))
        assert len(octets) == size, name
        return octets


def jid(end: str) -> str:
    return f"{end}@example.org"


def shelves(case: dict[str, Any]) -> dict[str, Shelf]:
    """Both ends before the first message."""
    found = {end: Shelf({"device": device.device_from(IDS[end], bytes.fromhex(case["seeds"][end]))}) for end in IDS}
    bundle = case["bundle"]
    text = (b"\5" if case["namespace"] == Namespace.AXOLOTL else b"") + curve.public_key(
        bytes.fromhex(bundle["signed"])
    )
    identity = device.device_of(found["bob"]).identity
    signature = curve.signature(identity, text, Given({"omemo-signature": bundle["nonce"]}))
    keys = Keys(
        SignedPreKey(bundle["signed_id"], bytes.fromhex(bundle["signed"]), signature),
        None,
        0,
        (OneTimeKey(bundle["prekey_id"], bytes.fromhex(bundle["prekey"])),),
        100,
    )
    found["bob"].put(device.keys_name(Namespace(case["namespace"])), keys)
    return found


def as_message(case: dict[str, Any], said: dict[str, Any]) -> Message:
    form, end = Namespace(case["namespace"]), said["from"]
    other = "bob" if end == "alice" else "alice"
    key = Key(jid(other) if form is Namespace.OMEMO_2 else None, IDS[other], said["prekey"], bytes.fromhex(said["key"]))
    iv = None if said["iv"] is None else bytes.fromhex(said["iv"])
    return Message(form, IDS[end], (key,), iv, bytes.fromhex(said["payload"]))


def heard(case: dict[str, Any], shelf: Shelf, said: dict[str, Any]) -> Opened:
    other = "bob" if said["from"] == "alice" else "alice"
    return conversation.decrypted(
        shelf,
        Given(dict(said["heard_draws"])),
        as_message(case, said),
        own_jid=jid(other),
        sender_jid=jid(said["from"]),
        known=bytes.fromhex(case["identities"][said["from"]]),
    )


@cases
def test_keys_are_the_derived_ones_and_signatures_verify_both_ways(case: dict[str, Any]) -> None:
    ends = shelves(case)
    for end, shelf in ends.items():
        own = device.own(shelf)
        assert own is not None
        assert own.identity_key.hex() == case["identities"][end]
        assert curve.signing_key(own.identity_key).hex() == case["signing"][end]
    bundle = device.public_bundle(ends["bob"], Namespace(case["namespace"]))
    assert read_bundle(bundle_element(bundle)) == bundle
    text = encoded_key(bundle.namespace, bundle.signed_key)
    assert derive_omemo.verified(bytes.fromhex(case["signing"]["bob"]), text, bundle.signature)
    assert not derive_omemo.verified(bytes.fromhex(case["signing"]["alice"]), text, bundle.signature)
    theirs = replace(bundle, signature=bytes.fromhex(case["bundle"]["signature"]))
    assert read_bundle(bundle_element(theirs)) == theirs


@cases
def test_each_end_reads_what_the_other_says(case: dict[str, Any]) -> None:
    ends = shelves(case)
    for said in case["messages"]:
        if said["from"] == "alice":
            opened = heard(case, ends["bob"], said)
            assert opened.plaintext == said["text"].encode()
            assert (opened.prekey, opened.new_session) == (said["prekey"], said is case["messages"][0])
        else:
            _write(case, ends["bob"], said)


@cases
def test_each_end_writes_every_octet_of_it_from_the_same_draws(case: dict[str, Any]) -> None:
    ends = shelves(case)
    for said in case["messages"]:
        other = "bob" if said["from"] == "alice" else "alice"
        _write(case, ends[said["from"]], said)
        assert heard(case, ends[other], said).plaintext == said["text"].encode()


def _write(case: dict[str, Any], shelf: Shelf, said: dict[str, Any]) -> None:
    form, end = Namespace(case["namespace"]), said["from"]
    other = "bob" if end == "alice" else "alice"
    peer = Peer(form, jid(other), IDS[other])
    bundle = None
    if conversation.missing_sessions(shelf, [peer]):
        bundle = device.public_bundle(shelves(case)["bob"], form)
    dice = Given(dict(said["draws"]))
    made = conversation.encrypted(shelf, dice, {form: said["text"].encode()}, [Recipient(peer, bundle)])
    assert dice.draws == {}
    assert read_message(made.elements[form]) == as_message(case, said)


def test_the_vectors_are_what_their_script_derives() -> None:
    assert (Path(derive_omemo.__file__).parent / "omemo.json").read_text("utf-8") == derive_omemo.content()
