"""Sessions of OMEMO between devices of ours: what is refused, what is kept, what a repetition gives."""

import traceback
import warnings
from dataclasses import replace

import pytest

from crypto.enclave.statecodec import decoded, encoded
from crypto.errors import Misuse
from crypto.omemo import conversation, device, ratchet
from crypto.omemo.elements import read_message
from crypto.omemo.faults import (
    NoSession,
    NotForUs,
    OmemoError,
    Replayed,
    TooManySkipped,
    Undecryptable,
    UnknownPreKey,
    WrongIdentity,
)
from crypto.omemo.frames import encoded_key, exchange_octets, frame_body, frame_octets, read_exchange, read_frame
from crypto.omemo.model import Key, Message, Recipient
from crypto.omemo.names import KEPT_SESSIONS, LEFT_KEYS, Namespace
from crypto.omemo.sessions import Sessions
from tests.unit.omemo_world import Dice, End, Shelf

ALICE = "alice@example.org"
BOB = "bob@matrix.example.org"
forms = pytest.mark.parametrize("form", list(Namespace), ids=lambda form: form.short)


def pair(form: Namespace) -> tuple[End, End]:
    """Alice has begun and Bob has answered."""
    alice, bob = End.make(ALICE, 1001), End.make(BOB, 2002)
    bob.hears(alice.says(b"begin", form, bob), ALICE)
    alice.hears(bob.says(b"answer", form, alice), BOB)
    return alice, bob


def refused(end: End, message: Message, sender: str, fault: type[OmemoError], known: bytes | None = None) -> None:
    """It is refused, and nothing changes by it."""
    before = dict(end.shelf.values)
    with pytest.raises(fault):
        end.hears(message, sender, known)
    assert end.shelf.values == before


def altered(message: Message, octets: bytes, *, prekey: bool | None = None) -> Message:
    (key,) = message.keys
    return replace(message, keys=(replace(key, octets=octets, prekey=key.prekey if prekey is None else prekey),))


# ---------------------------------------------------------------- replays, reuse, identities
@forms
def test_a_message_that_came_before_is_refused_whether_it_began_the_session_or_not(form: Namespace) -> None:
    alice, bob = End.make(ALICE, 1001), End.make(BOB, 2002)
    first = alice.says(b"one", form, bob)
    bob.hears(first, ALICE)
    refused(bob, first, ALICE, Replayed)
    alice.hears(bob.says(b"answer", form, alice), BOB)
    second = alice.says(b"two", form, bob)
    assert not second.keys[0].prekey
    bob.hears(second, ALICE)
    refused(bob, second, ALICE, Replayed)
    refused(bob, first, ALICE, Replayed)


@forms
def test_a_prekey_makes_one_session_only(form: Namespace) -> None:
    alice, bob = End.make(ALICE, 1001), End.make(BOB, 2002)
    other = End.make(ALICE, 1002)
    bundle = bob.bundle(form)
    bundle = replace(bundle, prekeys=bundle.prekeys[:1])
    for end, wanted in ((alice, None), (other, UnknownPreKey)):
        made = conversation.encrypted(end.shelf, end.dice, {form: b"x"}, [Recipient(bob.peer(form), bundle)])
        message = read_message(made.elements[form])
        if wanted is None:
            bob.hears(message, ALICE)
        else:
            refused(bob, message, ALICE, wanted)


@forms
def test_a_replayed_beginning_makes_no_session_after_the_first_one_is_forgotten(form: Namespace) -> None:
    alice, bob = End.make(ALICE, 1001), End.make(BOB, 2002)
    first = alice.says(b"one", form, bob)
    bob.hears(first, ALICE)
    conversation.forgotten(bob.shelf, alice.peer(form))
    refused(bob, first, ALICE, UnknownPreKey)


@forms
def test_another_identity_key_under_a_known_device_id_changes_nothing(form: Namespace) -> None:
    alice, bob = pair(form)
    impostor = End.make("mallory", 1001)
    impostor.jid = ALICE
    refused(bob, impostor.says(b"it is me", form, bob), ALICE, WrongIdentity, alice.identity)
    assert bob.hears(alice.says(b"still", form, bob), ALICE, alice.identity).plaintext == b"still"
    refused(bob, alice.says(b"x", form, bob), ALICE, WrongIdentity, impostor.identity)


@forms
def test_nothing_is_encrypted_for_another_identity_key_than_the_known_one(form: Namespace) -> None:
    alice, bob = End.make(ALICE, 1001), End.make(BOB, 2002)
    for bundle in (bob.bundle(form), None):
        recipient = Recipient(bob.peer(form), bundle, alice.identity)
        made = conversation.encrypted(alice.shelf, alice.dice, {form: b"x"}, [recipient])
        assert made.elements == {}
        assert made.refused[0].code == ("no-session" if bundle is None else "identity-changed")
    alice.says(b"begin", form, bob)
    recipient = Recipient(bob.peer(form), None, alice.identity)
    made = conversation.encrypted(alice.shelf, alice.dice, {form: b"x"}, [recipient])
    assert (made.elements, made.refused[0].code) == ({}, "identity-changed")


@forms
def test_the_sender_of_a_session_is_bound_to_it(form: Namespace) -> None:
    """The gateway cannot pass off a message of one device as another's: sessions are found by who sent it."""
    alice, bob = pair(form)
    message = alice.says(b"x", form, bob)
    refused(bob, message, "mallory@example.org", NoSession)
    refused(bob, replace(message, sender_device=1002), ALICE, NoSession)


# ---------------------------------------------------------------- what is kept
@forms
def test_an_ordinary_message_sets_one_record(form: Namespace) -> None:
    alice, bob = pair(form)
    alice.shelf.puts.clear()
    bob.shelf.puts.clear()
    bob.hears(alice.says(b"x", form, bob), ALICE)
    assert alice.shelf.puts == [f"session/{form.short}/2002/{BOB}"]
    assert bob.shelf.puts == [f"session/{form.short}/1001/{ALICE}"]


@forms
def test_records_are_sealed_and_read_back_and_stay_small(form: Namespace) -> None:
    alice, bob = pair(form)
    for _ in range(999):
        alice.says(b"lost", form, bob, bundles=False)
    bob.hears(alice.says(b"came", form, bob, bundles=False), ALICE)
    sizes = {}
    for end in (alice, bob):
        for name, value in end.shelf.values.items():
            octets = encoded(value, bytes(32))
            assert decoded(octets, type(value), bytes(32)) == value
            sizes[end.jid, name.partition("/")[0]] = len(octets)
    assert sizes[ALICE, "session"] < 1000
    assert sizes[BOB, "session"] < 150_000
    assert sizes[BOB, "keys"] < 10_000


@forms
def test_a_step_that_is_repeated_gives_the_same_again(form: Namespace) -> None:
    alice, bob = pair(form)
    stores = alice.shelf.copy(), alice.shelf.copy()
    made = [conversation.encrypted(store, Dice("again"), {form: b"x"}, [Recipient(bob.peer(form))]) for store in stores]
    assert made[0] == made[1]
    assert stores[0].values == stores[1].values != alice.shelf.values


@forms
def test_when_both_begin_at_once_nothing_is_lost_and_both_end_in_one_session(form: Namespace) -> None:
    alice, bob = End.make(ALICE, 1001), End.make(BOB, 2002)
    from_alice = [alice.says(b"a%d" % n, form, bob) for n in range(3)]
    from_bob = [bob.says(b"b%d" % n, form, alice) for n in range(3)]
    assert [bob.hears(m, ALICE).plaintext for m in from_alice] == [b"a0", b"a1", b"a2"]
    assert [alice.hears(m, BOB).plaintext for m in from_bob] == [b"b0", b"b1", b"b2"]
    for n in range(4):
        assert bob.hears(alice.says(b"%d" % n, form, bob, bundles=False), ALICE).plaintext == b"%d" % n
        assert alice.hears(bob.says(b"%d" % n, form, alice, bundles=False), BOB).plaintext == b"%d" % n
    assert not alice.says(b"x", form, bob, bundles=False).keys[0].prekey
    assert not bob.says(b"x", form, alice, bundles=False).keys[0].prekey


@forms
def test_a_message_of_the_session_before_a_healed_one_still_opens(form: Namespace) -> None:
    alice, bob = pair(form)
    under_way = alice.says(b"under way", form, bob)
    element = conversation.empty(alice.shelf, alice.dice, bob.peer(form), bundle=bob.bundle(form))
    assert bob.hears(read_message(element), ALICE).new_session
    assert bob.hears(under_way, ALICE).plaintext == b"under way"


@forms
def test_sessions_are_kept_up_to_a_bound(form: Namespace) -> None:
    alice, bob = End.make(ALICE, 1001), End.make(BOB, 2002)
    for _ in range(KEPT_SESSIONS + 3):
        element = conversation.empty(alice.shelf, alice.dice, bob.peer(form), bundle=bob.bundle(form))
        bob.hears(read_message(element), ALICE)
    for end, other in ((alice, bob), (bob, alice)):
        kept = end.shelf.get(f"session/{form.short}/{other.device_id}/{other.jid}", Sessions)
        assert kept is not None
        assert len(kept.kept) == KEPT_SESSIONS


@forms
def test_after_retiring_nothing_is_sent_in_the_old_session_until_the_peer_moved_it_on(form: Namespace) -> None:
    alice, bob = pair(form)
    rolled_back = alice.shelf.copy()
    alice.says(b"went out, and was forgotten", form, bob, bundles=False)
    alice.shelf = rolled_back
    device.retired(alice.shelf)
    peer = bob.peer(form)
    assert conversation.missing_sessions(alice.shelf, [peer]) == (peer,)
    made = conversation.encrypted(alice.shelf, alice.dice, {form: b"x"}, [Recipient(peer)])
    assert (made.elements, made.refused[0].code) == ({}, "no-session")
    with pytest.raises(NoSession):
        conversation.empty(alice.shelf, alice.dice, peer)
    assert alice.hears(bob.says(b"same chain", form, alice, bundles=False), BOB).plaintext == b"same chain"
    assert conversation.missing_sessions(alice.shelf, [peer]) == (peer,), "her sending key is the old one still"
    answer = alice.says(b"a new session", form, bob)
    assert answer.keys[0].prekey
    assert bob.hears(answer, ALICE).new_session


@forms
def test_a_retired_session_is_used_again_when_its_sending_key_is_new(form: Namespace) -> None:
    alice, bob = pair(form)
    bob.hears(alice.says(b"x", form, bob, bundles=False), ALICE)
    device.retired(alice.shelf)
    alice.hears(bob.says(b"a new ratchet key", form, alice, bundles=False), BOB)
    assert conversation.missing_sessions(alice.shelf, [bob.peer(form)]) == ()
    assert bob.hears(alice.says(b"y", form, bob, bundles=False), ALICE).plaintext == b"y"


# ---------------------------------------------------------------- counters
@forms
@pytest.mark.parametrize("begun", [False, True], ids=["first", "later"])
def test_a_thousand_messages_may_be_missing_and_not_one_more(form: Namespace, begun: bool) -> None:
    alice, bob = pair(form) if begun else (End.make(ALICE, 1001), End.make(BOB, 2002))
    kept = alice.says(b"first", form, bob)
    for _ in range(999):
        alice.says(b"lost", form, bob, bundles=False)
    thousand = alice.says(b"thousand", form, bob, bundles=False)
    one_more = alice.says(b"one more", form, bob, bundles=False)
    at_once = bob.shelf.copy()
    refused(bob, one_more, ALICE, TooManySkipped)
    assert bob.hears(thousand, ALICE).plaintext == b"thousand"
    assert bob.hears(kept, ALICE).plaintext == b"first"
    assert bob.hears(one_more, ALICE).plaintext == b"one more"
    bob.shelf = at_once
    refused(bob, one_more, ALICE, TooManySkipped)


@forms
def test_keys_of_missing_messages_are_dropped_when_their_ratchet_key_is_long_gone(form: Namespace) -> None:
    alice, bob = pair(form)
    lost = [alice.says(b"lost %d" % n, form, bob, bundles=False) for n in range(2)]
    for turn in range(LEFT_KEYS + 2):
        bob.hears(alice.says(b"x", form, bob, bundles=False), ALICE)
        alice.hears(bob.says(b"y", form, alice, bundles=False), BOB)
        if turn == LEFT_KEYS - 1:
            assert bob.hears(lost[0], ALICE).plaintext == b"lost 0"
    kept: Sessions = bob.shelf.values[f"session/{form.short}/1001/{ALICE}"]
    assert kept.kept[0].ratchet.skipped == ()
    refused(bob, lost[1], ALICE, Undecryptable)


@forms
def test_hostile_counters_cost_little_and_warn_of_nothing(form: Namespace) -> None:
    alice, bob = pair(form)
    message = alice.says(b"x", form, bob)
    frame = read_frame(form, message.keys[0].octets)
    huge = (1 << 32) - 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for key, counter, previous, fault in (
            (frame.ratchet_key, huge, 0, TooManySkipped),
            (bytes(31) + b"\x09", 0, huge, Undecryptable),
            (bytes(31) + b"\x09", huge, huge, TooManySkipped),
        ):
            octets = frame_octets(form, frame_body(form, key, counter, previous, frame.ciphertext), frame.tag)
            refused(bob, altered(message, octets), ALICE, fault)
        # a genuine one: the sender says that it sent very much before
        assert bob.hears(message, ALICE).plaintext == b"x"


@forms
def test_a_heartbeat_is_due_once_for_a_ratchet_key(form: Namespace) -> None:
    alice, bob = pair(form)
    due = [bob.hears(alice.says(b"x", form, bob, bundles=False), ALICE).answer_due for _ in range(120)]
    assert [n for n, each in enumerate(due) if each] == [53]
    alice.hears(bob.says(b"beat", form, alice), BOB)
    due = [bob.hears(alice.says(b"x", form, bob, bundles=False), ALICE).answer_due for _ in range(60)]
    assert [n for n, each in enumerate(due) if each] == [53]


# ---------------------------------------------------------------- points of small order, damaged parts
SMALL = (
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
)


@forms
@pytest.mark.parametrize("point", SMALL, ids=["zero", "one", "minus-one"])
def test_points_of_small_order_are_refused_everywhere(form: Namespace, point: bytes) -> None:
    alice, bob = pair(form)
    message = alice.says(b"x", form, bob)
    frame = read_frame(form, message.keys[0].octets)
    octets = frame_octets(form, frame_body(form, point, 0, 0, frame.ciphertext), frame.tag)
    refused(bob, altered(message, octets), ALICE, Undecryptable)
    stranger = End.make("carol@example.org", 3)
    first = stranger.says(b"x", form, bob)
    exchange, inner = read_exchange(form, first.keys[0].octets)
    for changed in (replace(exchange, ephemeral=point), replace(exchange, identity=point)):
        refused(bob, altered(first, exchange_octets(form, changed, inner)), "carol@example.org", Undecryptable)
    bundle = bob.bundle(form)
    prekeys = tuple(replace(key, public=point) for key in bundle.prekeys)
    recipient = Recipient(bob.peer(form), replace(bundle, prekeys=prekeys))
    other = End.make("dave@example.org", 4)
    made = conversation.encrypted(other.shelf, other.dice, {form: b"x"}, [recipient])
    assert (made.elements, made.refused[0].code) == ({}, "bad-bundle")


@forms
def test_bundles_whose_signature_is_not_theirs_make_no_session(form: Namespace) -> None:
    alice, bob, carol = End.make(ALICE, 1001), End.make(BOB, 2002), End.make("carol@example.org", 3)
    good, other = bob.bundle(form), carol.bundle(form)
    for bundle in (
        replace(good, signature=other.signature),
        replace(good, signed_key=other.signed_key),
        replace(good, identity_key=other.identity_key),
        replace(good, signing_key=other.signing_key),
        replace(good, prekeys=()),
    ):
        made = conversation.encrypted(alice.shelf, alice.dice, {form: b"x"}, [Recipient(bob.peer(form), bundle)])
        assert (made.elements, [each.code for each in made.refused]) == ({}, ["bad-bundle"])
    assert conversation.missing_sessions(alice.shelf, [bob.peer(form)])


@forms
def test_a_changed_payload_leaves_the_session_where_it_was(form: Namespace) -> None:
    alice, bob = pair(form)
    text = b"three blocks of text, and what pads them"
    message = alice.says(text, form, bob)
    payload = message.payload
    assert payload is not None
    changed = [payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 :] for at in range(len(payload))]
    for each in (*changed, b"", payload[:-1], payload[:-16], payload[16:], payload + b"x", payload + bytes(16)):
        refused(bob, replace(message, payload=each), ALICE, Undecryptable)
    if form is Namespace.AXOLOTL:
        for iv in (None, b"", bytes(12), bytes(16)):
            refused(bob, replace(message, iv=iv), ALICE, Undecryptable)
    assert bob.hears(message, ALICE).plaintext == text


@forms
def test_a_damaged_part_is_refused_at_every_octet(form: Namespace) -> None:
    alice, bob = pair(form)
    message = alice.says(b"text", form, bob)
    octets = message.keys[0].octets
    for at in range(len(octets)):
        with pytest.raises(OmemoError):
            bob.hears(altered(message, octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1 :]), ALICE)
    assert bob.hears(message, ALICE).plaintext == b"text"


def test_the_two_forms_do_not_open_each_others_messages() -> None:
    alice, bob = pair(Namespace.OMEMO_2)
    pair_of_keys = bob.bundle(Namespace.OMEMO_2).signed_key, bob.bundle(Namespace.AXOLOTL).signed_key
    assert pair_of_keys[0] != pair_of_keys[1]
    message = replace(alice.says(b"x", Namespace.OMEMO_2, bob), namespace=Namespace.AXOLOTL)
    with pytest.raises(OmemoError):
        bob.hears(message, ALICE)


# ---------------------------------------------------------------- whom it is for
@forms
def test_a_message_without_a_part_for_this_device_is_not_for_it(form: Namespace) -> None:
    alice, bob = pair(form)
    message = alice.says(b"x", form, bob)
    refused(bob, replace(message, keys=()), ALICE, NotForUs)
    refused(bob, replace(message, keys=(replace(message.keys[0], device_id=9),)), ALICE, NotForUs)
    if form is Namespace.OMEMO_2:
        refused(bob, replace(message, keys=(replace(message.keys[0], jid="carol@example.org"),)), ALICE, NotForUs)


def test_in_the_older_form_another_accounts_device_may_have_our_id() -> None:
    alice, bob = pair(Namespace.AXOLOTL)
    message = alice.says(b"x", Namespace.AXOLOTL, bob)
    theirs = Key(None, bob.device_id, False, b"\x33not for us")
    assert bob.hears(replace(message, keys=(theirs, *message.keys)), ALICE).plaintext == b"x"
    refused(bob, replace(alice.says(b"y", Namespace.AXOLOTL, bob), keys=(theirs,) * 9), ALICE, OmemoError)


def test_one_message_goes_to_several_devices_and_each_reads_it() -> None:
    alice = End.make(ALICE, 1001)
    devices = [End.make(BOB, 2000 + n) for n in range(5)]
    for form in Namespace:
        message = alice.says(b"to all", form, *devices)
        assert [end.hears(message, ALICE).plaintext for end in devices] == [b"to all"] * 5


def test_misuse_is_told() -> None:
    alice, bob = End.make(ALICE, 1001), End.make(BOB, 2002)
    recipient = Recipient(bob.peer(Namespace.AXOLOTL), bob.bundle(Namespace.AXOLOTL))
    with pytest.raises(Misuse):
        conversation.encrypted(alice.shelf, alice.dice, {Namespace.OMEMO_2: b"x"}, [recipient])
    with pytest.raises(Misuse):
        conversation.encrypted(alice.shelf, alice.dice, {Namespace.AXOLOTL: b"x"}, [recipient, recipient])
    with pytest.raises(Misuse):
        conversation.missing_sessions(Shelf(), [])


# ---------------------------------------------------------------- secrets
@forms
def test_refusals_carry_nothing_of_what_was_refused(form: Namespace) -> None:
    alice, bob = pair(form)
    message = alice.says(b"x", form, bob)
    octets = message.keys[0].octets
    with pytest.raises(OmemoError) as caught:
        bob.hears(altered(message, octets[:-1] + bytes([octets[-1] ^ 1])), ALICE)
    told = "".join(traceback.format_exception(caught.value))
    assert caught.value.args == ("something of OMEMO's was refused",)
    for each in (octets.hex(), repr(octets), repr(alice.identity)):
        assert each not in told
    assert caught.value.__cause__ is None


@forms
def test_no_secret_is_shown_by_what_is_kept_or_passed(form: Namespace) -> None:
    alice, bob = pair(form)
    opened = bob.hears(alice.says(b"plain-text-51a7", form, bob), ALICE)
    shown = repr(opened) + "".join(map(repr, bob.shelf.values.values())) + repr(alice.says(b"x", form, bob))
    assert "plain-text-51a7" not in shown
    own = bob.shelf.values["device"]
    keys = bob.shelf.values[f"keys/{form.short}"]
    kept: Sessions = bob.shelf.values[f"session/{form.short}/1001/{ALICE}"]
    state = kept.kept[0].ratchet
    secrets = [own.seed, own.identity, keys.signed.private, keys.prekeys[0].private, state.own_key, state.root.key]
    assert state.sending is not None
    for secret in [*secrets, state.sending.key]:
        assert repr(secret) not in shown


def test_a_coroutine_that_waits_is_misuse() -> None:
    class Waits:
        def __await__(self):  # type: ignore[no-untyped-def]
            yield

    async def waiting() -> None:
        await Waits()

    with pytest.raises(Misuse):
        ratchet._driven(waiting())


def test_keys_are_written_as_each_form_writes_them() -> None:
    assert encoded_key(Namespace.OMEMO_2, bytes(32)) == bytes(32)
    assert encoded_key(Namespace.AXOLOTL, bytes(32)) == b"\x05" + bytes(32)
