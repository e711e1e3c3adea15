"""Every refusal of XEP-0116, with keys, passwords, extensions, in 3 messages and in 4, as the negative vectors say."""

import json
import re
from typing import Any

import pytest

from crypto.errors import InsideError
from crypto.esession import initiator, responder
from crypto.esession.conversation import Conversation, Event, receive
from crypto.esession.forms import base64
from crypto.esession.payloads import feature, init
from crypto.esession.retained import Retained
from crypto.esession.states import Proved
from crypto.primitives.integers import mpi
from crypto.primitives.modp import GROUPS
from crypto.xml import CLIENT, Element, parse
from tests.unit.test_esession_extended import answered, draw, kept, requested, terms, vector
from tests.vectors.esession import FOLDER, Vector

CASES: list[dict[str, Any]] = json.loads((FOLDER / "esession-extended-negative.json").read_text("utf-8"))
ORDER = ("request", "response", "completion", "init")
each = pytest.mark.parametrize("case", CASES, ids=[f"{c['vector']}: {c['name']}" for c in CASES])


def changed(of: Vector, case: dict[str, Any]) -> Element:
    """The message with the change; it must have changed something."""
    p = GROUPS[14].prime
    text: str = of.data["forms"][case["message"]]
    by = case["by"]
    for name, number in (("{P-1}", p - 1), ("{P}", p), ("{P+2}", p + 2), ("{P-2}", p - 2)):
        by = by.replace(name, base64(mpi(number)))
    old = case["replace"]
    after = re.sub(old[3:], by, text, count=1) if old.startswith("RE:") else text.replace(old, by)
    assert after != text, "the change changes nothing"
    return parse(after.encode())


def attempt(of: Vector, message: str, x: Element) -> None:
    """Give the message to the function that takes it."""
    own = terms(of, "bob" if message in ("request", "completion") else "alice")
    three = of.data["messages"] == 3
    if message == "request":
        responder.answer(x, own, nonce=draw(of, "n_b"), exponent=draw(of, "y"), counter=draw(of, "counter"))
    elif message == "response" and three:
        initiator.conclude(requested(of)[0], x, own, kept(of))
    elif message == "response":
        initiator.prove(requested(of)[0], x, kept(of), hashes=draw(of, "hashes"), own=own)
    elif message == "completion" and three:
        responder.conclude(answered(of)[0], x, kept(of), own=own)
    elif message == "completion":
        responder.verify(answered(of)[0], x, kept(of), confirmation=draw(of, "confirmation"), own=own)
    else:
        initiator.complete(proved(of), x, own)


def proved(of: Vector) -> Proved:
    own = terms(of, "alice")
    return initiator.prove(requested(of)[0], of.form(1), kept(of), hashes=draw(of, "hashes"), own=own)[0]


@each
def test_a_changed_message_is_refused_as_the_vector_says(case: dict[str, Any]) -> None:
    of = vector(case["vector"])
    x = changed(of, case)
    with pytest.raises(InsideError) as caught:
        attempt(of, case["message"], x)
    assert type(caught.value).__name__ == case["error"]
    assert list(getattr(caught.value, "fields", ())) == case["fields"]
    assert caught.value.__context__ is None


def state_for(of: Vector, message: str) -> Conversation | None:
    """The conversation in which that message is awaited."""
    if message == "request":
        return None
    if message == "response":
        return Conversation("t", offered=requested(of)[0])
    if message == "completion":
        return Conversation("t", answered=answered(of)[0])
    return Conversation("t", proved=proved(of))


@each
def test_the_error_stanza_is_the_one_of_the_text(case: dict[str, Any]) -> None:
    of = vector(case["vector"])
    x = changed(of, case)
    stanza = parse(
        f"<message xmlns='{CLIENT}'><thread>t</thread>".encode()
        + (init(x) if case["message"] == "init" else feature(x))
        + b"</message>"
    )
    own = terms(of, "bob" if case["message"] in ("request", "completion") else "alice")
    out = receive(
        state_for(of, case["message"]),
        stanza,
        terms=own,
        retained=Retained(),
        draw=lambda _name, size: bytes(size),
    )
    assert (out.event, out.conversation, out.condition) == (Event.FAILED, None, case["condition"])
    assert list(out.refused_fields) == case["fields"]
    assert b"jabber:x:data" not in out.replies[0].payload


def test_the_vectors_cover_every_clause_that_refuses() -> None:
    clauses = {case["clause"] for case in CASES}
    assert clauses == {
        "ESession Request",
        "ESession Rejection",
        "Diffie-Hellman Preparation (Bob)",
        "Diffie-Hellman Preparation (Alice)",
        "Verifying Bob",
        "Verifying Bob, final steps",
        "Verifying Alice",
        "Sending Alice",
    }


@pytest.mark.parametrize("name", sorted({case["vector"] for case in CASES}))
def test_the_unchanged_messages_are_taken(name: str) -> None:
    of = vector(name)
    for number, message in enumerate(ORDER[: of.data["messages"]]):
        attempt(of, message, of.form(number))
