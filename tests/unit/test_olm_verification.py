"""Verification by SAS: two machines come to the same string, or to nothing."""

import ast
import json
from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast, get_args

import pytest
import vodozemac
from hypothesis import given
from hypothesis import strategies as st

from adapters.matrix.sentences import EMOJI, emoji_names
from crypto.olm import verification as machine
from crypto.olm import verification_messages as messages
from crypto.olm import verification_states as states
from crypto.olm.errors import BadSignature, Malformed, OlmError
from crypto.olm.keys import b64
from crypto.olm.qr import code_of
from crypto.olm.sas import (
    Ends,
    Party,
    Sas,
    commitment,
    presented,
    public_of,
    require_commitment,
    require_presented,
    shared_secret,
    string_of,
)
from crypto.olm.verification import Limits, advanced, ended, expired
from tests.fuzz.fuzz_matrix_verification import PARSERS, target

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "verification.json").read_text())
CORPUS = Path(__file__).parent.parent / "corpus" / "matrix_verification"
ALICE, BOB = Party(**VECTORS["alice"]), Party(**VECTORS["bob"])
A_SECRET, B_SECRET = bytes([1]) * 32, bytes([2]) * 32
JSON = dict[str, Any]


def mirrored(ends: Ends) -> Ends:
    """The other end's view."""
    return replace(ends, us=ends.them, them=ends.us)


# ---------------------------------------------------------------- what is computed
@pytest.mark.parametrize("case", VECTORS["cases"], ids=["room", "to-device"])
def test_every_value_is_the_one_that_the_independent_script_derived(case: JSON) -> None:
    ends = Ends(case["transaction_id"], ALICE, BOB)
    secrets = [bytes.fromhex(secret) for secret in case["secrets"]]
    assert [public_of(secret) for secret in secrets] == case["publics"]
    shared = shared_secret(secrets[0], case["publics"][1])
    assert shared == shared_secret(secrets[1], case["publics"][0]) == bytes.fromhex(case["shared"])
    assert commitment(case["publics"][1], case["start"]) == case["commitment"]
    ours = string_of(shared, ends, *case["publics"], we_started=True)
    theirs = string_of(shared, mirrored(ends), *reversed(case["publics"]), we_started=False)
    assert ours == theirs == Sas(tuple(case["emoji"]), tuple(case["decimal"]))
    assert presented(shared, ends) == case["alice"]
    assert presented(shared, mirrored(ends)) == case["bob"]


def test_vodozemac_computes_the_same() -> None:
    theirs, ends = vodozemac.Sas(), Ends("$t", ALICE, BOB)
    public, ours = theirs.public_key.to_base64(), public_of(A_SECRET)
    established = theirs.diffie_hellman(vodozemac.Curve25519PublicKey.from_base64(ours))
    shared = shared_secret(A_SECRET, public)
    sides = f"{ALICE.user_id}|{ALICE.device_id}|{ours}|{BOB.user_id}|{BOB.device_id}|{public}"
    info = f"MATRIX_KEY_VERIFICATION_SAS|{sides}|$t"
    found = established.bytes(info)
    sas = string_of(shared, ends, ours, public, we_started=True)
    assert (tuple(found.emoji_indices), tuple(found.decimals)) == (sas.emoji, sas.decimal)
    base = f"MATRIX_KEY_VERIFICATION_MAC{ALICE.user_id}{ALICE.device_id}{BOB.user_id}{BOB.device_id}$t"
    macs = cast(dict[str, str], presented(shared, ends)["mac"])
    for key_id, key in ALICE.keys().items():
        assert macs[key_id] == established.calculate_mac(key, base + key_id)


def test_the_emoji_are_those_of_another_implementation() -> None:
    spec = find_spec("nio")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    source = Path(spec.submodule_search_locations[0]) / "crypto" / "sas.py"
    tables = [
        ast.literal_eval(node.value)
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "emoji" and isinstance(node.value, ast.List)
    ]
    assert [picture for picture, _ in EMOJI] == [picture for picture, _ in tables[0]]
    assert emoji_names((0, 34, 36, 53, 63)) == ("Dog", "Spanner", "Thumbs Up", "Aeroplane", "Pin")


@pytest.mark.parametrize("octets", [bytes(32), (1).to_bytes(32, "little")])
def test_a_key_that_contributes_nothing_is_refused(octets: bytes) -> None:
    with pytest.raises(Malformed):
        shared_secret(A_SECRET, messages_b64(octets))


def messages_b64(octets: bytes) -> str:
    """Unpadded base64."""
    return vodozemac.Curve25519PublicKey.from_bytes(octets).to_base64()


def test_a_commitment_holds_for_one_key_and_one_start_only() -> None:
    start: JSON = {"method": "m.sas.v1", "transaction_id": "t"}
    promised = commitment("key", start)
    require_commitment(promised, "key", start)
    for key, content in (("other", start), ("key", {**start, "transaction_id": "u"})):
        with pytest.raises(BadSignature):
            require_commitment(promised, key, content)


def macs_of(ends: Ends, shared: bytes = bytes(32)) -> tuple[dict[str, str], str]:
    """What the other end of these ends presents."""
    content = presented(shared, mirrored(ends))
    return cast(dict[str, str], content["mac"]), cast(str, content["keys"])


def test_macs_prove_the_keys_that_we_know_and_no_others() -> None:
    ends = Ends("$t", ALICE, BOB)
    macs, keys = macs_of(ends)
    require_presented(bytes(32), ends, macs, keys)
    stranger = replace(ends, them=replace(BOB, master="E" * 43))
    wrong = [
        (stranger, macs, keys),  # we know another master key
        (replace(ends, them=replace(BOB, ed25519="E" * 43)), macs, keys),
        (replace(ends, transaction_id="$u"), macs, keys),
        (ends, {**macs, f"ed25519:{BOB.master}": macs[f"ed25519:{BOB.device_id}"]}, keys),
        (ends, {**macs, "ed25519:added": keys}, keys),  # the list of ids is not what was signed
        (ends, {name: mac for name, mac in macs.items() if name != f"ed25519:{BOB.device_id}"}, keys),
        (ends, {}, keys),
        (ends, macs, "ä"),
    ]
    for seen, given_macs, given_keys in wrong:
        with pytest.raises(BadSignature):
            require_presented(bytes(32), seen, given_macs, given_keys)


def test_without_the_master_key_nothing_is_proved() -> None:
    ends = Ends("$t", ALICE, replace(BOB, master=""))
    macs, keys = macs_of(ends)
    with pytest.raises(BadSignature):
        require_presented(bytes(32), ends, macs, keys)
    with pytest.raises(BadSignature):
        require_presented(bytes(32), replace(ends, them=BOB), macs, keys)


# ---------------------------------------------------------------- conversations
class End:
    """One end of a conversation, with what it was sent."""

    def __init__(self, state: states.State, secret: bytes) -> None:
        self.state = state
        self.secret = secret

    def name(self) -> str:
        """Of its state."""
        return type(self.state).__name__

    def act(self, event: states.Event) -> list[messages.Send]:
        """Something happens to it."""
        self.state, sends = advanced(self.state, event)
        return list(sends)

    def hears(self, sent: messages.Send) -> list[messages.Send]:
        """It is sent something."""
        message = messages.message_of(sent.kind, json.dumps(sent.content).encode())
        assert not isinstance(message, messages.Request | messages.Ready)
        if isinstance(message, messages.Start):
            return self.act(states.Began(message, self.secret))
        if isinstance(message, messages.Accept):
            return self.act(states.Promised(message, self.secret))
        return self.act(message)


def prepared(*, in_room: bool = True) -> tuple[End, End]:
    """Alice asked, Bob accepted."""
    ends = Ends("$t" if in_room else "t", ALICE, BOB)
    alice = End(states.Requested(ends.transaction_id, in_room, ALICE), A_SECRET)
    bob = End(states.Asked(states.Flow(mirrored(ends), in_room)), B_SECRET)
    (ready,) = bob.act(states.Joined(B_SECRET))
    read = messages.message_of(ready.kind, json.dumps(ready.content).encode())
    assert isinstance(read, messages.Ready)
    assert alice.act(states.Answered(BOB, read.methods)) == []
    return alice, bob


def exchange(first: End, second: End, sends: list[messages.Send]) -> None:
    """Hand on what is sent, and what comes of it."""
    ours, theirs = [(second, send) for send in sends], list[tuple[End, messages.Send]]()
    while ours or theirs:
        target_end, send = (ours or theirs).pop(0)
        other = first if target_end is second else second
        theirs += [(other, each) for each in target_end.hears(send)]


@pytest.mark.parametrize("in_room", [True, False])
@pytest.mark.parametrize("alice_starts", [True, False])
def test_both_ends_see_the_same_and_end_verified(in_room: bool, alice_starts: bool) -> None:
    alice, bob = prepared(in_room=in_room)
    starter, other = (alice, bob) if alice_starts else (bob, alice)
    exchange(starter, other, starter.act(states.Begun()))
    assert isinstance(alice.state, states.Comparing)
    assert isinstance(bob.state, states.Comparing)
    assert alice.state.sas == bob.state.sas
    exchange(bob, alice, bob.act(states.Matched()))
    exchange(alice, bob, alice.act(states.Matched()))
    assert [end.name() for end in (alice, bob)] == ["Finished", "Finished"]


def test_of_two_starts_that_of_the_smaller_user_counts() -> None:
    alice, bob = prepared()
    (of_alice,), (of_bob,) = alice.act(states.Begun()), bob.act(states.Begun())
    assert alice.hears(of_bob) == []
    exchange(bob, alice, bob.hears(of_alice))
    assert isinstance(alice.state, states.Comparing)
    assert isinstance(bob.state, states.Comparing)
    assert alice.state.sas == bob.state.sas


def test_two_starts_of_different_methods_end_it() -> None:
    alice, _ = prepared()
    alice.act(states.Begun())
    start = messages.message_of(f"{messages.PREFIX}start", json.dumps(offer(method="m.other")).encode())
    assert isinstance(start, messages.Start)
    with pytest.raises(states.Refused) as refused:
        alice.act(states.Began(start, A_SECRET))
    assert refused.value.cancel == "m.unexpected_message"


def offer(**changes: object) -> JSON:
    """Content of a start of Bob's."""
    content: JSON = {
        "from_device": BOB.device_id,
        "method": "m.sas.v1",
        "key_agreement_protocols": ["curve25519", "curve25519-hkdf-sha256"],
        "hashes": ["sha256"],
        "message_authentication_codes": ["hkdf-hmac-sha256", "hkdf-hmac-sha256.v2"],
        "short_authentication_string": ["decimal", "emoji"],
        "m.relates_to": {"rel_type": "m.reference", "event_id": "$t"},
    }
    return {**content, **changes}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"method": "m.qr"}, "m.unknown_method"),
        ({"key_agreement_protocols": ["curve25519"]}, "m.unknown_method"),
        ({"hashes": ["sha512"]}, "m.unknown_method"),
        ({"message_authentication_codes": ["hkdf-hmac-sha256"]}, "m.unknown_method"),
        ({"short_authentication_string": ["smell"]}, "m.unknown_method"),
        ({"from_device": "OTHER"}, "m.unexpected_message"),
    ],
)
def test_a_start_that_offers_less_is_refused(changes: JSON, code: str) -> None:
    alice, _ = prepared()
    start = messages.message_of(f"{messages.PREFIX}start", json.dumps(offer(**changes)).encode())
    assert isinstance(start, messages.Start)
    with pytest.raises(states.Refused) as refused:
        alice.act(states.Began(start, A_SECRET))
    assert refused.value.cancel == code


@pytest.mark.parametrize("field", ["agreement", "hash", "mac", "strings"])
def test_an_accept_of_what_was_not_offered_is_refused(field: str) -> None:
    alice, bob = prepared()
    (start,) = alice.act(states.Begun())
    (accept,) = bob.hears(start)
    read = messages.message_of(accept.kind, json.dumps(accept.content).encode())
    assert isinstance(read, messages.Accept)
    changed = replace(read, **cast(Any, {field: ("smell",) if field == "strings" else "other"}))
    with pytest.raises(states.Refused) as refused:
        alice.act(states.Promised(changed, A_SECRET))
    assert refused.value.cancel == "m.unknown_method"


def test_another_key_than_the_promised_one_is_refused() -> None:
    alice, bob = prepared()
    (start,) = alice.act(states.Begun())
    (accept,) = bob.hears(start)
    alice.hears(accept)
    with pytest.raises(states.Refused) as refused:
        alice.act(messages.Key(public_of(bytes([3]) * 32)))
    assert refused.value.cancel == "m.mismatched_commitment"


def test_our_own_key_sent_back_is_refused() -> None:
    alice, bob = prepared()
    (start,) = alice.act(states.Begun())
    bob.hears(start)
    with pytest.raises(states.Refused) as refused:
        bob.act(messages.Key(public_of(B_SECRET)))
    assert refused.value.cancel == "m.key_mismatch"


def test_somebody_in_between_makes_the_strings_differ() -> None:
    alice, bob = prepared()
    mallory_b, mallory_a = End(bob.state, bytes([8]) * 32), End(alice.state, bytes([9]) * 32)
    exchange(alice, mallory_b, alice.act(states.Begun()))
    exchange(mallory_a, bob, mallory_a.act(states.Begun()))
    assert isinstance(alice.state, states.Comparing)
    assert isinstance(bob.state, states.Comparing)
    assert alice.state.sas != bob.state.sas


def test_a_mac_over_other_keys_ends_it() -> None:
    alice, bob = prepared()
    exchange(alice, bob, alice.act(states.Begun()))
    assert isinstance(bob.state, states.Comparing)
    flow = bob.state.flow
    bob.state = replace(bob.state, flow=replace(flow, ends=replace(flow.ends, us=replace(BOB, master="E" * 43))))
    alice.act(states.Matched())
    (mac,) = bob.act(states.Matched())
    with pytest.raises(states.Refused) as refused:
        alice.hears(mac)
    assert refused.value.cancel == "m.key_mismatch"


def test_a_second_mac_is_refused() -> None:
    alice, bob = prepared()
    exchange(alice, bob, alice.act(states.Begun()))
    (mac,) = bob.act(states.Matched())
    alice.hears(mac)
    with pytest.raises(states.Refused):
        alice.hears(mac)


def test_strings_that_differ_end_it_with_their_code() -> None:
    alice, bob = prepared()
    exchange(alice, bob, alice.act(states.Begun()))
    exchange(alice, bob, alice.act(states.Differed()))
    assert alice.state == states.Cancelled("m.mismatched_sas", by_us=True)
    assert bob.state == states.Cancelled("m.mismatched_sas", by_us=False)


def test_a_start_out_of_the_blue_waits_for_the_person() -> None:
    start = messages.message_of(f"{messages.PREFIX}start", json.dumps(offer()).encode())
    assert isinstance(start, messages.Start)
    end = End(states.Proposed(states.Flow(Ends("t", ALICE, BOB), in_room=False), start), A_SECRET)
    (accept,) = end.act(states.Joined(A_SECRET))
    assert accept.kind == "m.key.verification.accept"
    assert accept.content["transaction_id"] == "t"
    assert isinstance(end.state, states.Committed)


def test_what_is_proved_stays_proved() -> None:
    state = states.Verified(states.Flow(Ends("t", ALICE, BOB), in_room=False))
    assert isinstance(advanced(state, messages.Cancel("m.user"))[0], states.Finished)
    assert ended(state, "m.timeout") == (state, ())


def test_an_answer_without_the_method_ends_it() -> None:
    with pytest.raises(states.Refused) as refused:
        advanced(states.Requested("t", False, ALICE), states.Answered(BOB, ("m.qr_code.show.v1",)))
    assert refused.value.cancel == "m.unknown_method"


# ---------------------------------------------------------------- codes to scan
CODE = bytes(range(16))
SCANS = ("m.sas.v1", "m.qr_code.scan.v1", "m.qr_code.show.v1", "m.reciprocate.v1")


@pytest.mark.parametrize("case", VECTORS["codes"], ids=lambda case: str(len(case["code"])))
def test_the_code_is_the_one_that_the_independent_script_laid_out(case: JSON) -> None:
    ends = Ends(case["transaction_id"], ALICE, BOB)
    assert code_of(ends, bytes.fromhex(case["secret"])).hex() == case["code"]


def test_without_both_master_keys_there_is_no_code() -> None:
    for ends in (Ends("t", replace(ALICE, master=""), BOB), Ends("t", ALICE, replace(BOB, master="A" * 42))):
        with pytest.raises(Malformed):
            code_of(ends, CODE)


@given(st.text(max_size=300), st.binary(min_size=1, max_size=64))
def test_a_code_is_read_back_as_the_specification_says(name: str, secret: bytes) -> None:
    code = code_of(Ends(name, ALICE, BOB), secret)
    size = int.from_bytes(code[8:10], "big")
    assert (code[:8], code[10 : 10 + size]) == (b"MATRIX\x02\x00", name.encode(errors="replace"))
    assert len(code) == 10 + size + 64 + len(secret)
    assert code.endswith(secret)


def reciprocation(secret: str, device: str = BOB.device_id) -> states.Event:
    """Bob's client says that it scanned."""
    content = {"from_device": device, "method": "m.reciprocate.v1", "secret": secret}
    read = messages.message_of(f"{messages.PREFIX}start", json.dumps(content).encode())
    assert isinstance(read, messages.Reciprocate)
    return read


def showing(*methods: str, asked_by_us: bool = True) -> tuple[states.State, list[messages.Send]]:
    """Both are ready, and Alice would show a code."""
    if asked_by_us:
        state, sends = advanced(states.Requested("t", False, ALICE), states.Answered(BOB, methods, CODE))
    else:
        asked = states.Asked(states.Flow(Ends("t", ALICE, BOB), in_room=False), methods)
        state, sends = advanced(asked, states.Joined(A_SECRET, CODE))
    return state, list(sends)


@pytest.mark.parametrize("asked_by_us", [True, False])
def test_who_scanned_the_code_is_verified_once_the_person_here_says_so(asked_by_us: bool) -> None:
    state, sends = showing(*SCANS, asked_by_us=asked_by_us)
    for send in sends:
        assert send.content["methods"] == ["m.sas.v1", "m.qr_code.show.v1", "m.reciprocate.v1"]
    state, sends_more = advanced(state, reciprocation(b64(CODE)))
    assert (type(state), sends_more) == (states.Scanned, ())
    state, (done,) = advanced(state, states.Matched())
    assert (type(state), done.kind) == (states.Verified, "m.key.verification.done")
    assert isinstance(advanced(state, messages.Done())[0], states.Finished)


@pytest.mark.parametrize("secret", [CODE[:-1], CODE + b"x", bytes(16), CODE[::-1]])
def test_another_secret_than_that_of_the_code_ends_it(secret: bytes) -> None:
    state, _ = showing(*SCANS)
    with pytest.raises(states.Refused) as refused:
        advanced(state, reciprocation(b64(secret)))
    assert refused.value.cancel == "m.key_mismatch"


def test_a_scan_that_the_person_here_does_not_see_ends_it() -> None:
    state, _ = showing(*SCANS)
    state, _ = advanced(state, reciprocation(b64(CODE)))
    assert advanced(state, states.Differed())[0] == states.Cancelled("m.key_mismatch", by_us=True)


@pytest.mark.parametrize(
    "methods", [("m.sas.v1",), ("m.sas.v1", "m.qr_code.scan.v1"), ("m.sas.v1", "m.reciprocate.v1")]
)
def test_no_code_is_shown_to_who_cannot_scan_and_none_is_believed(methods: tuple[str, ...]) -> None:
    for asked_by_us in (True, False):
        state, sends = showing(*methods, asked_by_us=asked_by_us)
        assert isinstance(state, states.Prepared)
        assert state.code == b""
        assert all(send.content["methods"] == ["m.sas.v1"] for send in sends)
        with pytest.raises(states.Refused):
            advanced(state, reciprocation(b64(CODE)))


def test_another_device_of_theirs_did_not_scan() -> None:
    state, _ = showing(*SCANS)
    with pytest.raises(states.Refused):
        advanced(state, reciprocation(b64(CODE), "OTHER"))


def test_while_a_code_is_shown_emoji_may_be_begun_instead() -> None:
    state, _ = showing(*SCANS)
    assert isinstance(advanced(state, states.Begun())[0], states.Started)


@pytest.mark.parametrize("secret", ["", "!", "A" * 100, 1, None])
def test_a_reciprocation_without_a_secret_is_malformed(secret: object) -> None:
    content = {"from_device": "B", "method": "m.reciprocate.v1", "secret": secret}
    with pytest.raises(Malformed):
        messages.message_of(f"{messages.PREFIX}start", json.dumps(content).encode())


# ---------------------------------------------------------------- the table
EVENTS = get_args(states.Event)
KINDS = get_args(states.State)


def test_the_table_names_every_state_and_every_event() -> None:
    assert {state for state, _ in machine.PERMITTED} == set(KINDS) - {states.Finished, states.Cancelled}
    assert {event for _, event in machine.PERMITTED} == set(EVENTS)
    reached = frozenset[type[states.State]]().union(*machine.PERMITTED.values())
    assert reached == set(KINDS) - {states.Requested, states.Asked, states.Proposed}
    assert set(states.STATES.values()) == set(KINDS)


def test_whatever_is_not_in_the_table_is_refused() -> None:
    for kind in KINDS:
        for event in EVENTS:
            if (kind, event) not in machine.PERMITTED:
                with pytest.raises(states.Refused) as refused:
                    advanced(object.__new__(kind), object.__new__(event))
                assert refused.value.cancel == "m.unexpected_message"


def test_secrets_are_in_no_representation() -> None:
    alice, bob = prepared()
    exchange(alice, bob, alice.act(states.Begun()))
    assert isinstance(alice.state, states.Comparing)
    for secret in (A_SECRET, alice.state.shared, alice.state.sas.decimal):
        assert repr(secret) not in repr(alice.state)
    showing_code, _ = showing(*SCANS)
    assert repr(CODE) not in repr(showing_code) + repr(reciprocation(b64(CODE)))
    for kind in (states.Committed, states.Revealed, states.Comparing, states.Confirmed, states.Joined, states.Began):
        hidden = {field.name for field in fields(kind) if not field.repr}
        assert hidden >= {"secret", "shared"} & {field.name for field in fields(kind)}


@given(st.integers(0, 1 << 45), st.integers(-(1 << 30), 1 << 30))
def test_a_conversation_lasts_ten_minutes_and_may_begin_five_ahead(begun_ms: int, passed_ms: int) -> None:
    over = expired(begun_ms + passed_ms, begun_ms, Limits())
    assert over is not (-300_000 <= passed_ms < 600_000)


# ---------------------------------------------------------------- hostile messages
@pytest.mark.parametrize("seed", sorted(CORPUS.iterdir()), ids=lambda path: str(path.name))
def test_the_corpus_of_verification_is_read_or_refused(seed: Path) -> None:
    target(seed.read_bytes())


@given(st.sampled_from(range(len(PARSERS))), st.binary(max_size=200))
def test_octets_are_read_or_refused(number: int, data: bytes) -> None:
    target(bytes([number]) + data)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("request", {"methods": ["m.sas.v1"]}),
        ("ready", {"from_device": ""}),
        ("start", {"from_device": "A", "method": "m.sas.v1"}),
        ("start", {**offer(), "more": "x" * (9 << 10)}),
        ("accept", {"commitment": "c", "short_authentication_string": "emoji"}),
        ("accept", {"short_authentication_string": []}),
        ("key", {"key": 1}),
        ("mac", {"mac": {}, "keys": "k"}),
        ("mac", {"mac": {str(number): "m" for number in range(17)}, "keys": "k"}),
        ("mac", {"mac": {"k": "m"}}),
        ("cancel", {}),
        ("sideways", {}),
    ],
)
def test_a_message_that_lacks_what_it_needs_is_malformed(kind: str, content: JSON) -> None:
    with pytest.raises(Malformed):
        messages.message_of(messages.PREFIX + kind, json.dumps(content).encode())


@pytest.mark.parametrize(
    ("content", "in_room"),
    [
        ({}, False),
        ({"transaction_id": "x" * 256}, False),
        ({"transaction_id": "t"}, True),
        ({"m.relates_to": {"rel_type": "m.thread", "event_id": "$t"}}, True),
        ([], True),
    ],
)
def test_a_message_that_names_no_conversation_is_malformed(content: object, in_room: bool) -> None:
    with pytest.raises(OlmError):
        messages.transaction_of(json.dumps(content).encode(), in_room=in_room)
