"""Fuzz target: forms of negotiations with keys, hybrid, in 3 messages and in 4, at the functions that take them."""

import sys
from collections.abc import Callable
from contextlib import suppress

from crypto.errors import Malformed
from crypto.esession import initiator, responder
from crypto.esession.forms import is_negotiation_form
from crypto.esession.identities import new_ed25519
from crypto.esession.refusals import Refusal
from crypto.esession.retained import Retained
from crypto.esession.states import Answered, Offered
from crypto.esession.terms import Terms
from crypto.xml import Element, MalformedXml, parse

_ALICE, _BOB = new_ed25519(b"a" * 32), new_ed25519(b"b" * 32)
_GROUPS = ("x25519", 14)
ALICE = Terms(groups=_GROUPS, identity=_ALICE, peer_keys=("hash", "key"), known_keys=(_BOB.public,), password=b"pw")
BOB = Terms(groups=_GROUPS, identity=_BOB, peer_keys=("hash", "key"), known_keys=(_ALICE.public,), password=b"pw")
ALICE_3 = Terms(groups=_GROUPS, identity=_ALICE, peer_keys=("key",))
BOB_3 = Terms(groups=_GROUPS, identity=_BOB, peer_keys=("hash", "key"), three_message=True)
KEPT = Retained()


def _offer(own: Terms, *, three_message: bool) -> tuple[Offered, Element]:
    exponents = (b"x" * 32, b"z" * 32)
    return initiator.offer(
        own, nonce=b"initiate", exponents=exponents, kem_seeds=(b"k" * 64,), three_message=three_message
    )


def _answer(x: Element, own: Terms) -> tuple[Answered, Element]:
    return responder.answer(x, own, nonce=b"responds", exponent=b"y" * 32, counter=b"A" * 16)


OFFERED, REQUEST = _offer(ALICE, three_message=False)
OFFERED_3, REQUEST_3 = _offer(ALICE_3, three_message=True)
ANSWERED, RESPONSE = _answer(REQUEST, BOB)
ANSWERED_3, RESPONSE_3 = _answer(REQUEST_3, BOB_3)
PROVED, COMPLETION = initiator.prove(OFFERED, RESPONSE, KEPT, hashes=b"h" * 64, own=ALICE)
_, COMPLETION_3 = initiator.conclude(OFFERED_3, RESPONSE_3, ALICE_3, KEPT)


def target(data: bytes) -> None:
    """Only refusals come of it, and no session of anything but the messages themselves."""
    try:
        x = parse(data, max_octets=100_000)
    except MalformedXml:
        return
    if not is_negotiation_form(x):
        return
    taking: tuple[Callable[[], object], ...] = (
        lambda: _answer(x, BOB),
        lambda: _answer(x, BOB_3),
        lambda: initiator.prove(OFFERED, x, KEPT, hashes=b"h" * 64, own=ALICE),
        lambda: initiator.conclude(OFFERED_3, x, ALICE_3, KEPT),
        lambda: responder.verify(ANSWERED, x, KEPT, confirmation=b"c" * 32, own=BOB),
        lambda: responder.conclude(ANSWERED_3, x, KEPT, own=BOB_3),
        lambda: initiator.complete(PROVED, x, ALICE),
    )
    for take in taking:
        with suppress(Refusal, Malformed):
            take()


def seeds() -> dict[str, Element]:
    """Good forms to begin with; they are of other draws in each process, as a key encapsulation draws by itself."""
    _, init = responder.verify(ANSWERED, COMPLETION, KEPT, confirmation=b"c" * 32, own=BOB)
    four = {"request": REQUEST, "response": RESPONSE, "completion": COMPLETION, "init": init}
    return four | {"request-3": REQUEST_3, "response-3": RESPONSE_3, "completion-3": COMPLETION_3}


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
