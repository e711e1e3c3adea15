"""What OMEMO costs: the protocol core alone, with its store in memory. CPU of this process."""

import time
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from crypto.omemo.conversation import encrypted
from crypto.omemo.model import Recipient
from crypto.omemo.names import Namespace
from tests.bench.ends import body_text
from tests.unit.omemo_world import End

ALICE, BOB = "alice@xmpp.example", "bob@gate.example"
MANY = 8
"""Devices of a user who has many."""
SKIPPED = 999
"""Messages that are missing before one that comes: one less than keys are kept for."""


def measured(messages: int) -> dict[str, float]:
    """Milliseconds a message, and how many X25519 agreements that is; in each form. `messages`: at most `SKIPPED`."""
    agreement = _agreement_ms(messages)
    found = {}
    for form in Namespace:
        for name, ms in _of(form, messages).items():
            found[f"OMEMO ({form.short}), {name}: ms"] = ms
            found[f"OMEMO ({form.short}), {name}: times an X25519 agreement"] = ms / agreement
    return found


def _of(form: Namespace, messages: int) -> dict[str, float]:
    bob = End.make(BOB, 1)
    devices = [End.make(ALICE, 100 + number) for number in range(MANY)]
    text = body_text(0).encode()
    strangers = iter([Recipient(end.peer(form), end.bundle(form)) for end in devices])
    begun = _ms(MANY, lambda: encrypted(bob.shelf, bob.dice, {form: text}, [next(strangers)]))
    first = devices[0]
    bob.hears(first.says(text, form, bob), ALICE)
    said = []
    found = {
        "a session begun and one message": begun,
        "a message to one device": _ms(messages, lambda: said.append(bob.says(text, form, first, bundles=False))),
        f"a message to {MANY} devices": _ms(messages, lambda: bob.says(text, form, *devices, bundles=False)),
    }
    waiting = iter(said)
    found["a message opened"] = _ms(len(said), lambda: first.hears(next(waiting), BOB))
    for _ in range(SKIPPED - messages + 1):  # those that went to all of them are missing too
        late = bob.says(text, form, first, bundles=False)
    found[f"a message opened after {SKIPPED} that are missing"] = _ms(1, lambda: first.hears(late, BOB))
    return found


def _agreement_ms(times: int) -> float:
    ours, theirs = X25519PrivateKey.generate(), X25519PrivateKey.generate().public_key()
    return _ms(times, lambda: ours.exchange(theirs))


def _ms(times: int, act: Callable[[], object]) -> float:
    began = time.process_time()
    for _ in range(times):
        act()
    return 1000 * (time.process_time() - began) / times
