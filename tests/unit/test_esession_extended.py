"""The vectors of 3 messages, public keys, passwords, suites and hybrid sessions: message by message, octet by octet."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from crypto.esession import initiator, responder
from crypto.esession.conversation import Conversation, Event, receive, send
from crypto.esession.forms import read_form
from crypto.esession.identities import Identity, from_pem, new_ed25519
from crypto.esession.key_values import SignAlgorithm
from crypto.esession.keys import Encapsulated
from crypto.esession.normal_form import CANONICAL, normal_form
from crypto.esession.passwords import password_octets
from crypto.esession.profiles import Profile
from crypto.esession.retained import Retained, RetainedSecret
from crypto.esession.session import Session
from crypto.esession.states import Answered, Established, Offered
from crypto.esession.terms import Terms, choose
from crypto.xml import Element, parse, serialize
from tests.vectors import derive_esession_extended as script
from tests.vectors.esession import FOLDER, Vector

NAMES = [case.name for case in script.CASES]
names = pytest.mark.parametrize("name", NAMES)


def vector(name: str) -> Vector:
    return Vector(json.loads((FOLDER / "esession-extended" / f"{name}.json").read_text("utf-8")))


def draw(of: Vector, name: str) -> bytes:
    return bytes.fromhex(of.data["draws"][name])


def kept(of: Vector) -> Retained:
    secret = of.data["retained"]
    return Retained((RetainedSecret(bytes.fromhex(secret)),) if secret else ())


def identity(of: Vector, who: str) -> Identity | None:
    keys = of.data["signing_keys"]
    if keys is None:
        return None
    octets = bytes.fromhex(keys[who])
    if of.data["sign_alg"] == SignAlgorithm.ED25519:
        found = new_ed25519(octets)
    else:
        text = base64.encodebytes(octets).decode()
        found = from_pem(f"-----BEGIN PRIVATE KEY-----\n{text}-----END PRIVATE KEY-----\n".encode())
    assert found.public.key_value.decode() == of.data["key_values"][who]
    return found


def terms(of: Vector, who: str) -> Terms:
    """What the side of the vector may agree to: exactly what was agreed."""
    data: dict[str, Any] = of.data
    suite = data["suite"]
    methods = {"alice": data["init_pubkey"], "bob": data["resp_pubkey"]}
    other = {"alice": "bob", "bob": "alice"}[who]
    peer = identity(of, other)
    bound = "sas28x5-bound" in data["forms"]["request"]
    return Terms(
        groups=(int(suite["group"]) if suite["group"].isdigit() else suite["group"],),
        ciphers=(suite["cipher"],),
        hashes=(suite["hash"],),
        kems=(suite["kem"],) if suite["kem"] else (),
        sas_algs=("{urn:lockgate:esession:0}sas28x5-bound" if bound else "sas28x5",),
        rekey_freq={"alice": 100, "bob": 250}[who],
        password=password_octets(data["password"]) if data["password"] else None,
        identity=identity(of, who),
        own_keys=(methods[who],),
        peer_keys=(methods[other],),
        known_keys=(peer.public,) if peer and methods[other] == "hash" else (),
        sign_algs=(SignAlgorithm(data["sign_alg"]),) if data["sign_alg"] else (SignAlgorithm.RSA,),
        three_message=data["messages"] == 3,
    )


def requested(of: Vector) -> tuple[Offered, Element]:
    three = of.data["messages"] == 3
    own = terms(of, "alice")
    seeds = (draw(of, "kem_seed"),) if own.kems else ()
    state, x = initiator.offer(
        own,
        nonce=draw(of, "n_a"),
        exponents=(draw(of, "x"),),
        kem_seeds=seeds,
        profile=Profile.LETTER,
        three_message=three,
    )
    return replace(state, once=of.data["name"] == "three-once"), x


def answered(of: Vector) -> tuple[Answered, Element]:
    own, x = terms(of, "bob"), of.form(0)
    choice = choose(read_form(x), own)
    pair = initiator.key_pair(choice.group, draw(of, "y"))
    given = None
    if choice.kem_key is not None:
        ciphertext = read_form(of.form(1)).octets("{urn:lockgate:esession:0}kemkeys", 1, 2000)
        given = Encapsulated(of.octets("kem_secret"), choice.kem_key, ciphertext)
    return responder.answer_with(
        x, choice, nonce=draw(of, "n_b"), pair=pair, counter=draw(of, "counter"), encapsulated=given, own=own
    )


def played(of: Vector) -> tuple[Established, Established, list[Element]]:
    """Both our sides, each fed with the derived messages; what they are left with, and the messages that we made."""
    offered, first = requested(of)
    offered = replace(offered, request=serialize(of.form(0)))
    bob, second = answered(of)
    alice_terms, bob_terms = terms(of, "alice"), terms(of, "bob")
    if of.data["messages"] == 3:
        alice, third = initiator.conclude(offered, of.form(1), alice_terms, kept(of))
        made, once = responder.conclude(bob, of.form(2), kept(of), own=bob_terms)
        assert once is (of.data["name"] == "three-once")
        return alice, made, [first, second, third]
    fill = draw(of, "hashes")
    proved, third = initiator.prove(offered, of.form(1), kept(of), hashes=fill, own=alice_terms)
    made, fourth = responder.verify(bob, of.form(2), kept(of), confirmation=draw(of, "confirmation"), own=bob_terms)
    return initiator.complete(proved, of.form(3), alice_terms), made, [first, second, third, fourth]


@pytest.mark.parametrize("name", ["three-once", "x25519", "keys-rsa"])
def test_the_files_are_what_the_script_derives(name: str) -> None:
    case = next(case for case in script.CASES if case.name == name)
    assert json.loads(json.dumps(script.derive(case))) == vector(name).data


def test_there_is_a_file_for_each_case_and_no_other() -> None:
    assert sorted(path.stem for path in script.FOLDER.glob("*.json")) == sorted(NAMES)


@names
def test_our_messages_are_the_derived_ones(name: str) -> None:
    of = vector(name)
    for number, message in enumerate(played(of)[2]):
        assert normal_form(message, CANONICAL) == normal_form(of.form(number), CANONICAL), number


def require(of: Vector, session: Session, own: str, peer: str) -> None:
    assert session.sas == of.values["sas"]
    assert session.sending.cipher_key == of.octets(f"kc_{own}")
    assert session.sending.mac_key == of.octets(f"km_{own}")
    assert session.receiving.cipher_key == of.octets(f"kc_{peer}")
    assert session.receiving.mac_key == of.octets(f"km_{peer}")
    assert session.agreed.rekey_freq == 250
    assert session.agreed.hybrid is (of.data["suite"]["kem"] is not None)
    for entry in of.stanzas():
        if entry["from"][0] == own:
            assert session.sending.counter == bytes.fromhex(entry["before"])
            break


@names
def test_both_sides_arrive_at_the_session(name: str) -> None:
    of = vector(name)
    alice, bob, _ = played(of)
    require(of, alice.session, "a", "b")
    require(of, bob.session, "b", "a")
    for made in (alice, bob):
        if of.data["messages"] == 4:
            assert made.secret is not None
            assert made.secret.secret == of.octets("new_retained_secret")
        else:
            assert made.secret is None
    if of.data["signing_keys"]:
        assert (alice.peer, bob.peer) == tuple(found.public for who in ("bob", "alice") if (found := identity(of, who)))


@names
def test_stanzas_are_sealed_and_opened_as_derived(name: str) -> None:
    of = vector(name)
    alice, bob, _ = played(of)
    states = {"alice": Conversation("t", session=alice.session), "bob": Conversation("t", session=bob.session)}
    for entry in of.stanzas():
        who, other = entry["from"], {"alice": "bob", "bob": "alice"}[entry["from"]]
        stanza = parse(f"<message xmlns='jabber:client'>{entry['c']}</message>".encode())
        out = receive(states[other], stanza, terms=Terms(), retained=Retained(), draw=lambda _name, size: bytes(size))
        assert out.event is Event.CONTENT
        assert out.conversation is not None
        states[other] = out.conversation
        sent = send(states[who], entry["content"].encode())
        assert sent.conversation is not None
        states[who] = sent.conversation
        ours = parse(sent.replies[0].payload)
        assert [e.text for e in ours.elements] == [e.text for e in parse(entry["c"].encode()).elements]
