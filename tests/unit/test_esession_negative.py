"""Every changed message is refused, with the class of error that the negative vectors name."""

import json
import re
from typing import Any

import pytest

from crypto.errors import InsideError
from crypto.esession import initiator, responder
from crypto.esession.conversation import Conversation, Event, receive
from crypto.esession.forms import MalformedForm, base64, read_form
from crypto.esession.opening import open_stanza
from crypto.esession.payloads import feature, init
from crypto.esession.refusals import Refusal, error_payload
from crypto.esession.retained import Retained
from crypto.esession.terms import Terms
from crypto.primitives.integers import mpi
from crypto.primitives.modp import GROUPS
from crypto.xml import CLIENT, Element, parse, serialize
from tests.unit.test_esession_letter import answered, draw, offered, proved, verified
from tests.vectors.esession import FOLDER, Vector, letter

CASES: list[dict[str, Any]] = json.loads((FOLDER / "esession-negative.json").read_text("utf-8"))
ORDER = ("request", "response", "completion", "init")


def changed(vector: Vector, case: dict[str, Any]) -> Element:
    """The message with the change; it must have changed something."""
    p = GROUPS[14].prime
    stanza: str = vector.stanzas()[0]["c"]
    text = stanza if case["message"] == "stanza" else vector.data["forms"][case["message"]]
    by = case["by"]
    for name, number in (("{P-1}", p - 1), ("{P}", p), ("{P+2}", p + 2), ("{P-2}", p - 2), ("{HUGE}", 1 << 9000)):
        by = by.replace(name, base64(mpi(number)))
    by = by.replace("{N_A}", base64(draw(vector, "n_a")))
    old = case["replace"]
    after = re.sub(old[3:], by, text, count=1) if old.startswith("RE:") else text.replace(old, by)
    assert after != text, "the change changes nothing"
    return parse(after.encode())


def attempt(vector: Vector, message: str, element: Element) -> None:
    """Give the element to the function that takes such messages."""
    if message == "request":
        responder.answer(element, Terms(), nonce=bytes(8), exponent=bytes(32), counter=b"A" * 16)
    elif message == "response":
        initiator.prove(offered(vector), element, Retained(), hashes=bytes(32))
    elif message == "completion":
        responder.verify(answered(vector), element, Retained(), confirmation=bytes(32))
    elif message == "init":
        initiator.complete(proved(vector), element)
    else:
        open_stanza(verified(vector).session, element)


@pytest.mark.parametrize("case", CASES, ids=[c["name"] for c in CASES])
def test_a_changed_message_is_refused_as_the_vector_says(case: dict[str, Any]) -> None:
    vector = letter("own-style")
    element = changed(vector, case)
    with pytest.raises(InsideError) as caught:
        attempt(vector, case["message"], element)
    assert type(caught.value).__name__ == case["error"]
    assert list(getattr(caught.value, "fields", ())) == case["fields"]
    assert caught.value.__context__ is None


@pytest.mark.parametrize("message", [*ORDER, "stanza"])
def test_the_unchanged_message_is_taken(message: str) -> None:
    vector = letter("own-style")
    attempt(
        vector,
        message,
        parse(vector.stanzas()[0]["c"].encode()) if message == "stanza" else vector.form(ORDER.index(message)),
    )


@pytest.mark.parametrize("case", [c for c in CASES if c["message"] != "stanza"], ids=lambda c: str(c["name"]))
def test_a_refused_message_is_answered_by_an_error_without_our_or_the_peers_form(case: dict[str, Any]) -> None:
    vector = letter("own-style")
    element = changed(vector, case)
    wrapped = init(element) if case["message"] == "init" else feature(element)
    stanza = parse(f"<message xmlns='{CLIENT}'><thread>t</thread>".encode() + wrapped + b"</message>")
    states = {
        "request": None,
        "response": Conversation("t", offered=offered(vector)),
        "completion": Conversation("t", answered=answered(vector)),
        "init": Conversation("t", proved=proved(vector)),
    }
    if case["name"] in NOT_SEEN_AS_ITS_KIND:
        return
    out = receive(
        states[case["message"]], stanza, terms=Terms(), retained=Retained(), draw=lambda _name, size: bytes(size)
    )
    assert out.event is Event.FAILED
    assert out.conversation is None
    error, form = out.replies
    assert b"jabber:x:data" not in error.payload
    assert b"dhhashes" not in form.payload
    assert (out.condition or "?").encode() in error.payload
    for var in case["fields"]:
        assert f'<field var="{var}"/>'.encode() in error.payload


NOT_SEEN_AS_ITS_KIND = frozenset(
    {"another form", "a form of another type", "a form of no type", "a completion of another type"}
)
"""By their look these are not the message that is awaited: they are ignored before anything is checked."""


def test_errors_name_the_condition_and_the_fields_of_the_specifications() -> None:
    vector = letter("own-style")
    two = serialize(vector.form(0)).replace(b"sha256", b"md5").replace(b"<value>1.0<", b"<value>9<")
    with pytest.raises(Refusal) as caught:
        attempt(vector, "request", parse(two))
    error = parse(error_payload(caught.value.condition, caught.value.fields))
    assert [e.name for e in error.elements] == ["not-acceptable", "feature"]
    assert [e.attribute("var") for e in error.elements[1].elements] == ["hash_algs", "ver"]


def test_a_form_of_absurd_size_is_refused_before_it_is_kept() -> None:
    x = letter("own-style").form(0)
    padded = Element(
        x.namespace, x.name, x.attributes, (*x.children, Element(x.namespace, "title", (), ("x" * 70_000,)))
    )
    with pytest.raises(MalformedForm):
        attempt(letter("own-style"), "request", padded)


def test_group_5_is_taken_only_where_it_is_configured() -> None:
    vector = letter("own-style")
    request = parse(serialize(vector.form(0)).replace(b"<value>14</value>", b"<value>5</value>"))
    state, form = responder.answer(
        request, Terms(groups=(14, 5)), nonce=bytes(8), exponent=bytes(32), counter=b"A" * 16
    )
    assert state.pair.group == 5
    assert read_form(form).value("modp") == "5"


@pytest.mark.parametrize("first", [0x00, 0x7F, 0x80, 0xFF, 0x41])
def test_a_drawn_counter_never_begins_with_an_unsound_octet(first: int) -> None:
    counter = responder.sound_counter(bytes([first]) + bytes(15))
    assert counter[0] not in (0x00, 0x7F, 0x80, 0xFF)
    assert counter[1:] == bytes(15)


LOGGING = [
    ("logging", ("may", "mustnot"), {"logging": "may"}, "may"),
    ("logging", ("mustnot",), {"logging": "mustnot"}, "mustnot"),
    ("logging", ("false", "true"), {"logging": "false"}, "mustnot"),
    ("otr", ("false", "true"), {"otr": "false"}, "may"),
    ("otr", ("true",), {"otr": "true"}, "mustnot"),
]


@pytest.mark.parametrize(("var", "options", "answers", "agreed"), LOGGING)
def test_every_spelling_of_logging_is_answered_in_kind(
    var: str, options: tuple[str, ...], answers: dict[str, str], agreed: str
) -> None:
    listed = "".join(f"<option><value>{o}</value></option>" for o in options)
    text = serialize(letter("own-style").form(0)).decode()
    text = re.sub(r'var="logging">.*?</field>', f'var="{var}">{listed}</field>', text)
    state, form = responder.answer(parse(text.encode()), Terms(), nonce=bytes(8), exponent=bytes(32), counter=b"A" * 16)
    answer = read_form(form)
    found = {name: answer.value(name) for name in ("logging", "otr") if answer.field(name)}
    assert found == answers
    assert state.agreement.logging == agreed
