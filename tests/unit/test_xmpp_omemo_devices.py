"""The user's OMEMO devices: found, followed, written to, and what is believed of them."""

from dataclasses import replace

import pytest

from adapters.inside_api import ContactPolicy
from adapters.xmpp.inside_arrivals import presence_arrived
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_binding import Told, heard, pinned, told_once, trust_key
from adapters.xmpp.inside_omemo_devices import recipients, unusable
from adapters.xmpp.inside_omemo_mending import HEAL_MS, failed, healing_bundle, to_heal
from adapters.xmpp.inside_omemo_own import store_of
from adapters.xmpp.inside_omemo_state import MAX_DEVICES, MAX_KNOWN, devices_in
from adapters.xmpp.inside_omemo_trust import MAX_KEYS, keys_in
from adapters.xmpp.names import Resources
from adapters.xmpp.pep.names import FORBIDDEN, PEP_EVENT, PEP_ITEMS, UNAVAILABLE, Items
from crypto.message import Standing
from crypto.omemo.conversation import decrypted, encrypted, session_identity
from crypto.omemo.device import created, own, public_bundle
from crypto.omemo.elements import read_message
from crypto.omemo.fingerprints import fingerprint
from crypto.omemo.model import Peer, Recipient
from crypto.omemo.names import Namespace
from tests.unit.omemo_desk import BUNDLES, LISTS, NEW, OLD, ON, Desk
from tests.unit.omemo_world import NOW, Dice, End
from tests.unit.xmpp_site import ALICE, BOB

PHONE, DESKTOP = End.make(ALICE, 11), End.make(ALICE, 22)


def impostor(id_: int, seed: str = "m") -> End:
    """A device of the same id, with another key."""
    end = End(ALICE, id_, dice=Dice(seed))
    created(end.shelf, end.dice, device_id=id_, now_ms=NOW)
    return end


def said(
    desk: Desk, end: End, form: Namespace = OLD, contact: ContactPolicy | None = None
) -> tuple[Standing, str | None]:
    """A device writes to a contact: what that counts for."""

    def receive(at: LegStep) -> tuple[Standing, str | None]:
        store = store_of(at)
        ours = own(store)
        assert ours is not None
        recipient = Recipient(Peer(form, BOB, ours.device_id), public_bundle(store, form))
        made = encrypted(end.shelf, end.dice, {form: b"hi"}, [recipient])
        message = read_message(made.elements[form])
        opened = decrypted(store, at.step.draw, message, own_jid=BOB, sender_jid=ALICE)
        found = heard(at, end.device_id, opened.identity_key, form)
        return found.standing, found.refused

    return desk.at(receive, contact)


def send(desk: Desk, contact: ContactPolicy | None = None) -> list[int]:
    """A message to all that can be reached: the devices that it was encrypted for."""
    found = desk.reach(contact)
    content = {OLD: b"hello", NEW: b"<envelope/>"}
    made = desk.at(lambda at: encrypted(store_of(at), at.step.draw, content, found.ready), contact)
    assert made.refused == ()
    return [key.device_id for element in made.elements.values() for key in read_message(element).keys]


def verify(desk: Desk, end: End, decision: str = "verify") -> str:
    """The operator decides about a key."""
    return desk.at(lambda at: trust_key(at, decision, fingerprint(end.identity), "operator"))


def states(desk: Desk) -> dict[bytes, str]:
    """How the keys stand."""
    return {key.identity: key.state for key in keys_in(desk.records).known}


# ---------------------------------------------------------------- finding devices
def test_lists_and_keys_are_asked_for_and_every_device_is_written_to() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE, DESKTOP)
    assert sorted(send(desk)) == [11, 22]
    assert desk.asked == [
        (LISTS[NEW], None),
        (LISTS[OLD], None),
        (BUNDLES[OLD], 11),
        (BUNDLES[OLD], 22),
    ]
    assert desk.told == []


def test_nothing_is_asked_again_while_lists_are_fresh_and_sessions_stand() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    send(desk)
    asked = list(desk.asked)
    assert send(desk) == [11]
    assert desk.asked == asked


def test_a_client_that_comes_has_the_lists_asked_for_again_soon() -> None:
    """It may publish its keys in a moment, and servers do not always tell of that."""
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    send(desk)
    desk.nodes.announce(PHONE, DESKTOP)
    desk.later(61)
    assert desk.ids() == [11]
    presence_arrived(desk.step, Resources(((f"{ALICE}/new", False),), complete=True).encode())
    assert desk.ids() == [11]
    desk.later(61)
    assert sorted(desk.ids()) == [11, 22]


def test_lists_that_are_too_old_are_asked_for_before_anything_is_sent() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    send(desk)
    desk.nodes.announce(PHONE, DESKTOP)
    assert desk.ids() == [11]
    desk.later(601)
    assert sorted(desk.ids()) == [11, 22]


def test_the_list_is_the_accounts_and_keys_are_asked_for_by_each_contact() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    send(desk)
    before = list(desk.asked)
    assert send(desk, desk.eve) == [11]
    assert desk.asked[len(before) :] == [(BUNDLES[OLD], 11)]


def test_each_device_is_written_to_in_the_newest_form_that_it_knows() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE, forms=(OLD, NEW))
    desk.nodes.announce(PHONE, DESKTOP, forms=(OLD,))
    assert {(r.peer.device_id, r.peer.namespace) for r in desk.reach().ready} == {(11, NEW), (22, OLD)}


def test_where_the_keys_of_the_newer_form_are_not_there_the_older_one_does() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE, forms=(OLD, NEW))
    del desk.nodes.held[BUNDLES[NEW], 11]
    assert [(r.peer.device_id, r.peer.namespace) for r in desk.reach().ready] == [(11, OLD)]


def test_what_the_server_tells_by_itself_needs_no_question() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    desk.event(OLD)
    desk.event(NEW)
    assert desk.ids() == [11]
    assert (LISTS[OLD], None) not in desk.asked
    desk.nodes.announce(PHONE, DESKTOP)
    desk.event(OLD)
    assert sorted(desk.ids()) == [11, 22]


def test_an_event_without_content_means_that_the_list_is_asked_for() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    desk.ids()
    desk.nodes.announce(PHONE, DESKTOP)
    desk.step.now += 61_000
    desk.arrive(Items(f"{BOB}/lockgate", LISTS[OLD], False, (), None, UNAVAILABLE).encode(), PEP_EVENT)
    assert sorted(desk.ids()) == [11, 22]


def test_a_device_that_was_removed_is_not_written_to_any_more() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE, DESKTOP)
    send(desk)
    said(desk, DESKTOP)
    desk.nodes.announce(PHONE)
    desk.event(OLD)
    assert send(desk) == [11]
    desk.nodes.announce(PHONE, DESKTOP)
    desk.event(OLD)
    assert sorted(send(desk)) == [11, 22]


def test_a_removed_device_that_spoke_is_not_written_to_when_the_list_goes_away_later() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE, DESKTOP)
    said(desk, DESKTOP)
    desk.nodes.announce(PHONE)
    desk.event(OLD)
    del desk.nodes.held[LISTS[OLD], None]
    desk.later(24 * 600 + 1)
    assert 22 not in desk.ids()


@pytest.mark.parametrize(
    ("why", "code"), [("none", "omemo-no-devices"), (FORBIDDEN, "omemo-forbidden"), (UNAVAILABLE, "omemo-no-devices")]
)
def test_why_nobody_can_be_reached_is_told_by_a_code(why: str, code: str) -> None:
    desk = Desk().begin()
    desk.nodes.why = {(LISTS[OLD], None): why}
    assert desk.reach().refused == code


def test_who_wrote_to_us_can_be_answered_where_no_list_can_be_read() -> None:
    desk = Desk().begin()
    desk.nodes.why = {(LISTS[OLD], None): FORBIDDEN}
    assert said(desk, PHONE) == (Standing.ENCRYPTED, None)
    assert send(desk) == [11]


def test_a_device_without_keys_is_left_out_and_asked_for_again_later() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE, DESKTOP)
    kept = desk.nodes.held.pop((BUNDLES[OLD], 22))
    found = desk.reach()
    assert ([r.peer.device_id for r in found.ready], found.left_out) == ([11], (22,))
    desk.nodes.held[BUNDLES[OLD], 22] = kept
    assert desk.ids() == [11]
    desk.later(601)
    assert sorted(desk.ids()) == [11, 22]


def test_when_no_device_has_keys_that_is_said() -> None:
    desk = Desk().begin()
    desk.nodes.listed(OLD, 11)
    assert desk.reach().refused == "omemo-no-keys"


def test_keys_that_are_not_signed_are_none() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    desk.nodes.held[BUNDLES[OLD], 11] = desk.nodes.held[BUNDLES[OLD], 11].replace("identityKey>B", "identityKey>C")
    assert desk.reach().refused == "omemo-no-keys"
    assert states(desk) == {}


def test_where_nobody_answers_it_goes_on_with_what_is_known() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE, DESKTOP)
    desk.ids()
    desk.later(601)
    desk.answering = lambda code, number: False
    assert desk.at(recipients).waiting
    desk.settle()
    desk.later(61)
    assert sorted(desk.ids()) == [11, 22]


def test_a_device_whose_keys_nobody_sends_does_not_hold_up_the_others() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE, DESKTOP)
    desk.answering = lambda code, number: number != 11
    for _ in range(3):
        desk.at(recipients)
        desk.settle()
    desk.later(61)
    assert desk.ids() == [22]


def test_of_very_many_devices_only_so_many_are_written_to_or_remembered() -> None:
    desk = Desk().begin()
    desk.nodes.listed(OLD, *range(1, 200))
    desk.event(OLD)
    assert len(devices_in(desk.records).devices) <= MAX_DEVICES
    for at in range(20):
        desk.nodes.listed(OLD, *range(1000 * at + 1, 1000 * at + 30))
        desk.event(OLD)
        said(desk, End.make(ALICE, 100_000 + at))
    assert len(devices_in(desk.records).devices) <= MAX_KNOWN
    assert len(list(desk.records.names("omemo/bob/session/"))) <= MAX_KNOWN


@pytest.mark.parametrize("content", ["<x/>", "<list xmlns='urn:other'/>", "<a", "<devices xmlns='urn:xmpp:omemo:2'/>"])
def test_a_list_that_is_none_changes_nothing(content: str) -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    desk.ids()
    desk.nodes.held[LISTS[OLD], None] = content
    desk.event(OLD)
    assert desk.ids() == [11]
    assert "omemo-list-malformed" in desk.step.codes()


def test_what_nobody_asked_for_is_not_looked_at() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    for code, number in ((LISTS[OLD], None), (BUNDLES[OLD], 11)):
        desk.arrive(desk.nodes.answer(f"{BOB}/lockgate", code, number).encode(), PEP_ITEMS)
    assert desk.step.codes().count("omemo-unasked") == 2
    assert devices_in(desk.records).devices == ()


def test_keys_of_another_device_than_was_asked_for_are_not_taken() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    desk.answering = lambda code, number: number is None
    desk.event(OLD)
    desk.event(NEW)
    desk.at(recipients)
    desk.settle()
    desk.nodes.announce(DESKTOP)
    desk.arrive(desk.nodes.answer(f"{BOB}/lockgate", BUNDLES[OLD], 22).encode(), PEP_ITEMS)
    assert "omemo-unasked" in desk.step.codes()
    assert states(desk) == {}


def test_while_it_is_off_nothing_is_asked_and_nothing_that_comes_is_kept() -> None:
    desk = Desk({}).begin()
    desk.nodes.announce(PHONE)
    desk.event(OLD)
    assert desk.reach().refused == "omemo-off"
    assert (desk.asked, devices_in(desk.records).devices) == ([], ())


def test_no_two_contacts_take_the_same_prekey() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    taken = []
    for contact in (desk.bob, desk.eve):
        (recipient,) = desk.reach(contact).ready
        assert recipient.bundle is not None
        taken += [key.id for key in recipient.bundle.prekeys]
    assert len(taken) == len(set(taken)) == 2


def test_after_a_state_that_may_be_old_the_lists_are_asked_for_again() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    send(desk)
    before = len(desk.asked)
    desk.begin(resumed=False)
    send(desk)
    asked = desk.asked[before:]
    assert (LISTS[OLD], None) in asked
    assert (BUNDLES[OLD], 11) in asked, "the session is not sent in again"


def test_what_was_of_no_use_is_not_tried_again_at_once() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    (recipient,) = desk.reach().ready
    desk.at(lambda at: unusable(at, recipient.peer))
    assert desk.reach().refused == "omemo-no-keys"
    desk.later(601)
    assert desk.ids() == [11]


# ---------------------------------------------------------------- trust
def test_before_the_first_verification_every_device_is_trusted_blindly() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    assert said(desk, DESKTOP) == (Standing.ENCRYPTED, None)
    assert send(desk) == [11]
    assert set(states(desk).values()) == {"blind"}
    assert desk.told == []


def test_after_it_a_new_device_gets_nothing_and_gives_nothing_and_the_user_is_told() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    send(desk)
    assert verify(desk, PHONE) == "ok"
    desk.nodes.announce(PHONE, DESKTOP)
    desk.event(OLD)
    found = desk.reach()
    assert ([r.peer.device_id for r in found.ready], found.left_out) == ([11], (22,))
    assert desk.told == ["omemo-device-new"]
    assert said(desk, DESKTOP) == (Standing.ENCRYPTED, "omemo-not-verified")
    assert said(desk, PHONE) == (Standing.VERIFIED, None)
    assert send(desk) == [11]
    verify(desk, DESKTOP)
    assert sorted(send(desk)) == [11, 22]
    assert desk.told == ["omemo-device-new"]


def test_after_a_decision_the_next_device_is_announced_however_soon_it_comes() -> None:
    desk = Desk({**ON, "omemo-trust": "verified-only"}).begin()
    desk.nodes.announce(PHONE)
    desk.reach()
    desk.settle()
    assert desk.told == ["omemo-device-new"]
    verify(desk, PHONE)
    desk.nodes.announce(PHONE, DESKTOP)
    desk.event(OLD)
    assert desk.reach().left_out == (22,)
    assert desk.told == ["omemo-device-new"] * 2


def test_those_that_were_trusted_blindly_before_stay_so() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE, DESKTOP)
    send(desk)
    verify(desk, PHONE)
    assert sorted(send(desk)) == [11, 22]


def test_where_only_verified_devices_count_the_first_one_counts_not_either() -> None:
    desk = Desk({**ON, "omemo-trust": "verified-only"}).begin()
    desk.nodes.announce(PHONE)
    assert desk.reach().refused == "omemo-not-verified"
    desk.settle()
    assert desk.told == ["omemo-device-new"]
    assert said(desk, PHONE) == (Standing.ENCRYPTED, "omemo-not-verified")
    verify(desk, PHONE)
    assert send(desk) == [11]
    assert said(desk, PHONE) == (Standing.VERIFIED, None)


def test_a_policy_that_is_not_understood_is_taken_for_the_strictest() -> None:
    desk = Desk({**ON, "omemo-trust": "whatever"}).begin()
    desk.nodes.announce(PHONE)
    assert desk.reach().refused == "omemo-not-verified"


def test_a_distrusted_device_gets_nothing_and_gives_nothing() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE, DESKTOP)
    send(desk)
    assert verify(desk, DESKTOP, "distrust") == "ok"
    assert send(desk) == [11]
    assert said(desk, DESKTOP) == (Standing.ENCRYPTED, "omemo-distrusted")


def test_a_device_with_another_key_than_before_is_announced_also_where_trust_is_blind() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    send(desk)
    other = impostor(11)
    assert said(desk, other) == (Standing.ENCRYPTED, None)
    desk.settle()
    assert desk.told == ["omemo-device-changed"]
    desk.nodes.announce(other)
    assert send(desk) == [11]
    found = desk.reach()
    assert [r.known for r in found.ready] == [other.identity]


def test_after_a_verification_a_device_with_another_key_gets_nothing_until_that_is_verified() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE, DESKTOP)
    send(desk)
    verify(desk, PHONE)
    other = impostor(11)
    desk.nodes.announce(other, DESKTOP)
    assert said(desk, other) == (Standing.ENCRYPTED, "omemo-not-verified")
    desk.settle()
    assert desk.told == ["omemo-device-changed"]
    assert send(desk) == [22]
    verify(desk, other)
    assert sorted(send(desk)) == [11, 22]
    assert {r.known for r in desk.reach().ready} == {other.identity, DESKTOP.identity}


def test_no_contact_goes_on_in_a_session_with_a_key_that_was_replaced() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    send(desk)
    send(desk, desk.eve)
    verify(desk, PHONE)
    other = impostor(11)
    said(desk, other)
    desk.nodes.announce(other)
    verify(desk, other)
    for contact in (desk.bob, desk.eve):
        kept = desk.at(lambda at: session_identity(store_of(at), Peer(OLD, ALICE, 11)), contact)
        assert kept in {None, other.identity}
        found = desk.reach(contact)
        assert [r.known for r in found.ready] == [other.identity]
        assert send(desk, contact) == [11]


def test_the_true_device_is_written_to_again_when_somebody_only_posed_as_it() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    send(desk)
    verify(desk, PHONE)
    other = impostor(11)
    said(desk, other)
    assert desk.reach().refused == "omemo-not-verified"
    verify(desk, other, "distrust")
    assert said(desk, PHONE) == (Standing.VERIFIED, None)
    assert send(desk) == [11]


def test_messages_must_come_with_the_known_key_once_one_was_verified() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    send(desk)
    assert desk.at(lambda at: pinned(at, 11)) is None
    verify(desk, PHONE)
    assert desk.at(lambda at: pinned(at, 11)) == PHONE.identity
    assert desk.at(lambda at: pinned(at, 99)) is None


def test_who_mirrors_our_own_key_is_not_the_user() -> None:
    desk = Desk().begin()

    def mirror(at: LegStep) -> str | None:
        ours = own(store_of(at))
        assert ours is not None
        return heard(at, 5, ours.identity_key, OLD).refused

    assert desk.at(mirror) == "omemo-distrusted"
    assert states(desk) == {}


def test_very_many_keys_do_not_push_out_what_was_decided() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    send(desk)
    verify(desk, PHONE)
    for at in range(MAX_KEYS + 10):
        desk.at(lambda leg, n=at: heard(leg, 1000 + n, bytes([n % 256, n // 256]) * 16, OLD))  # type: ignore[misc]
    found = states(desk)
    assert len(found) <= MAX_KEYS
    assert found[PHONE.identity] == "verified"
    assert set(found.values()) == {"verified", "undecided"}


def test_a_flood_of_devices_is_announced_by_few_sentences() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    send(desk)
    verify(desk, PHONE)
    for at in range(20):
        desk.at(lambda leg, n=at: heard(leg, 1000 + n, bytes([n + 1]) * 32, OLD))  # type: ignore[misc]
    desk.settle()
    assert desk.told == ["omemo-device-new"]


@pytest.mark.parametrize(
    ("decision", "text", "code"),
    [
        ("verify", "12345", "not-a-fingerprint"),
        ("verify", "ab" * 32, "unknown-key"),
        ("believe", "ab" * 32, "unknown-decision"),
    ],
)
def test_a_decision_that_is_none_changes_nothing(decision: str, text: str, code: str) -> None:
    desk = Desk().begin()
    assert desk.at(lambda at: trust_key(at, decision, text, "operator")) == code
    assert states(desk) == {}


def test_what_is_wrong_is_told_once() -> None:
    desk = Desk().begin()
    for _ in range(3):
        desk.at(lambda at: told_once(at, "omemo-forbidden"))
    desk.settle()
    assert desk.told == ["omemo-forbidden"]


# ---------------------------------------------------------------- broken sessions
def healed(desk: Desk) -> int:
    """How many sessions were made anew so far."""
    return desk.step.codes().count("omemo-healed")


def test_a_message_that_cannot_be_read_has_a_new_session_made_but_not_over_and_over() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    send(desk)
    desk.at(lambda at: failed(at, 11, OLD))
    desk.settle()
    assert healed(desk) == 1
    assert desk.at(to_heal) == ()
    assert desk.at(lambda at: healing_bundle(at, Peer(OLD, ALICE, 11))) is None
    desk.at(lambda at: failed(at, 11, OLD))
    desk.settle()
    assert healed(desk) == 1
    desk.step.now += HEAL_MS
    desk.at(lambda at: failed(at, 11, OLD))
    desk.settle()
    assert healed(desk) == 2


def test_a_device_that_was_never_seen_can_be_healed_too() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    desk.at(lambda at: failed(at, 11, OLD))
    desk.settle()
    assert healed(desk) == 1


def test_broken_messages_have_the_lists_asked_for_but_not_each_of_them() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    send(desk)
    before = desk.asked.count((LISTS[OLD], None))
    for _ in range(5):
        desk.at(lambda at: failed(at, 11, OLD))
        desk.settle()
    assert desk.asked.count((LISTS[OLD], None)) == before
    desk.step.now += 61_000
    for _ in range(5):
        desk.at(lambda at: failed(at, 11, OLD))
        desk.settle()
    assert desk.asked.count((LISTS[OLD], None)) == before + 1


def test_no_session_is_made_with_who_is_not_believed() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    send(desk)
    verify(desk, PHONE, "distrust")
    before = desk.asked.count((BUNDLES[OLD], 11))
    desk.at(lambda at: failed(at, 11, OLD))
    desk.settle()
    assert desk.asked.count((BUNDLES[OLD], 11)) == before


def test_one_contact_that_wants_verified_devices_is_not_explained_again_whenever_another_one_writes() -> None:
    desk = Desk(ON, bob={**ON, "omemo-trust": "verified-only"}).begin()
    desk.nodes.announce(PHONE)
    desk.message("hello", "$1")
    desk.settle()
    for number in range(5):
        desk.message("hello", f"$2{number}", desk.eve)
        desk.settle()
        desk.later(120)
    assert len(desk.sent("omemo")) == 5
    assert desk.told == ["omemo-device-new", "omemo-not-verified"]


def test_it_is_explained_again_when_it_was_better_meanwhile_and_forgotten_with_the_contact() -> None:
    desk = Desk(ON, bob={**ON, "omemo-trust": "verified-only"}).begin()
    desk.nodes.announce(PHONE)
    for number, decision in enumerate(("verify", "distrust", "verify")):
        desk.message("hello", f"$a{number}")
        desk.settle()
        verify(desk, PHONE, decision)
        desk.later(300)
    assert desk.told.count("omemo-not-verified") == 2
    verify(desk, PHONE, "distrust")
    desk.message("hello", "$b")
    desk.later(10)
    desk.step.account = replace(desk.step.account, contacts=())
    desk.begin()
    told = desk.records.held["omemo-told"]
    assert isinstance(told, Told)
    assert told.codes == ()
