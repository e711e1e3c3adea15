"""All of OMEMO that a locked enclave does: keys, X3DH, both ends of a conversation in both forms, what is hostile."""

import os
from contextlib import suppress
from dataclasses import replace

from crypto.omemo import conversation, device
from crypto.omemo.bundles import bundle_element, read_bundle
from crypto.omemo.elements import read_message
from crypto.omemo.envelope import opened_envelope, sealed_envelope
from crypto.omemo.faults import OmemoError, TooManySkipped
from crypto.omemo.frames import frame_body, frame_octets, read_frame
from crypto.omemo.model import Message, Peer, Recipient
from crypto.omemo.names import Namespace
from crypto.xml import CLIENT, element, parse, serialize
from tests.unit.omemo_world import NOW, Shelf

ALICE, BOB = "alice@example.org", "bob@example.org"


def _draw(_name: str, size: int) -> bytes:
    return os.urandom(size)


def _made(device_id: int) -> Shelf:
    shelf = Shelf()
    device.created(shelf, _draw, device_id=device_id, now_ms=NOW)
    return shelf


def _said(shelf: Shelf, to: Recipient, octets: bytes) -> Message:
    made = conversation.encrypted(shelf, _draw, {to.peer.namespace: octets}, [to])
    return read_message(parse(serialize(made.elements[to.peer.namespace])))


def work() -> str:
    """Returns `done`, or raises."""
    for form in Namespace:
        _conversation(form)
    return "done"


def _conversation(form: Namespace) -> None:
    alice, bob = _made(1), _made(2)
    bundle = read_bundle(parse(serialize(bundle_element(device.public_bundle(bob, form)))))
    to_bob, to_alice = Recipient(Peer(form, BOB, 2), bundle), Recipient(Peer(form, ALICE, 1))
    text = sealed_envelope((element(CLIENT, "body", "hello"),), _draw, sender=ALICE)
    for _ in range(3):
        message = _said(alice, to_bob, text)
        opened = conversation.decrypted(bob, _draw, message, own_jid=BOB, sender_jid=ALICE)
        assert opened.plaintext == text
        opened_envelope(text, sender=ALICE, recipient=BOB)
        back = conversation.decrypted(alice, _draw, _said(bob, to_alice, b"x"), own_jid=ALICE, sender_jid=BOB)
        assert back.plaintext == b"x"
    assert device.maintained(bob, _draw, NOW + 10**10)
    _hostile(form, bob, _said(alice, to_bob, text))
    _many_missing(form, alice, bob, to_bob)


def _hostile(form: Namespace, bob: Shelf, message: Message) -> None:
    """Counters at which a library would print a warning, which needs a file; octets at random."""
    (key,) = message.keys
    frame = read_frame(form, key.octets)
    other = bytes([9]) + bytes(31)
    for ratchet_key, counter, previous in ((other, 0, 1 << 31), (frame.ratchet_key, 1 << 31, 0)):
        octets = frame_octets(form, frame_body(form, ratchet_key, counter, previous, frame.ciphertext), frame.tag)
        _refused(bob, replace(message, keys=(replace(key, octets=octets),)))
    for size in (0, 1, 50, 300):
        _refused(bob, replace(message, keys=(replace(key, octets=os.urandom(size), prekey=size == 50),)))


def _refused(bob: Shelf, message: Message) -> None:
    with suppress(OmemoError):
        conversation.decrypted(bob, _draw, message, own_jid=BOB, sender_jid=ALICE)
        raise AssertionError("it was taken")


def _many_missing(form: Namespace, alice: Shelf, bob: Shelf, to_bob: Recipient) -> None:
    """A genuine message after more than may be missing in the chain before it."""
    conversation.decrypted(bob, _draw, _said(alice, to_bob, b"x"), own_jid=BOB, sender_jid=ALICE)
    for _ in range(1010):
        last = _said(alice, to_bob, b"lost")
    try:
        conversation.decrypted(bob, _draw, last, own_jid=BOB, sender_jid=ALICE)
    except TooManySkipped:
        pass
    else:
        raise AssertionError("it was taken")
    answer = _said(bob, Recipient(Peer(form, ALICE, 1)), b"answer")
    conversation.decrypted(alice, _draw, answer, own_jid=ALICE, sender_jid=BOB)
    moved = _said(alice, to_bob, b"moved on")
    assert conversation.decrypted(bob, _draw, moved, own_jid=BOB, sender_jid=ALICE).plaintext == b"moved on"
