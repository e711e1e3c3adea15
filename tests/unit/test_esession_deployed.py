"""The transcripts of the deployed implementation, value by value, and by playing either side of them."""

import hmac
from typing import Any

import pytest

from crypto.esession import initiator, keys, responder, terms
from crypto.esession.conversation import Conversation, Event, Outcome, receive, send
from crypto.esession.forms import read_form
from crypto.esession.keys import Role
from crypto.esession.normal_form import AS_DEPLOYED, normal_form
from crypto.esession.profiles import TRAITS, Profile
from crypto.esession.retained import Chain, Retained, RetainedSecret, new_secret, retained_hash, shared_hash
from crypto.esession.session import Session
from crypto.esession.states import Answered, Established, KeyPair, Offered, Proved
from crypto.esession.terms import Terms
from crypto.primitives.ciphers import sha256
from crypto.primitives.integers import from_octets, mpi
from crypto.primitives.modp import GROUPS, public_value, shared_value
from crypto.xml import Element, parse, serialize
from tests.vectors.esession import DEPLOYED, Vector, deployed, octets

TRAITS_DEPLOYED = TRAITS[Profile.DEPLOYED]
names = pytest.mark.parametrize("name", DEPLOYED)


def kept(vector: Vector, who: str) -> Retained:
    """What one side had retained before."""
    lists = vector.data[who]["retained_before"].values()
    return Retained(tuple(RetainedSecret(bytes.fromhex(s["secret"])) for each in lists for s in each))


def one(vector: Vector, message: int, var: str) -> bytes:
    return read_form(vector.form(message)).octets(var, 1, 2000)


def counter_at_start(vector: Vector) -> int:
    return from_octets(one(vector, 1, "counter"))


def pair(vector: Vector, secret: str, public: str) -> KeyPair:
    return KeyPair(int(vector.values["modp"]), vector.octets(secret), vector.octets(public))


def answered(vector: Vector) -> tuple[Answered, Element]:
    """Our responder, having answered the recorded request with the recorded draws."""
    request = vector.form(0)
    choice = terms.choose(read_form(request), Terms())
    counter = keys.counter_octets(counter_at_start(vector))
    return responder.answer_with(
        request, choice, nonce=vector.octets("n_b"), pair=pair(vector, "y", "d"), counter=counter
    )


def offered(vector: Vector) -> Offered:
    """Our initiator, as if it had sent the recorded request."""
    return Offered(serialize(vector.form(0)), vector.octets("n_a"), (pair(vector, "x", "e"),), None, 0)


def proved(vector: Vector) -> tuple[Proved, Element]:
    """Our initiator, having taken the recorded response with the recorded draws."""
    secrets = kept(vector, "alice")
    fill = b"" if secrets.secrets else one(vector, 2, "rshashes")
    return initiator.prove(offered(vector), vector.form(1), secrets, hashes=fill)


def verified(vector: Vector) -> tuple[Established, Element]:
    """Our responder, having verified the recorded completion."""
    return responder.verify(
        answered(vector)[0], vector.form(2), kept(vector, "bob"), confirmation=one(vector, 3, "srshash")
    )


def completed(vector: Vector) -> Established:
    """Our initiator, having verified the recorded last message."""
    return initiator.complete(proved(vector)[0], vector.form(3))


# ---------------------------------------------------------------------------------------------------- values
@names
def test_public_values_and_commitment(name: str) -> None:
    vector = deployed(name)
    group = GROUPS[int(vector.values["modp"])]
    assert public_value(group, vector.octets("x")) == vector.octets("e")
    assert public_value(group, vector.octets("y")) == vector.octets("d")
    offers = read_form(vector.form(0))
    position = (offers.offered("modp") or ()).index(str(vector.values["modp"]))
    assert offers.octet_strings("dhhashes", 32, 32)[position] == sha256(vector.octets("e"))
    assert one(vector, 2, "dhkeys") == vector.octets("e")
    assert one(vector, 1, "dhkeys") == vector.octets("d")


@names
def test_nonces(name: str) -> None:
    vector = deployed(name)
    assert one(vector, 0, "my_nonce") == vector.octets("n_a") == one(vector, 1, "nonce") == one(vector, 3, "nonce")
    assert one(vector, 1, "my_nonce") == vector.octets("n_b") == one(vector, 2, "nonce")


@names
def test_normal_forms(name: str) -> None:
    vector = deployed(name)
    assert normal_form(vector.form(0), AS_DEPLOYED).decode() == vector.values["form_a"]
    assert normal_form(vector.form(1), AS_DEPLOYED).decode() == vector.values["form_b"]


@names
def test_shared_secret_and_final_key(name: str) -> None:
    vector = deployed(name)
    group = GROUPS[int(vector.values["modp"])]
    by_initiator = shared_value(group, vector.octets("d"), vector.octets("x"))
    assert by_initiator == shared_value(group, vector.octets("e"), vector.octets("y"))
    assert keys.key_from_exchange(by_initiator) == vector.octets("k_dh")
    before = kept(vector, "bob").secrets
    assert keys.final_key(vector.octets("k_dh"), before[0].secret if before else None) == vector.octets("k")
    assert new_secret(vector.octets("k")) == vector.octets("new_retained_secret")


@names
def test_keys_of_both_directions(name: str) -> None:
    vector = deployed(name)
    for role, letter in ((Role.INITIATOR, "a"), (Role.RESPONDER, "b")):
        found = keys.direction_keys(vector.octets("k"), role, TRAITS_DEPLOYED)
        assert found.cipher == vector.octets(f"kc_{letter}")
        assert found.mac == vector.octets(f"km_{letter}")
        assert found.sigma == vector.octets(f"ks_{letter}")


@names
def test_hashes_of_retained_secrets(name: str) -> None:
    vector = deployed(name)
    before = kept(vector, "alice").secrets
    if before:
        assert one(vector, 2, "rshashes") == retained_hash(vector.octets("n_a"), before[0].secret)
        assert one(vector, 3, "srshash") == shared_hash(before[0].secret)


# ---------------------------------------------------------------------------------------------------- playing a side
@names
def test_our_answer_is_the_recorded_one(name: str) -> None:
    vector = deployed(name)
    _, form = answered(vector)
    assert normal_form(form, AS_DEPLOYED).decode() == vector.values["form_b"]


@names
def test_our_completion_is_the_recorded_one(name: str) -> None:
    vector = deployed(name)
    state, form = proved(vector)
    assert state.profile is Profile.DEPLOYED
    assert state.shared == vector.octets("k_dh")
    assert normal_form(form, AS_DEPLOYED) == normal_form(vector.form(2), AS_DEPLOYED)


@names
def test_our_last_message_is_the_recorded_one(name: str) -> None:
    vector = deployed(name)
    established, form = verified(vector)
    assert established.session.profile is Profile.DEPLOYED
    assert normal_form(form, AS_DEPLOYED) == normal_form(vector.form(3), AS_DEPLOYED)


def require_session(vector: Vector, made: Established, own: str, peer: str) -> None:
    session = made.session
    assert session.sas == vector.values["sas"].rjust(5, "a")
    assert session.sas_shown == vector.values["sas"]
    assert made.secret is not None
    assert made.secret.secret == vector.octets("new_retained_secret")
    assert session.sending.cipher_key == vector.octets(f"kc_{own}")
    assert session.sending.mac_key == vector.octets(f"km_{own}")
    assert session.receiving.cipher_key == vector.octets(f"kc_{peer}")
    assert session.receiving.mac_key == vector.octets(f"km_{peer}")
    assert from_octets(session.sending.counter) == int(vector.values[f"counter_{own}_after_negotiation"], 16)
    assert from_octets(session.receiving.counter) == int(vector.values[f"counter_{peer}_after_negotiation"], 16)
    assert session.chain is (Chain.CONTINUED if kept(vector, "bob").secrets else Chain.FIRST)
    assert not session.confirmed


@names
def test_both_sides_arrive_at_the_recorded_session(name: str) -> None:
    vector = deployed(name)
    require_session(vector, completed(vector), "a", "b")
    require_session(vector, verified(vector)[0], "b", "a")


@names
@pytest.mark.parametrize("who", ["alice", "bob"])
def test_every_recorded_hmac_is_one_that_we_compute(name: str, who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vector = deployed(name)
    computed: dict[tuple[bytes, bytes], bytes] = {}

    def recording(key: bytes, content: bytes, algorithm: str) -> bytes:
        digest = hmac.new(key, content, algorithm).digest()
        computed[key, content] = digest
        return digest

    monkeypatch.setattr("crypto.primitives.ciphers.hmac.digest", recording)
    if who == "alice":
        completed(vector)
    else:
        verified(vector)
    for recorded in vector.values[f"macs_{who}"]:
        known = computed[octets(recorded["key"]), octets(recorded["content"])]
        assert known == octets(recorded["digest"])


# ---------------------------------------------------------------------------------------------------- stanzas
def take(state: Conversation, stanza: Element) -> Outcome:
    def no_draw(name: str, size: int) -> bytes:
        raise AssertionError((name, size))

    return receive(state, stanza, terms=Terms(), retained=Retained(), draw=no_draw)


def parts(stanza: Element) -> dict[str, str]:
    c = next(e for e in stanza.elements if e.name == "c")
    return {e.name: e.text for e in c.elements}


def played(who: str, session: Session, entries: list[dict[str, Any]]) -> Outcome:
    """Send what `who` sent and take what the other sent; every octet and counter as recorded."""
    state = Conversation("t", session=session)
    last = None
    for entry in entries:
        wire = parse(entry["stanza"].encode())
        if entry["from"] == who and "kc" in entry:
            assert state.session is not None
            assert from_octets(state.session.sending.counter) == int(entry["counter_before"], 16)
            sent = send(state, entry["plaintext"].encode())
            assert sent.conversation is not None
            state = sent.conversation
            assert state.session is not None
            assert from_octets(state.session.sending.counter) == int(entry["counter_after"], 16)
            ours = parse(b"<m>" + sent.replies[0].payload + b"</m>")
            assert parts(ours) == parts(wire)
        elif entry["from"] != who:
            last = take(state, wire)
            if "kc" in entry:
                assert last.event is Event.CONTENT
                expected = parse(f"<x xmlns='jabber:client'>{entry['plaintext']}</x>".encode())
                assert last.content == expected.elements
            if last.conversation is None:
                break
            state = last.conversation
            if "kc" in entry:
                assert state.session is not None
                assert from_octets(state.session.receiving.counter) == int(entry["counter_after"], 16)
                assert state.session.confirmed
    assert last is not None
    return last


@names
def test_every_recorded_stanza_is_sealed_and_opened_the_same(name: str) -> None:
    vector = deployed(name)
    entries = vector.stanzas()[4:]
    as_alice = played("alice", completed(vector).session, entries)
    assert as_alice.event is Event.CONTENT


@names
def test_the_recorded_plain_termination_ends_the_responders_session(name: str) -> None:
    vector = deployed(name)
    as_bob = played("bob", verified(vector)[0].session, vector.stanzas()[4:])
    assert as_bob.event is Event.ENDED_UNAUTHENTICATED
    assert as_bob.conversation is None
    assert as_bob.replies == ()


@names
def test_a_whole_transcript_runs_through_receive(name: str) -> None:
    vector = deployed(name)

    def draw(what: str, size: int) -> bytes:
        return one(vector, 3, "srshash") if what == "esession-confirmation" else bytes(size)

    state, _ = answered(vector)
    before = kept(vector, "bob")
    thread = next(e.text for e in vector.message(2).elements if e.name == "thread")
    out = receive(Conversation(thread, answered=state), vector.message(2), terms=Terms(), retained=before, draw=draw)
    assert out.event is Event.ESTABLISHED
    assert out.retained is not None
    assert out.retained.secrets[0].secret == vector.octets("new_retained_secret")
    assert out.retained.secrets[1:] == before.secrets  # the old one stays until a stanza was verified
    first = next(e for e in vector.stanzas()[4:] if e["from"] == "alice")
    assert out.conversation is not None
    then = receive(out.conversation, parse(first["stanza"].encode()), terms=Terms(), retained=out.retained, draw=draw)
    assert then.event is Event.CONTENT
    if before.secrets:
        assert then.retained is not None
        assert [s.secret for s in then.retained.secrets] == [vector.octets("new_retained_secret")]


def test_the_mpi_of_the_vectors_is_ours() -> None:
    vector = deployed(DEPLOYED[0])
    assert mpi(int(vector.values["e"], 16)) == vector.octets("e")
