"""Keys that come late, by another way, or never: what is opened with them, and what is not believed because of them."""

import json
from dataclasses import replace
from typing import cast

import pytest
from vodozemac import GroupSession, InboundGroupSession

from adapters.matrix import inside_late, inside_missing, names
from adapters.matrix.inside_key_requests import Answered, Answering
from adapters.matrix.inside_missing import Missing
from adapters.matrix.inside_origin import MARK, NOT_PROVED, marked
from adapters.matrix.inside_state import Forgotten, OwnState, Parked
from adapters.matrix.inside_timeline import _digest
from adapters.matrix.inside_withheld import MOST_NOTED, Withheld
from bridge.wire.values import Public
from crypto.content import Attachment, Mark, Reaction, Style
from crypto.enclave.chamber import undecryptable
from crypto.enclave.statecodec import decoded, encoded
from crypto.message import Message
from crypto.olm.backup import Origin, entry
from crypto.olm.group import RoomEvent, encrypted_event
from crypto.olm.keys import b64, unb64
from tests.unit.late_world import (
    backed_up,
    bobs_device,
    forward,
    keyless,
    look,
    lose_next_key,
    origin_of,
    parked,
    put_entry,
    session_at,
    session_of,
    tablet_of,
)
from tests.unit.matrix_world import ALICE, BOB, CAROL, JSON, Machine, World, pair
from tests.unit.test_matrix_backup import THEIR_BACKUP, put_backup, put_secret
from tests.unit.test_matrix_peers import with_trust
from tests.unit.test_matrix_receiving import event, shown
from tests.unit.test_matrix_recovery import elsewhere, plain, recover

REQUEST = "m.room_key_request"


# ---------------------------------------------------------------- from the backup
def test_a_key_that_never_came_is_taken_from_the_backup_and_the_message_is_marked() -> None:
    world, alice, _ = keyless()
    backed_up(world)
    look(world, alice)
    assert alice.texts() == [MARK + "late"]
    assert parked(alice) == []
    assert "key-from-backup" in alice.step.codes()
    assert not list(alice.step.records.names("missing/"))


def test_nothing_is_asked_before_a_short_time_has_passed_and_nothing_when_the_key_came_meanwhile() -> None:
    world, alice, bob = pair()
    world.to_device_held = True
    bob.sends("a little late")
    world.settle()
    alice.wakes(inside_missing.TIMER)
    assert alice.step.wakes[inside_missing.TIMER] == alice.step.now + inside_missing.WAITS_MS[0]
    world.flush_to_device()
    look(world, alice)
    assert alice.texts() == ["a little late"]
    assert not world.sent(ALICE, names.BACKUP_GET)


def test_what_the_backup_opened_is_not_opened_again() -> None:
    world, alice, _ = keyless()
    backed_up(world)
    look(world, alice)
    (sealed,) = world.timeline
    shown(world, alice, sealed)
    shown(world, alice, {**sealed, "event_id": "$replayed"})
    assert alice.texts() == [MARK + "late"]
    assert {"event-repeated", "event-replayed"} <= set(alice.step.codes())


def test_where_the_contact_has_to_be_verified_it_is_held_and_passes_unmarked_when_the_device_sends_the_key() -> None:
    world, alice, bob = keyless()
    backed_up(world)
    with_trust(alice, "verified")
    alice.step.commit(lambda: decide(alice))
    look(world, alice)
    assert alice.texts() == []
    assert parked(alice) == [NOT_PROVED]
    assert alice.step.traces[-1][1:] == ("parked", NOT_PROVED)
    assert alice.step.notices.count(("bob", "contact-key-not-proved")) == 1
    share_again(world, bob)
    assert alice.texts() == ["late"]
    origin = origin_of(alice, session_of(world.timeline[0]))
    assert origin is not None
    assert origin.source == ""


def test_what_is_held_for_want_of_proof_passes_marked_when_the_operator_asks_for_less() -> None:
    world, alice, _ = keyless()
    backed_up(world)
    with_trust(alice, "verified")
    alice.step.commit(lambda: decide(alice))
    look(world, alice)
    assert parked(alice) == [NOT_PROVED]
    with_trust(alice, "cross-signed")
    alice.starts(resumed=True)
    assert alice.texts() == [MARK + "late"]


def decide(alice: Machine) -> None:
    """The operator verifies Bob."""
    assert alice.half.trust(alice.step, alice.step.account.contacts[0], "verify") == "ok"


def share_again(world: World, bob: Machine) -> None:
    """Bob's client gives the gateway the key after all, from the present index on."""
    from adapters.matrix.inside_state import Outbound

    out = bob.step.records.get(f"out/{ALICE}", Outbound)
    assert out is not None
    kept = tuple(share for share in out.shared if share.device_id != "ALICEDEV")
    bob.step.records.put(f"out/{ALICE}", replace(out, shared=kept, ready_until_ms=0))
    bob.sends("next")
    world.settle()
    alice = world.machines[ALICE, "ALICEDEV"]
    alice.step.deliveries = [found for found in alice.step.deliveries if found[1].body != "next"]


def test_an_entry_that_names_a_device_which_is_not_signed_is_held() -> None:
    world, alice, bob = keyless(tablet=False)
    other = GroupSession()
    session = session_from_start(bob)
    put_entry(world, alice, session, Origin(bobs_device(world).curve25519, other.session_id))
    look(world, alice)
    assert alice.texts() == []
    assert parked(alice) == ["unsigned-device"]


def session_from_start(bob: Machine) -> InboundGroupSession:
    """Bob's session from its first message on, as his other devices have it."""
    group = bob.step.records.get(f"out-session/{ALICE}", GroupSession)
    assert group is not None
    own = bob.step.records.get(f"backup-own-key/{group.session_id}", InboundGroupSession)
    if own is None:
        own = KEPT[group.session_id]
    return own


KEPT: dict[str, InboundGroupSession] = {}


@pytest.fixture(autouse=True)
def keep_first_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test needs of sessions, and no machine keeps."""
    from adapters.matrix import inside_backup_writing

    made = inside_backup_writing.made

    def keeping(step: object, room_id: str, session: GroupSession) -> None:
        KEPT[session.session_id] = InboundGroupSession(session.session_key)
        made(step, room_id, session)  # type: ignore[arg-type]

    monkeypatch.setattr(inside_backup_writing, "made", keeping)


# ---------------------------------------------------------------- what a homeserver makes up
def forged(world: World, text: str) -> tuple[InboundGroupSession, JSON]:
    """A session that the homeserver made, and an event in Bob's name by it."""
    group = GroupSession()
    first = InboundGroupSession(group.session_key)
    bob = world.machines[BOB, "BOBDEV"]
    own = bob.step.records.get("own", OwnState)
    assert own is not None
    content = encrypted_event(group, own.device, world.room_id, "m.room.message", {"msgtype": "m.text", "body": text})
    return first, event(BOB, json.loads(content), "$forged")


@pytest.mark.parametrize(("trust", "texts"), [("cross-signed", [MARK + "give me money"]), ("verified", [])])
def test_a_message_that_the_homeserver_made_up_is_never_shown_unmarked(trust: str, texts: list[str]) -> None:
    world, alice = acquainted()
    with_trust(alice, trust)
    if trust == "verified":
        alice.step.commit(lambda: decide(alice))
    session, made = forged(world, "give me money")
    put_entry(world, alice, session, bobs_device(world))
    shown(world, alice, made)
    look(world, alice)
    assert alice.texts() == texts


def test_nothing_of_a_message_can_be_shown_without_its_mark() -> None:
    full = Message(
        "id",
        "bold",
        marks=(Mark(0, 4, Style.STRONG),),
        replaces="another",
        attachment=Attachment("name"),
        place="geo:1,2",
        reaction=Reaction("another", ("x",)),
    )
    opened = RoomEvent(0, "m.room.message", b"{}", proved=False)
    shown_ = marked(full, opened)
    (mark,) = shown_.marks
    assert shown_ == Message("id", MARK + "bold", marks=(mark,))
    assert shown_.body[mark.start : mark.end] == "bold"
    assert marked(replace(full, body=""), opened).body == MARK + "name"
    assert marked(full, replace(opened, proved=True)) == full


def test_what_cannot_be_marked_is_not_shown_without_proof() -> None:
    world, alice = acquainted()
    group = GroupSession()
    first = InboundGroupSession(group.session_key)
    own = world.machines[BOB, "BOBDEV"].step.records.get("own", OwnState)
    assert own is not None
    content = encrypted_event(group, own.device, world.room_id, "m.reaction", {"m.relates_to": {}})
    put_entry(world, alice, first, bobs_device(world))
    shown(world, alice, event(BOB, json.loads(content), "$forged"))
    look(world, alice)
    assert "event-not-proved" in alice.step.codes()
    assert alice.step.traces[-1][1:] == ("refused", NOT_PROVED)


def acquainted() -> tuple[World, Machine]:
    """Alice, who knows Bob's devices."""
    world, alice, _ = pair()
    alice.sends("hello")
    world.settle()
    return world, alice


def damaged(session: InboundGroupSession) -> InboundGroupSession:
    """The same session's name over another ratchet."""
    from crypto.olm.forwarded import exported, imported

    octets = bytearray(unb64(exported(session)))
    octets[60] ^= 1
    return imported(b64(bytes(octets)))


def test_another_ratchet_under_the_name_of_a_session_is_not_taken_and_does_not_stop_the_true_one() -> None:
    world, alice, bob = keyless(tablet=False)
    session = session_from_start(bob)
    put_entry(world, alice, damaged(session), bobs_device(world))
    look(world, alice)
    assert "late-key-useless" in alice.step.codes()
    assert origin_of(alice, session.session_id) is None
    put_entry(world, alice, session, bobs_device(world))
    look(world, alice)
    assert alice.texts() == [MARK + "late"]


def begun_late() -> tuple[World, Machine, Machine, InboundGroupSession]:
    """The gateway was given Bob's session by his device, but only from its second message on."""
    world, alice, bob = keyless("first", tablet=False)
    session = session_from_start(bob)
    share_again(world, bob)
    assert parked(alice) == ["undecryptable"]
    return world, alice, bob, session


def test_an_earlier_place_of_a_session_that_its_device_sent_keeps_the_proof() -> None:
    world, alice, _, session = begun_late()
    put_entry(world, alice, session, Origin(bobs_device(world).curve25519, "A" * 43))
    look(world, alice)
    assert alice.texts() == ["first"]
    origin = origin_of(alice, session.session_id)
    assert origin is not None
    assert (origin.source, origin.ed25519) == ("", bobs_device(world).ed25519)


def test_a_session_that_its_device_sent_is_not_replaced_by_another_ratchet() -> None:
    world, alice, bob, session = begun_late()
    put_entry(world, alice, damaged(session), bobs_device(world))
    look(world, alice, 3)
    assert parked(alice) == ["undecryptable"]
    bob.sends("goes on")
    world.settle()
    assert alice.texts()[-1] == "goes on"


def test_not_even_one_that_opens_something_replaces_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world, alice, _, session = begun_late()
    monkeypatch.setattr(inside_late, "_opens", lambda *_: True)
    put_entry(world, alice, damaged(session), bobs_device(world))
    look(world, alice)
    assert "late-key-conflict" in alice.step.codes()
    origin = origin_of(alice, session.session_id)
    assert origin is not None
    assert origin.source == ""


def test_a_session_that_was_forgotten_opens_from_the_backup_nothing_that_was_used_before() -> None:
    world, alice, _ = keyless()
    backed_up(world)
    session_id = session_of(world.timeline[0])
    alice.step.records.put(f"forgotten/{BOB}", Forgotten(((_digest(session_id), 1),)))
    look(world, alice)
    assert alice.texts() == []
    assert "event-replayed" in alice.step.codes()


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'{"session_data": 7}', b"x" * 100_000])
def test_an_entry_that_cannot_be_read_changes_nothing(body: bytes) -> None:
    world, alice, _ = keyless()
    world.held = {names.BACKUP_GET}
    look(world, alice)
    (carried,) = [carried for _, carried in world.waiting if carried.request == names.BACKUP_GET]
    alice.answered(carried, body)
    assert parked(alice) == ["no-key"]
    alice.answered(carried, body)  # nobody awaits it any more
    assert parked(alice) == ["no-key"]


def test_the_answer_about_another_session_is_refused() -> None:
    world, alice, _ = keyless(tablet=False)
    session, _ = forged(world, "x")
    put_entry(world, alice, session, bobs_device(world), session_of(world.timeline[0]))
    look(world, alice)
    assert "backup-entry-wrong-party" in alice.step.codes()
    assert parked(alice) == ["no-key"]


def test_what_waits_is_looked_for_at_once_when_the_backup_is_joined() -> None:
    world, alice = elsewhere()
    put_backup(world, THEIR_BACKUP)
    put_secret(world, THEIR_BACKUP)
    bob = world.join(BOB, "BOBDEV", ALICE)
    with_trust(bob, "any-device")
    world.tell_room()
    lose_next_key(world, bob, ["withheld"])
    look(world, alice, 3)
    assert parked(alice) == ["no-key"]
    assert not world.sent(ALICE, names.BACKUP_GET)
    made = entry(THEIR_BACKUP, session_from_start(bob), bobs_device(world), bytes(32), believed=True)
    where = (ALICE, "1", world.room_id, session_of(world.timeline[0]))
    world.backed_up[where] = plain(made)
    assert recover(world, alice) == "ok"
    assert alice.step.wakes[inside_missing.TIMER] == alice.step.now
    look(world, alice)
    assert alice.texts() == [MARK + "withheld"]


def test_what_was_parked_before_is_looked_for_at_the_start() -> None:
    world, alice, _ = keyless()
    backed_up(world)
    for name in list(alice.step.records.names("missing/")):
        alice.step.records.delete(name)
    alice.starts(resumed=True)
    look(world, alice)
    assert alice.texts() == [MARK + "late"]


def test_it_is_looked_for_less_and_less_often() -> None:
    world, alice, _ = keyless(tablet=False)
    start, tries = alice.step.now, []
    for _ in range(8):
        look(world, alice)
        tries.append(alice.step.now - start)
    waits = [later - earlier for earlier, later in zip([0, *tries], tries, strict=False)]
    assert waits[:5] == list(inside_missing.WAITS_MS)
    assert set(waits[5:]) == {inside_missing.WAITS_MS[-1]}


# ---------------------------------------------------------------- asking our other devices
def requests(world: World) -> list[JSON]:
    """The key requests that the gateway sent: content by device."""
    sent = world.sent(ALICE, names.SEND_KEY_REQUEST)
    bodies = [json.loads(cast(Public, carried.values["body"]).v)["messages"] for carried in sent]
    return [dict(body[ALICE]) for body in bodies]


def test_after_the_backup_our_other_signed_devices_are_asked_and_the_request_is_taken_back() -> None:
    world, alice, _ = keyless()
    world.machines[ALICE, "TABLET"].step.records.delete("backup")
    world.join(ALICE, "UNSIGNED", BOB, signed=False)
    look(world, alice)
    assert requests(world) == []
    look(world, alice)
    asked, cancelled = requests(world)
    assert list(asked) == list(cancelled) == ["TABLET"]
    assert asked["TABLET"]["action"] == "request"
    assert asked["TABLET"]["body"]["session_id"] == session_of(world.timeline[0])
    assert cancelled["TABLET"]["action"] == "request_cancellation"
    assert asked["TABLET"]["request_id"] == cancelled["TABLET"]["request_id"]
    assert alice.texts() == [MARK + "late"]
    assert "key-from-forwarded" in alice.step.codes()
    assert "key-forwarded" in world.machines[ALICE, "TABLET"].step.codes()


def asking() -> tuple[World, Machine, Machine, InboundGroupSession]:
    """The gateway asked Alice's tablet, which does not answer."""
    world, alice, bob = keyless()
    world.machines[ALICE, "TABLET"].step.records.delete("backup")
    for name in list(world.machines[ALICE, "TABLET"].step.records.names("in-of/")):
        world.machines[ALICE, "TABLET"].step.records.delete(name)
    look(world, alice, 2)
    assert len(requests(world)) == 1
    return world, alice, bob, session_from_start(bob)


def test_a_forwarded_key_is_taken_from_the_device_that_was_asked() -> None:
    world, alice, _, session = asking()
    forward(world, world.machines[ALICE, "TABLET"], session, bobs_device(world))
    assert alice.texts() == [MARK + "late"]


def test_a_forwarded_key_of_another_room_or_session_is_refused() -> None:
    world, alice, _, session = asking()
    tablet = world.machines[ALICE, "TABLET"]
    forward(world, tablet, session, bobs_device(world), "!Other:x")
    forward(world, tablet, InboundGroupSession(GroupSession().session_key), bobs_device(world))
    assert alice.step.codes().count("forwarded-key-refused") == 2
    assert parked(alice) == ["no-key"]


def test_a_forwarded_key_of_a_contact_or_of_a_device_that_was_not_asked_is_refused() -> None:
    world, alice, bob, session = asking()
    later = tablet_of(world, alice, "LATER")
    unsigned = world.join(ALICE, "UNSIGNED", BOB, signed=False)
    namesake = world.join(BOB, "TABLET", ALICE)  # an id is only one's own
    for machine in (bob, later, unsigned, namesake):
        forward(world, machine, session, bobs_device(world))
    assert alice.step.codes().count("forwarded-key-refused") == 4
    assert alice.texts() == []


def test_a_forwarded_key_that_nobody_asked_for_is_refused() -> None:
    world, alice, bob = pair()
    tablet = tablet_of(world, alice)
    bob.sends("one")
    world.settle()
    forward(world, tablet, InboundGroupSession(GroupSession().session_key), bobs_device(world))
    assert "forwarded-key-refused" in alice.step.codes()
    assert len(list(alice.step.records.names("in/"))) == 1


# ---------------------------------------------------------------- being asked
def ask(alice: Machine, sender: str, content: JSON) -> None:
    """A request as the gateway hands it in."""
    alice.arrives(names.TO_DEVICE, {"type": REQUEST, "sender": sender, "content": content})


def wants(event_: JSON, device: str = "TABLET", room_id: str = "!Room:one.example", number: int = 0) -> JSON:
    """A request for the session of an event."""
    body = {"algorithm": "m.megolm.v1.aes-sha2", "room_id": room_id, "session_id": session_of(event_)}
    return {"action": "request", "requesting_device_id": device, "request_id": f"r{number}", "body": body}


def answering() -> tuple[World, Machine]:
    """The gateway has a session of Bob's; Alice has another signed client, and one that is not signed."""
    world, alice, bob = pair()
    bob.sends("one")
    world.settle()
    tablet_of(world, alice)
    world.join(ALICE, "UNSIGNED", BOB, signed=False)
    return world, alice


def test_our_own_signed_device_is_given_what_it_asks_for_once() -> None:
    world, alice = answering()
    for _ in range(3):
        ask(alice, ALICE, wants(world.timeline[0]))
        world.settle()
    assert alice.step.codes().count("key-forwarded") == 1
    ask(alice, ALICE, wants(world.timeline[0], number=1))
    world.settle()
    assert alice.step.codes().count("key-forwarded") == 2
    assert not list(alice.step.records.names("answering/"))


@pytest.mark.parametrize(("sender", "device"), [(ALICE, "UNSIGNED"), (ALICE, "NONE"), (BOB, "BOBDEV"), (BOB, "TABLET")])
def test_nobody_else_is_given_anything(sender: str, device: str) -> None:
    world, alice = answering()
    before = len(world.sent(ALICE, names.SEND_TO_DEVICE))
    ask(alice, sender, wants(world.timeline[0], device))
    world.settle()
    assert "key-request-refused" in alice.step.codes()
    assert len(world.sent(ALICE, names.SEND_TO_DEVICE)) == before


def test_a_stranger_is_not_even_listened_to() -> None:
    world, alice = answering()
    ask(alice, CAROL, wants(world.timeline[0]))
    assert alice.step.codes()[-1] == "to-device-stranger"


def test_a_session_of_another_room_or_that_is_not_proved_is_not_passed_on() -> None:
    world, alice = answering()
    ask(alice, ALICE, wants(world.timeline[0], room_id="!Other:x"))
    (name,) = alice.step.records.names("in-of/")
    origin = origin_of(alice, name[-43:])
    assert origin is not None
    alice.step.records.put(name, replace(origin, source="backup"))
    ask(alice, ALICE, wants(world.timeline[0], number=1))
    world.settle()
    assert alice.step.codes().count("key-request-unknown") == 2
    assert "key-forwarded" not in alice.step.codes()


def test_a_request_that_is_taken_back_is_not_answered() -> None:
    world, alice = answering()
    world.held = {names.KEYS_CLAIM}
    ask(alice, ALICE, wants(world.timeline[0]))
    assert list(alice.step.records.names("answering/"))
    ask(alice, ALICE, {"action": "request_cancellation", "requesting_device_id": "TABLET", "request_id": "r0"})
    world.held = set()
    world.settle()
    assert "key-forwarded" not in alice.step.codes()


def test_requests_for_secrets_are_ignored() -> None:
    _, alice = answering()
    content = {"name": "m.megolm_backup.v1", "action": "request", "requesting_device_id": "TABLET", "request_id": "1"}
    alice.arrives(names.TO_DEVICE, {"type": "m.secret.request", "sender": ALICE, "content": content})
    assert alice.step.codes()[-1] == "secret-request-ignored"


# ---------------------------------------------------------------- withheld, and counted
def withheld(code: str, **content: str) -> JSON:
    """A device of Bob's tells that we are not given a key."""
    told = {"algorithm": "m.megolm.v1.aes-sha2", "room_id": "!Room:one.example", "code": code, **content}
    return {"type": "m.room_key.withheld", "sender": BOB, "content": told}


@pytest.mark.parametrize("code", ["m.unverified", "m.blacklisted", "m.unauthorised", "m.unavailable"])
@pytest.mark.parametrize("early", [True, False])
def test_a_withheld_key_is_a_reason_and_is_told_once(code: str, early: bool) -> None:
    world, alice, bob = keyless(tablet=False) if not early else pair()
    reason = f"withheld-{code.removeprefix('m.')}"
    if early:
        world.events_held = True
        lose_next_key(world, bob, ["late"])
    for _ in range(2):
        alice.arrives(names.TO_DEVICE, withheld(code, session_id=session_of(world.timeline[0])))
    if early:
        world.show(world.timeline[0])
    assert parked(alice) == [reason]
    assert alice.step.traces[-1][1:] == ("parked", reason)
    assert alice.step.notices == [("bob", f"key-{reason}")]
    leg = alice.half.status(alice.step.records, alice.step.account)[0]
    assert leg.undecryptable == {reason: 1}


def test_a_key_that_comes_after_it_was_withheld_opens_and_ends_the_telling() -> None:
    world, alice, bob = keyless()
    alice.arrives(names.TO_DEVICE, withheld("m.unverified", session_id=session_of(world.timeline[0])))
    backed_up(world)
    look(world, alice)
    assert alice.texts() == [MARK + "late"]
    assert not list(alice.step.records.names("withheld/"))
    alice.step.now += 120_000
    lose_next_key(world, restarted(bob), ["another"])
    alice.arrives(names.TO_DEVICE, withheld("m.unverified", session_id=session_of(world.timeline[-1])))
    assert alice.step.notices.count(("bob", "key-withheld-unverified")) == 2


def restarted(machine: Machine) -> Machine:
    """With new sessions."""
    machine.starts(resumed=False)
    return machine


def test_no_olm_founds_a_session_and_is_a_reason() -> None:
    world, alice, _ = keyless(tablet=False)
    alice.arrives(names.TO_DEVICE, withheld("m.no_olm", sender_key=bobs_device(world).curve25519))
    assert parked(alice) == ["withheld-no-olm"]
    world.settle()
    assert "unwedged" in alice.step.codes()


def test_an_unknown_code_and_a_flood_of_them_are_taken() -> None:
    world, alice, _ = keyless(tablet=False)
    alice.arrives(names.TO_DEVICE, withheld("m.history_not_shared", session_id=session_of(world.timeline[0])))
    assert parked(alice) == ["withheld"]
    for number in range(300):
        alice.arrives(names.TO_DEVICE, withheld("m.unverified", session_id=f"s{number}"))
    kept = alice.step.records.get(f"withheld/{BOB}", Withheld)
    assert kept is not None
    assert len(kept.noted) == MOST_NOTED


def test_what_cannot_be_decrypted_is_counted_by_reason_and_ends_at_zero() -> None:
    world, alice, _ = keyless(sent=3)
    assert alice.step.codes().count("undecryptable-no-key") == 3
    leg = alice.half.status(alice.step.records, alice.step.account)[0]
    assert leg.undecryptable == {"no-key": 3}
    assert undecryptable(leg) == {"undecryptable-now": 3, "undecryptable-now-no-key": 3}
    backed_up(world)
    look(world, alice)
    leg = alice.half.status(alice.step.records, alice.step.account)[0]
    assert undecryptable(leg) == {"undecryptable-now": 0}
    assert undecryptable(replace(leg, undecryptable=None)) == {}
    assert alice.texts() == [f"{MARK}late {number}" for number in range(3)]


def test_what_is_kept_of_it_can_be_sealed_and_read_again() -> None:
    world, alice, _ = keyless()
    alice.arrives(names.TO_DEVICE, withheld("m.unverified", session_id=session_of(world.timeline[0])))
    world.held = {names.KEYS_CLAIM, names.BACKUP_GET}
    look(world, alice, 2)
    kinds = (Missing, Withheld, Parked, Answered, Answering)
    alice.step.records.put("answering/x", Answering("D", BOB, "!r", "1"))
    alice.step.records.put("answered/x", Answered((b"1",)))
    found = [value for value in alice.step.records.held.values() if isinstance(value, kinds)]
    assert {type(value) for value in found} == set(kinds)
    for value in found:
        assert decoded(encoded(value, bytes(32)), type(value), bytes(32)) == value


def test_missing_sessions_of_an_account_whose_contact_is_gone_are_dropped() -> None:
    world, alice, _ = keyless()
    assert list(alice.step.records.names("missing/"))
    alice.step.account = replace(alice.step.account, contacts=())
    look(world, alice)
    assert not list(alice.step.records.names("missing/"))
    assert alice.step.records.get("missing/x", Missing) is None


def test_the_session_of_the_present_index_is_the_ratchet_of_the_first() -> None:
    """Of the helpers: what the tests take for Bob's session is it."""
    from crypto.olm.forwarded import same_ratchet

    _, _, bob = keyless(tablet=False)
    assert same_ratchet(session_at(bob), session_from_start(bob))
