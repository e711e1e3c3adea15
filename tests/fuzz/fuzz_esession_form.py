"""Fuzz target: the forms of all four messages, at the functions that take them."""

import sys
from contextlib import suppress

from crypto.errors import Malformed
from crypto.esession import initiator, responder
from crypto.esession.forms import is_negotiation_form, read_form
from crypto.esession.normal_form import CLOSING_FIELDS, READINGS, normal_form
from crypto.esession.payloads import form_payload
from crypto.esession.refusals import Refusal
from crypto.esession.retained import Retained
from crypto.esession.states import KeyPair
from crypto.esession.terms import Terms, choose
from crypto.xml import Element, MalformedXml, parse

TERMS = Terms(groups=(14,))
OFFERED, REQUEST = initiator.offer(TERMS, nonce=b"initiate", exponents=(b"x" * 32,))
ANSWERED, RESPONSE = responder.answer(REQUEST, TERMS, nonce=b"responds", exponent=b"y" * 32, counter=b"A" * 16)
PROVED, COMPLETION = initiator.prove(OFFERED, RESPONSE, Retained(), hashes=b"h" * 64)
PAIR = KeyPair(14, ANSWERED.pair.exponent, ANSWERED.pair.public)


def target(data: bytes) -> None:
    """Only refusals come of it; a form can always be normalised."""
    try:
        x = parse(data, max_octets=100_000)
    except MalformedXml:
        return
    form_payload(x)
    for reading in READINGS:
        normal_form(x, reading, without=CLOSING_FIELDS)
    if not is_negotiation_form(x):
        return
    with suppress(Refusal, Malformed):
        choice = choose(read_form(x), TERMS)
        responder.answer_with(x, choice, nonce=b"responds", pair=PAIR, counter=b"A" * 16)
    with suppress(Refusal, Malformed):
        initiator.prove(OFFERED, x, Retained(), hashes=b"h" * 64)
    with suppress(Refusal, Malformed):
        responder.verify(ANSWERED, x, Retained(), confirmation=b"c" * 32)
    with suppress(Refusal, Malformed):
        initiator.complete(PROVED, x)


def seeds() -> dict[str, Element]:
    """Good forms to begin with."""
    _, init = responder.verify(ANSWERED, COMPLETION, Retained(), confirmation=b"c" * 32)
    return {"request": REQUEST, "response": RESPONSE, "completion": COMPLETION, "init": init}


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
