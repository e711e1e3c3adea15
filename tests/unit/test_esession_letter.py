"""The vectors of the letter, derived by an independent script: value by value, and by playing either side of them."""

import json
import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crypto.esession import initiator, keys, responder, terms
from crypto.esession.conversation import Conversation, Event, Outcome, receive, send
from crypto.esession.forms import read_form
from crypto.esession.keys import Exchange, Role
from crypto.esession.normal_form import CANONICAL, CLOSING_FIELDS, normal_form
from crypto.esession.profiles import TRAITS, Profile, Traits
from crypto.esession.retained import Retained, RetainedSecret, new_secret
from crypto.esession.states import Answered, Established, Offered, Proved
from crypto.esession.terms import Terms
from crypto.primitives.integers import from_octets
from crypto.primitives.modp import GROUPS, secret_exponent, shared_value
from crypto.xml import parse, serialize
from tests.vectors import esession
from tests.vectors.esession import LETTER, Vector, letter

names = pytest.mark.parametrize("name", LETTER)
OWN_STYLE = [name for name in LETTER if name.startswith("own-style")]


def draw(vector: Vector, name: str) -> bytes:
    return bytes.fromhex(vector.data["draws"][name])


def kept(vector: Vector) -> Retained:
    secret = vector.data["retained"]
    return Retained((RetainedSecret(bytes.fromhex(secret)),) if secret else ())


def traits(vector: Vector) -> Traits:
    return TRAITS[Profile(vector.data["profile"])]


def counter(vector: Vector) -> int:
    return from_octets(draw(vector, "counter"))


def offered(vector: Vector) -> Offered:
    pair = initiator.key_pair(vector.data["group"], draw(vector, "x"))
    return Offered(serialize(vector.form(0)), draw(vector, "n_a"), (pair,), Profile(vector.data["profile"]), 0)


def proved(vector: Vector) -> Proved:
    """Our initiator with the recorded draws; its M_A set to the recorded one, as its form differs from the recorded."""
    state, _ = initiator.prove(offered(vector), vector.form(1), kept(vector), hashes=draw(vector, "hashes"))
    return replace(state, initiator_mac=vector.octets("m_a"))


def answered(vector: Vector) -> Answered:
    """Our responder, as if it had sent the recorded response."""
    request = vector.form(0)
    choice = terms.choose(read_form(request), Terms())
    pair = initiator.key_pair(vector.data["group"], draw(vector, "y"))
    state, _ = responder.answer_with(
        request, choice, nonce=draw(vector, "n_b"), pair=pair, counter=draw(vector, "counter")
    )
    return replace(state, response=serialize(vector.form(1)))


def verified(vector: Vector) -> Established:
    made, _ = responder.verify(
        answered(vector), vector.form(2), kept(vector), confirmation=draw(vector, "confirmation")
    )
    return made


def completed(vector: Vector) -> Established:
    return initiator.complete(proved(vector), vector.form(3))


# ---------------------------------------------------------------------------------------------------- values
def test_the_files_are_what_the_script_derives() -> None:
    script = runpy.run_path(str(Path(esession.__file__).with_name("derive_esession_letter.py")))
    derive: Callable[..., dict[str, Any]] = script["derive"]
    cheap: dict[str, dict[str, Any]] = {
        "group-14": {"groups": [14]},
        "own-style-retained": {"groups": [14], "style": "own", "shared": True},
    }
    for name, arguments in cheap.items():
        assert json.loads(json.dumps(derive(name, **arguments))) == letter(name).data


@names
def test_exponents_and_public_values(name: str) -> None:
    vector = letter(name)
    for secret, public in (("x", "e"), ("y", "d")):
        pair = initiator.key_pair(vector.data["group"], draw(vector, secret))
        assert pair.exponent == vector.octets(secret) == secret_exponent(draw(vector, secret))
        assert pair.public == vector.octets(public)


@names
def test_normal_forms(name: str) -> None:
    vector = letter(name)
    for number, value in ((0, "form_a"), (1, "form_b")):
        assert normal_form(vector.form(number), CANONICAL).decode() == vector.values[value]
    for number, value in ((2, "form_a2"), (3, "form_b2")):
        assert normal_form(vector.form(number), CANONICAL, without=CLOSING_FIELDS).decode() == vector.values[value]


@names
def test_keys(name: str) -> None:
    vector = letter(name)
    group = GROUPS[vector.data["group"]]
    shared = keys.key_from_exchange(shared_value(group, vector.octets("d"), vector.octets("x")))
    assert shared == vector.octets("k_dh")
    secrets = kept(vector).secrets
    final = keys.final_key(shared, secrets[0].secret if secrets else None)
    assert final == vector.octets("k")
    assert new_secret(final) == vector.octets("new_retained_secret")
    for role, side in ((Role.INITIATOR, "a"), (Role.RESPONDER, "b")):
        found = keys.direction_keys(final, role, traits(vector))
        assert (found.cipher, found.mac) == (vector.octets(f"kc_{side}"), vector.octets(f"km_{side}"))


@names
def test_proofs(name: str) -> None:
    vector = letter(name)
    text = {key: vector.values[key].encode() for key in ("form_a", "form_a2", "form_b", "form_b2")}
    n_a, n_b = draw(vector, "n_a"), draw(vector, "n_b")
    of_a = Exchange(n_b, n_a, vector.octets("e"), text["form_a"], text["form_a2"])
    of_b = Exchange(n_a, n_b, vector.octets("d"), text["form_b"], text["form_b2"])
    sides = (
        ("a", Role.INITIATOR, vector.octets("k_dh"), of_a, counter(vector)),
        ("b", Role.RESPONDER, vector.octets("k"), of_b, keys.responder_counter(counter(vector))),
    )
    for side, role, key, exchange, at in sides:
        own = keys.direction_keys(key, role, traits(vector))
        assert exchange.proof(own) == vector.octets(f"mac_{side}")
        identity = keys.identity_cipher(own, traits(vector), at, exchange.proof(own))
        assert identity == vector.octets(f"id_{side}")
        assert keys.identity_mac(own, at, identity) == vector.octets(f"m_{side}")


# ---------------------------------------------------------------------------------------------------- playing a side
def require_session(vector: Vector, made: Established, own: str, peer: str) -> None:
    session = made.session
    assert session.profile == vector.data["profile"]
    assert session.sas == session.sas_shown == vector.values["sas"]
    assert made.secret is not None
    assert made.secret.secret == vector.octets("new_retained_secret")
    assert session.sending.cipher_key == vector.octets(f"kc_{own}")
    assert session.receiving.mac_key == vector.octets(f"km_{peer}")


@names
def test_our_responder_recognises_the_profile_and_arrives_at_the_session(name: str) -> None:
    vector = letter(name)
    require_session(vector, verified(vector), "b", "a")


@names
def test_our_initiator_arrives_at_the_session(name: str) -> None:
    vector = letter(name)
    require_session(vector, completed(vector), "a", "b")


@pytest.mark.parametrize("name", OWN_STYLE)
def test_our_messages_are_the_derived_ones_where_the_style_is_ours(name: str) -> None:
    vector = letter(name)
    state, completion = initiator.prove(offered(vector), vector.form(1), kept(vector), hashes=draw(vector, "hashes"))
    assert normal_form(completion, CANONICAL) == normal_form(vector.form(2), CANONICAL)
    assert state.initiator_mac == vector.octets("m_a")
    mine, response = responder.answer(
        vector.form(0), Terms(), nonce=draw(vector, "n_b"), exponent=draw(vector, "y"), counter=draw(vector, "counter")
    )
    assert normal_form(response, CANONICAL) == normal_form(vector.form(1), CANONICAL)
    _, last = responder.verify(mine, completion, kept(vector), confirmation=draw(vector, "confirmation"))
    assert normal_form(last, CANONICAL) == normal_form(vector.form(3), CANONICAL)


def take(state: Conversation, payload: str) -> Outcome:
    def no_draw(name: str, size: int) -> bytes:
        raise AssertionError((name, size))

    stanza = parse(f"<message xmlns='jabber:client'>{payload}</message>".encode())
    return receive(state, stanza, terms=Terms(), retained=Retained(), draw=no_draw)


@names
@pytest.mark.parametrize("who", ["alice", "bob"])
def test_stanzas_of_any_length_are_opened_at_the_recorded_counters(name: str, who: str) -> None:
    vector = letter(name)
    session = (completed if who == "alice" else verified)(vector).session
    state = Conversation("t", session=session)
    events = []
    for entry in vector.stanzas():
        if entry["from"] == who:
            continue
        assert state.session is not None
        assert state.session.receiving.counter == bytes.fromhex(entry["before"])
        out = take(state, entry["c"])
        events.append(out.event)
        if out.event is Event.CONTENT:
            expected = parse(f"<x xmlns='jabber:client'>{entry['content']}</x>".encode())
            assert out.content == expected.elements
            assert out.conversation is not None
            state = out.conversation
            assert state.session is not None
            assert state.session.receiving.counter == bytes.fromhex(entry["after"])
    assert events == [Event.CONTENT] * 3 + [Event.ENDED]


@names
def test_a_padded_content_is_sealed_as_derived(name: str) -> None:
    vector = letter(name)
    first = next(e for e in vector.stanzas() if e["from"] == "alice")
    sent = send(Conversation("t", session=completed(vector).session), first["content"].encode())
    ours = parse(sent.replies[0].payload)
    assert [e.text for e in ours.elements] == [e.text for e in parse(first["c"].encode()).elements]


@names
def test_the_termination_is_acknowledged_encrypted(name: str) -> None:
    vector = letter(name)
    state = Conversation("t", session=verified(vector).session)
    for entry in vector.stanzas():
        if entry["from"] == "alice":
            out = take(state, entry["c"])
            state = out.conversation or state
    assert out.event is Event.ENDED
    assert [reply.kind for reply in out.replies] == ["encrypted"]
    assert out.conversation is None
