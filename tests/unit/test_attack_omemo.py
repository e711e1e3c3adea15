"""What the gateway process, both servers and the network try against OMEMO in the enclave."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import msgspec
import pytest

from adapters.inside_api import AnyValue
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_binding import heard, pinned
from adapters.xmpp.inside_omemo_own import store_in, store_of
from adapters.xmpp.inside_omemo_room import octets_beside
from adapters.xmpp.inside_omemo_state import Device, UserDevices, devices_in
from adapters.xmpp.inside_queue import entry_at
from crypto.enclave.vault import MAX_CHANGES
from crypto.omemo.conversation import decrypted, encrypted
from crypto.omemo.device import device_of, own, public_bundle
from crypto.omemo.elements import read_message
from crypto.omemo.faults import Undecryptable
from crypto.omemo.model import Peer, Recipient
from crypto.omemo.names import MAX_SKIPPED, Namespace
from crypto.omemo.sessions import Sessions, kept_with
from crypto.xml import CLIENT, element, serialize
from tests.unit.omemo_desk import NEW, OLD, Desk
from tests.unit.omemo_site import AXOLOTL, OMEMO_2, OmemoSite
from tests.unit.omemo_world import End
from tests.unit.test_xmpp_omemo_devices import DESKTOP, PHONE, impostor, said, send, states, verify
from tests.unit.xmpp_site import ALICE, BOB, Alice, Site

BIG = 40_000


@pytest.fixture
def site() -> Iterator[OmemoSite]:
    """One phone of Alice's, of the older form, which is there."""
    made = OmemoSite(AXOLOTL)
    made.resources(made.devices[0].jid, able=False)
    made.devices[0].say("hi", "a0")
    made.run()
    yield made
    made.close()


def _room(value: AnyValue) -> int:
    return len(value.v) if isinstance(value.v, bytes) else 64


def steps(site: Site) -> list[int]:
    """Octets of every step from now on: what it remembers, and what it sends."""
    sizes: list[int] = []
    do = site.do

    def measured(act: Callable[[], None]) -> None:
        before = len(site.step.carries)
        site.records.written = set()
        do(act)
        remembered = (site.records.held[n] for n in site.records.written & site.records.held.keys())
        carried = sum(_room(v) for c in site.step.carries[before:] for v in c.values.values())
        sizes.append(carried + sum(len(msgspec.msgpack.encode(each)) for each in remembered))

    site.do = measured  # type: ignore[method-assign]
    return sizes


# ---------------------------------------------------------------- steps that fit no frame
def test_large_messages_without_receipts_are_repeated_in_steps_that_fit_one_frame(site: OmemoSite) -> None:
    site.message("one", "$1")
    site.run()
    site.unheard = lambda: True
    for number in range(120):
        site.message("x" * BIG, f"$b{number}")
    site.run()
    sizes = steps(site)
    site.wait(70)
    assert max(sizes) < MAX_CHANGES // 2
    assert len(site.sent("omemo")) == 241


def test_a_list_that_many_contacts_waited_for_has_their_messages_sent_in_steps_that_fit_one_frame() -> None:
    desk = Desk()
    others = tuple(replace(desk.bob, id=f"c{n}", alias=f"c{n}@matrix.example.org") for n in range(12))
    desk.step.account = replace(desk.step.account, contacts=others)
    desk.begin()
    desk.nodes.announce(PHONE)
    for contact in others:
        send(desk, contact)
    desk.answering = lambda _code, _number: False
    desk.later(700)
    for contact in others:
        for number in range(15):
            desk.message("x" * BIG, f"${contact.id}/{number}", contact)
    desk.settle()
    assert desk.sent("omemo") == []
    desk.answering = lambda _code, _number: True
    sizes = steps(desk)
    desk.event(OLD, others[0].alias)
    desk.event(NEW, others[0].alias)
    desk.later(300)
    assert len(desk.sent("omemo")) == 12 * 15
    assert max(sizes) < MAX_CHANGES // 2


@pytest.mark.parametrize("resumed", [True, False])
def test_keys_of_very_many_contacts_are_published_in_steps_that_fit_one_frame(resumed: bool) -> None:
    desk = Desk()
    named = [f"c{n}" for n in range(120)]
    contacts = tuple(replace(desk.bob, id=n, alias=f"{n}@matrix.example.org") for n in named)
    desk.step.account = replace(desk.step.account, contacts=contacts)
    sizes = steps(desk)
    desk.start(resumed=True)
    desk.later(1)
    desk.start(resumed=resumed)
    epochs = [device_of(store_in(desk.records, each)).epoch for each in named]
    desk.later(1)
    assert max(sizes) < MAX_CHANGES // 4
    assert len([n for n in desk.records.held if n.startswith("omemo-own/")]) == 120
    assert epochs == [0 if resumed else 1] * 120


# ---------------------------------------------------------------- false success
def test_a_receipt_beside_a_ciphertext_settles_nothing_that_went_out_in_a_session() -> None:
    site = OmemoSite(AXOLOTL, options={"protocols": "esession axolotl"})
    site.alice = Alice(receipts=False)
    site.resources(site.alice.jid)
    site.alice.start()
    site.run()
    site.message("in a session", "$1")
    site.run()
    assert site.alice.shown == ["in a session"]
    assert site.step.done == []
    (stanza_id,) = [i for i in site.stanza_ids() if i and i in _queued(site)]
    forged = serialize(element("urn:xmpp:receipts", "received", id=stanza_id))
    site.devices[0].say("hello", "a1", beside=forged)
    site.run()
    assert site.bodies() == ["hello"]
    assert site.step.done == []
    site.close()


def _queued(site: Site) -> list[str]:
    at = LegStep(site.step, site.bob)
    entries = (entry_at(at, n) for n in range(at.line.first, at.line.next))
    return [each.stanza_id for each in entries if each is not None]


# ---------------------------------------------------------------- trust
def test_distrusting_the_only_verified_key_does_not_make_new_ones_trusted_blindly() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    send(desk)
    verify(desk, PHONE)
    verify(desk, PHONE, "distrust")
    desk.nodes.announce(PHONE, DESKTOP)
    desk.later(700)
    desk.reach()
    assert states(desk)[DESKTOP.identity] == "undecided"
    assert said(desk, DESKTOP)[1] == "omemo-not-verified"


@pytest.mark.parametrize("form", Namespace)
def test_a_verified_device_is_heard_again_after_its_number_was_taken_by_another_key(form: Namespace) -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE, forms=(form,))
    send(desk)
    verify(desk, PHONE)
    known = devices_in(desk.records)
    desk.at(lambda at: at.step.records.put("omemo-devices", known.__class__((), known.listings)))  # pushed out
    thief = impostor(PHONE.device_id)
    assert said(desk, thief, form)[1] == "omemo-not-verified"
    text = _said_through(desk, PHONE, form)
    assert text == b"it is me"
    assert devices_in(desk.records).find(PHONE.device_id) is not None
    assert said(desk, PHONE, form)[1] is None
    desk.later(700)
    assert desk.ids() == [PHONE.device_id]
    assert said(desk, thief, form)[1] == "omemo-not-verified"


def _said_through(desk: Desk, end: End, form: Namespace) -> bytes | None:
    """A message, with the key that is asked of its device."""

    def receive(at: LegStep) -> bytes | None:
        store = store_of(at)
        ours = own(store)
        assert ours is not None
        fresh = End.make(ALICE, end.device_id)
        made = encrypted(
            fresh.shelf,
            fresh.dice,
            {form: b"it is me"},
            [Recipient(Peer(form, BOB, ours.device_id), public_bundle(store, form))],
        )
        message = read_message(made.elements[form])
        known = pinned(at, end.device_id)
        opened = decrypted(store, at.step.draw, message, own_jid=BOB, sender_jid=ALICE, known=known)
        assert heard(at, end.device_id, opened.identity_key, form).refused is None
        return opened.plaintext

    return desk.at(receive)


def test_messages_under_made_up_numbers_do_not_push_out_a_device_that_has_a_key() -> None:
    known = UserDevices((Device(11, spoke=(OLD,), identity=b"k" * 32),))
    for number in range(200):
        known = known.with_device(Device(1000 + number))
    assert known.find(11) is not None


# ---------------------------------------------------------------- keys after a rollback
def test_sessions_are_retired_by_a_rollback_also_while_omemo_is_off() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    send(desk)
    before = device_of(store_in(desk.records, "bob")).epoch
    desk.allow({"omemo": "off"})
    desk.begin()
    desk.begin(resumed=False)
    desk.allow({"omemo": "on"})
    desk.begin()
    assert device_of(store_in(desk.records, "bob")).epoch > before


def test_keys_of_a_contact_go_with_it_also_when_omemo_was_turned_off_before() -> None:
    desk = Desk().begin()
    desk.allow({"omemo": "off"})
    desk.begin()
    desk.step.account = replace(desk.step.account, contacts=())
    desk.begin()
    assert [name for name in desk.records.held if name.startswith("omemo/")] == []


# ---------------------------------------------------------------- records without bounds
def test_a_device_that_is_not_believed_leaves_little_behind() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    send(desk)
    verify(desk, PHONE)
    _skip(desk, 77, 900)
    peer = Peer(OLD, ALICE, 77)
    kept = kept_with(store_in(desk.records, "bob"), peer)
    assert len(msgspec.msgpack.encode(kept)) < 16_000


def test_all_sessions_with_a_device_keep_no_more_keys_than_one_may() -> None:
    desk = Desk().begin()
    for run in range(3):
        _skip(desk, 77, 900, f"run{run}")
    kept: Sessions = kept_with(store_in(desk.records, "bob"), Peer(OLD, ALICE, 77))
    assert len(kept.kept) == 3
    assert sum(len(each.ratchet.skipped) for each in kept.kept) <= MAX_SKIPPED
    assert len(kept.kept[0].ratchet.skipped) == 900


def test_keys_of_missing_messages_have_one_bound_for_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.xmpp.inside_omemo_room.MAX_ROOM", 130_000)
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    send(desk)
    for device in (77, 78, 79):
        _skip(desk, device, 400)
    held = [v for n, v in desk.records.held.items() if n.startswith("omemo/") and isinstance(v, Sessions)]
    assert sum(map(octets_beside, held)) <= 130_000
    assert [len(_kept(desk, device).kept) for device in (77, 78, 79)] == [1, 1, 1]
    assert [len(_kept(desk, device).kept[0].ratchet.skipped) for device in (77, 78, 79)] == [0, 0, 400]
    assert "omemo-keys-dropped" in desk.step.codes()


def _kept(desk: Desk, device: int) -> Sessions:
    return kept_with(store_in(desk.records, "bob"), Peer(OLD, ALICE, device))


def _skip(desk: Desk, id_: int, count: int, seed: str = "s") -> None:
    """The last of many messages of a device comes as a stanza; the others never do."""
    ours = own(store_in(desk.records, "bob"))
    assert ours is not None
    end = End.make(ALICE, id_)
    end.dice.seed = seed
    bundle = public_bundle(store_in(desk.records, "bob"), OLD)
    recipient = Recipient(Peer(OLD, BOB, ours.device_id), bundle)
    for _ in range(count + 1):
        made = encrypted(end.shelf, end.dice, {OLD: b"hi"}, [recipient])
    content = serialize(made.elements[OLD])
    head = f"<message xmlns='{CLIENT}' from='{ALICE}/x' to='{BOB}' type='chat' id='x{seed}'>"
    desk.arrive(head.encode() + content + b"</message>")
    desk.settle()


# ---------------------------------------------------------------- cut, mixed, repeated
def test_a_message_whose_payload_was_cut_off_does_not_use_up_the_genuine_one() -> None:
    bob, phone = End.make(BOB, 5), End.make(ALICE, 11)
    whole = phone.says(b"<envelope/>", NEW, bob)
    with pytest.raises(Undecryptable):
        bob.hears(replace(whole, payload=None), ALICE)
    assert bob.hears(whole, ALICE).plaintext == b"<envelope/>"


@pytest.mark.parametrize("form", [AXOLOTL, OMEMO_2])
def test_what_was_written_to_one_contact_is_not_shown_to_another_and_not_twice(form: tuple[Namespace, ...]) -> None:
    made = OmemoSite(form)
    stanza = made.devices[0].say("for Bob only", "a1")
    made.run()
    eve = replace(made.bob, id="eve", address="@eve:matrix.org", alias="eve@matrix.example.org")
    made.step.account = replace(made.step.account, contacts=(made.bob, eve))
    made.start(resumed=True)
    devices = [own(store_in(made.records, each)) for each in ("bob", "eve")]
    assert devices[0] is not None
    assert devices[1] is not None
    moved = stanza.replace(BOB.encode(), b"eve@matrix.example.org")
    moved = moved.replace(b"%d" % devices[0].device_id, b"%d" % devices[1].device_id)
    for again in (stanza.replace(b"id='a1'", b"id='a9'"), moved, moved.replace(b"id='a1'", b"id='a9'")):
        made.arrive(again)
    assert [(contact, message.body) for contact, message in made.step.deliveries] == [("bob", "for Bob only")]
    made.close()
