"""Automatic trust (XEP-0450): the user's devices, which are python-omemo, vouch for each other and take it back.

python-omemo knows nothing of it: the messages are written here as XEP-0434 prints them.
"""

from collections.abc import Iterator

import pytest

from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_binding import heard, heed, trust_key
from adapters.xmpp.inside_omemo_own import store_in
from adapters.xmpp.inside_omemo_trust import keys_in, standing_of
from adapters.xmpp.inside_omemo_vouching import AHEAD_MS, MAX_CLAIMS, MAX_OF_ONE, Claims, automatic, told_of_keys
from adapters.xmpp.names import RESOURCE, address_of
from adapters.xmpp.pep.names import PEP_EVENT, Items
from crypto.esession.offline_time import write_time
from crypto.omemo.device import created, own
from crypto.omemo.elements import device_list_element, message_element
from crypto.omemo.envelope import Envelope, opened_envelope
from crypto.omemo.fingerprints import fingerprint
from crypto.omemo.model import DeviceList, ListedDevice
from crypto.omemo.names import Namespace
from crypto.omemo.reading import b64
from crypto.xml import serialize
from tests.unit.omemo_desk import ON, Desk
from tests.unit.omemo_site import AXOLOTL, BOTH, OMEMO_2, Device, OmemoSite
from tests.unit.omemo_world import Dice, End
from tests.unit.xmpp_site import ALICE, BOB

STRICT = {"omemo-trust": "verified-only"}
SECOND, HOUR = 1000, 3600_000
START = 1_800_000_000_000
NEW = Namespace.OMEMO_2


@pytest.fixture
def site() -> Iterator[OmemoSite]:
    """Three devices, of which none counts before it is verified."""
    made = OmemoSite(OMEMO_2, OMEMO_2, OMEMO_2, options=STRICT)
    greet(made)
    yield made
    made.close()


def greet(site: OmemoSite) -> None:
    """Bob has something to say: the devices' keys are looked up."""
    site.message("hello", "$1")
    site.run()


def published(site: OmemoSite, device: Device) -> str:
    """The device's key as it stands in its bundle."""
    (key,) = (e.text for e in site.nodes.bundles[NEW, ALICE, device.peer.device_id].elements if e.name == "ik")
    return key


def announce(site: OmemoSite, *devices: Device) -> None:
    """Alice's server tells Bob which devices she has."""
    listed = DeviceList(NEW, tuple(ListedDevice(device.peer.device_id) for device in devices))
    found = serialize(device_list_element(listed)).decode()
    site.arrive(Items(f"{BOB}/lockgate", "omemo-devices", True, (found,), None).encode(), PEP_EVENT)
    site.run()


def identity(device: Device) -> bytes:
    """The same, as people compare it."""
    return device.peer.bundle(device.forms[0]).identity_key


def trust(*keys: str) -> str:
    """Keys that are trusted."""
    return "".join(f"<trust>{key}</trust>" for key in keys)


def distrust(*keys: str) -> str:
    """Keys that are not."""
    return "".join(f"<distrust>{key}</distrust>" for key in keys)


def envelope(statements: str, at_ms: int, *, owner: str = ALICE, beside: str = "", to: str = BOB) -> str:
    """As XEP-0434 prints it."""
    return f"""<envelope xmlns='urn:xmpp:sce:1'>
      <rpad>Wvj25aDkNbAnSxMIDQo1pjIKRowIMGrF72hSJeXS</rpad><time stamp='{write_time(at_ms)}'/>
      <from jid='{ALICE}/A1'/><to jid='{to}'/>
      <content>
        <trust-message xmlns='urn:xmpp:tm:1' usage='urn:xmpp:atm:1' encryption='urn:xmpp:omemo:2'>
          <key-owner jid='{owner}'>{statements}</key-owner>
        </trust-message>{beside}
      </content></envelope>"""


def vouching(*ends: End) -> Envelope:
    """The same, opened."""
    text = envelope(trust(*(b64(end.identity) for end in ends)), START)
    return opened_envelope(text.encode(), sender=ALICE, recipient=BOB)


def sealed(site: OmemoSite, device: Device, text: str, id_: str = "t") -> bytes:
    """A stanza of a device to Bob with that envelope, not yet sent."""
    if not device.ready:
        site.await_(device.peer.manager.refresh_device_list(NEW, BOB))
        device.ready = True
    made = site.await_(device.peer.encrypt(BOB, {NEW: text.encode()}))
    head = f"<message xmlns='jabber:client' from='{device.jid}' to='{BOB}' type='chat' id='{id_}'>"
    parts = b"".join(serialize(message_element(each)) for each in made.values())
    return head.encode() + parts + b"<store xmlns='urn:xmpp:hints'/></message>"


def tells(site: OmemoSite, device: Device, statements: str, at_ms: int = START, *, owner: str = ALICE) -> None:
    """A device says that of the user's keys."""
    site.arrive(sealed(site, device, envelope(statements, at_ms, owner=owner)))
    site.run()


def decides(site: OmemoSite, device: Device, decision: str = "verify", by: str = "operator") -> None:
    """A person does."""
    key = identity(device).hex()
    codes: list[str] = []
    site.do(lambda: codes.append(site.half.trust_key(site.step, site.bob, decision, key, by)))
    assert codes == ["ok"]
    site.run()


def state(site: OmemoSite, device: Device) -> tuple[str, str, int]:
    """How its key stands with Bob, who decided, and on whose word."""
    known = keys_in(site.records).find(identity(device))
    assert known is not None
    return standing_of(LegStep(site.step, site.bob), known.identity), known.by, known.voucher


def states(site: OmemoSite) -> list[str]:
    """How all of them stand."""
    return [state(site, device)[0] for device in site.devices]


def told(site: OmemoSite) -> list[str]:
    """What the user was told."""
    return [str(carried.values["code"].v) for carried in site.sent("notice")]


def waiting(site: OmemoSite) -> int:
    """How much was said that could not be heeded."""
    return len((site.records.get("omemo-claims", Claims) or Claims()).waiting)


def by(device: Device) -> tuple[str, int]:
    """Automatically, on this one's word."""
    return "device", device.peer.device_id


# ---------------------------------------------------------------- vouching
def test_a_verified_device_vouches_for_another_which_is_then_written_to(site: OmemoSite) -> None:
    first, second, third = site.devices
    decides(site, first)
    assert [device.shown for device in site.devices] == [["hello"], [], []]
    tells(site, first, trust(published(site, second)))
    assert state(site, second) == ("verified", *by(first))
    assert state(site, third) == ("undecided", "nobody", 0)
    assert told(site)[-1] == "omemo-device-vouched"
    site.message("to both", "$2")
    site.run()
    assert [device.shown for device in site.devices] == [["hello", "to both"], ["to both"], []]
    second.say("from the second", "b1")
    site.run()
    assert site.bodies() == ["from the second"]


def test_nobody_is_told_that_such_a_message_cannot_be_read(site: OmemoSite) -> None:
    first, second, third = site.devices
    decides(site, first)
    tells(site, first, trust(published(site, second)))
    tells(site, third, trust(published(site, second)))
    assert [device.errors for device in site.devices] == [[], [], []]
    assert site.bodies() == []


def test_what_waited_because_no_device_was_verified_goes_out_at_once(site: OmemoSite) -> None:
    first, second, _ = site.devices
    decides(site, first)
    announce(site, second)
    site.message("who can read this?", "$2")
    site.run()
    assert told(site)[-1] == "omemo-not-verified"
    tells(site, first, trust(published(site, second)))
    site.wait(1)
    assert second.shown == ["who can read this?"]
    assert first.shown == ["hello"]


def test_what_waited_with_another_contact_goes_out_too() -> None:
    desk = Desk({**ON, **STRICT}).begin()
    phone, desktop = End.make(ALICE, 11), End.make(ALICE, 22)
    desk.nodes.announce(phone, desktop)
    desk.reach()
    desk.at(lambda at: trust_key(at, "verify", phone.identity.hex(), "operator"))
    desk.nodes.announce(desktop)
    desk.event(Namespace.AXOLOTL)
    desk.message("hello", "$1", desk.eve)
    desk.settle()
    assert desk.sent("omemo") == []
    desk.at(lambda at: told_of_keys(at, vouching(desktop), phone.identity, 11))
    desk.at(heed)
    desk.later(1)
    desk.settle()
    (sent,) = desk.sent("omemo")
    assert sent.values["from"] == address_of(f"{desk.eve.alias}/{RESOURCE}")


@pytest.mark.parametrize("form", ["ed25519", "curve25519"])
def test_a_key_may_be_named_in_either_form(site: OmemoSite, form: str) -> None:
    first, second, _ = site.devices
    decides(site, first)
    tells(site, first, trust(published(site, second) if form == "ed25519" else b64(identity(second))))
    assert states(site) == ["verified", "verified", "undecided"]


def test_vouching_goes_on_from_device_to_device(site: OmemoSite) -> None:
    first, second, third = site.devices
    tells(site, second, trust(published(site, third)))
    tells(site, first, trust(published(site, second)))
    assert states(site) == ["undecided"] * 3
    decides(site, first)
    assert states(site) == ["verified"] * 3
    assert state(site, second)[1:] == by(first)
    assert state(site, third)[1:] == by(second)
    assert told(site).count("omemo-device-vouched") == 1
    assert waiting(site) == 0


def test_a_device_that_is_only_trusted_blindly_vouches_for_nobody() -> None:
    site = OmemoSite(OMEMO_2, OMEMO_2, OMEMO_2)
    greet(site)
    first, second, third = site.devices
    tells(site, second, trust(published(site, third)) + distrust(published(site, first)))
    assert states(site) == ["blind"] * 3
    assert waiting(site) == 2
    decides(site, second)
    assert states(site) == ["distrusted", "verified", "verified"]
    site.close()


def test_what_a_distrusted_device_says_or_said_is_dropped(site: OmemoSite) -> None:
    first, second, third = site.devices
    tells(site, second, trust(published(site, third)))
    assert waiting(site) == 1
    decides(site, second, "distrust")
    assert waiting(site) == 0
    tells(site, second, trust(published(site, third)), START + SECOND)
    assert waiting(site) == 0
    decides(site, second)
    assert state(site, third)[0] == "undecided"
    assert first.errors == second.errors == []


def test_a_key_that_no_device_has_shown_yet_is_verified_when_one_shows_it(site: OmemoSite) -> None:
    first = site.devices[0]
    decides(site, first)
    fourth = site.add(OMEMO_2)
    tells(site, first, trust(published(site, fourth)))
    assert keys_in(site.records).find(identity(fourth)) is None
    announce(site, *site.devices)
    site.message("to four", "$2")
    site.run()
    assert fourth.shown == ["to four"]
    assert state(site, fourth) == ("verified", *by(first))
    assert told(site)[-1] == "omemo-device-vouched"
    assert waiting(site) == 0


def test_a_key_that_was_distrusted_before_anybody_showed_it_is_so_from_the_first() -> None:
    site = OmemoSite(OMEMO_2)
    greet(site)
    first = site.devices[0]
    decides(site, first)
    second = site.add(OMEMO_2)
    tells(site, first, distrust(published(site, second)))
    second.say("let me in", "b1")
    site.run()
    assert state(site, second) == ("distrusted", *by(first))
    assert site.bodies() == []
    site.close()


def test_a_device_that_shows_another_key_gets_it_when_a_verified_one_vouches_for_it() -> None:
    desk = Desk().begin()
    phone, desktop, other = End.make(ALICE, 11), End.make(ALICE, 22), End(ALICE, 22, dice=Dice("reinstalled"))
    created(other.shelf, other.dice, device_id=22, now_ms=START)
    desk.nodes.announce(phone, desktop)
    desk.reach()
    desk.at(lambda at: [trust_key(at, "verify", end.identity.hex(), "operator") for end in (phone, desktop)])
    desk.at(lambda at: heard(at, 22, other.identity, Namespace.AXOLOTL))
    desk.nodes.announce(phone, other)
    assert {each.known for each in desk.reach().ready} == {phone.identity}
    assert desk.at(lambda at: told_of_keys(at, vouching(other), phone.identity, 11))
    desk.at(heed)
    assert {each.known for each in desk.reach().ready} == {phone.identity, other.identity}


# ---------------------------------------------------------------- taking trust back
def test_a_verified_device_takes_back_what_another_one_said_and_what_people_said(site: OmemoSite) -> None:
    first, second, third = site.devices
    decides(site, first)
    decides(site, second)
    tells(site, first, trust(published(site, third)), START + SECOND)
    tells(site, second, distrust(published(site, third)), START + 2 * SECOND)
    assert state(site, third) == ("distrusted", *by(second))
    assert told(site)[-1] == "omemo-device-disowned"
    tells(site, first, distrust(published(site, second)), START + 3 * SECOND)
    assert state(site, second) == ("distrusted", *by(first))
    site.message("to one", "$2")
    site.run()
    assert [device.shown[-1:] for device in site.devices] == [["to one"], [], []]
    third.say("still here?", "c1")
    site.run()
    assert site.bodies() == []


@pytest.mark.parametrize("person", ["operator", "user"])
def test_what_a_person_denied_no_device_grants_but_the_user_is_told(site: OmemoSite, person: str) -> None:
    first, second, _ = site.devices
    decides(site, first)
    decides(site, second, "distrust", person)
    tells(site, first, trust(published(site, second)), START + SECOND)
    assert state(site, second) == ("distrusted", person, 0)
    assert told(site)[-1] == "omemo-device-contested"
    decides(site, second, "verify", person)
    assert state(site, second) == ("verified", person, 0)


def test_what_a_person_granted_stays_the_persons_when_a_device_says_the_same(site: OmemoSite) -> None:
    first, second, _ = site.devices
    decides(site, first)
    decides(site, second)
    before = len(told(site))
    tells(site, first, trust(published(site, second)), START + SECOND)
    assert state(site, second) == ("verified", "operator", 0)
    assert len(told(site)) == before


# ---------------------------------------------------------------- order
def test_the_later_word_counts_in_whatever_order_they_come(site: OmemoSite) -> None:
    first, second, _ = site.devices
    decides(site, first)
    earlier = sealed(site, first, envelope(trust(published(site, second)), START + SECOND), "t1")
    later = sealed(site, first, envelope(distrust(published(site, second)), START + 2 * SECOND), "t2")
    for stanza in (later, earlier, earlier, later):
        site.arrive(stanza)
        site.run()
        assert states(site) == ["verified", "distrusted", "undecided"]


def test_of_two_words_at_one_time_the_one_that_takes_back_counts(site: OmemoSite) -> None:
    first, second, third = site.devices
    decides(site, first)
    tells(site, first, trust(published(site, second)) + distrust(b64(identity(second))))
    tells(site, first, distrust(published(site, third)))
    tells(site, first, trust(published(site, third)))
    assert states(site) == ["verified", "distrusted", "distrusted"]


def test_a_word_that_was_held_back_does_not_undo_what_a_person_decided_later(site: OmemoSite) -> None:
    first, second, third = site.devices
    decides(site, first)
    held = sealed(site, first, envelope(distrust(published(site, second)), START - SECOND))
    decides(site, second)
    site.arrive(held)
    site.run()
    assert states(site) == ["verified", "verified", "undecided"]
    assert third.shown == []


def test_who_vouches_from_the_future_is_not_heeded_and_who_takes_back_is(site: OmemoSite) -> None:
    first, second, third = site.devices
    decides(site, first)
    tells(site, first, trust(published(site, second)), START + AHEAD_MS + HOUR)
    tells(site, first, distrust(published(site, third)), START + AHEAD_MS + HOUR)
    assert states(site) == ["verified", "undecided", "distrusted"]
    tells(site, first, trust(published(site, second)), START + AHEAD_MS - HOUR)
    assert states(site) == ["verified", "verified", "distrusted"]


# ---------------------------------------------------------------- what is not heeded
@pytest.mark.parametrize("owner", [BOB, f"{ALICE}/A1", "mallory@example.org", "example.org"])
def test_only_what_is_said_of_the_users_own_keys_counts(site: OmemoSite, owner: str) -> None:
    first, second, _ = site.devices
    decides(site, first)
    tells(site, first, trust(published(site, second)), owner=owner)
    assert states(site) == ["verified", "undecided", "undecided"]
    assert waiting(site) == 0


def test_beside_the_encryption_nothing_of_this_is_believed(site: OmemoSite) -> None:
    first, second, third = site.devices
    decides(site, first)
    (plain,) = envelope(trust(published(site, second)), START).split("<content>")[1].split("</content>")[:1]
    first.say("hi", "a1", beside=plain.encode())
    site.run()
    head = f"<message xmlns='jabber:client' from='{first.jid}' to='{BOB}' type='chat' id='p'>"
    site.arrive(head.encode() + plain.encode() + b"</message>")
    site.run()
    assert states(site) == ["verified", "undecided", "undecided"]
    assert third.errors == []


def test_in_the_older_form_there_is_no_place_for_it() -> None:
    site = OmemoSite(AXOLOTL, BOTH, options=STRICT)
    greet(site)
    first, second = site.devices
    decides(site, first)
    first.say(envelope(trust(published(site, second)), START), "a1")
    site.run()
    assert states(site) == ["verified", "undecided"]
    assert len(site.bodies()) == 1
    site.close()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<time ", "<time2 "),
        ("urn:xmpp:atm:1", "urn:xmpp:atm:0"),
        ("urn:xmpp:omemo:2", "eu.siacs.conversations.axolotl"),
        (f"<to jid='{BOB}'", "<to jid='carol@matrix.example.org'"),
        (f"<from jid='{ALICE}/A1'", "<from jid='mallory@example.org'"),
        ("</trust>", "=</trust>"),
    ],
)
def test_what_is_not_as_it_should_be_changes_nothing(site: OmemoSite, old: str, new: str) -> None:
    first, second, _ = site.devices
    decides(site, first)
    text = envelope(trust(published(site, second)), START)
    assert old in text
    site.arrive(sealed(site, first, text.replace(old, new)))
    site.run()
    assert states(site) == ["verified", "undecided", "undecided"]
    assert waiting(site) == 0


def test_a_text_beside_it_is_handed_on_from_who_is_believed_and_sent_back_to_others(site: OmemoSite) -> None:
    first, second, third = site.devices
    decides(site, first)
    body = "<body xmlns='jabber:client'>verified it</body>"
    site.arrive(sealed(site, first, envelope(trust(published(site, second)), START, beside=body)))
    site.arrive(sealed(site, third, envelope(trust(published(site, second)), START, beside=body)))
    site.run()
    assert site.bodies() == ["verified it"]
    assert states(site) == ["verified", "verified", "undecided"]
    assert len(third.errors) == 1


def test_it_can_be_turned_off() -> None:
    site = OmemoSite(OMEMO_2, OMEMO_2, options={**STRICT, "omemo-automatic": "off"})
    greet(site)
    first, second = site.devices
    decides(site, first)
    tells(site, first, trust(published(site, second)))
    assert states(site) == ["verified", "undecided"]
    assert waiting(site) == 0
    assert first.errors == []
    site.close()


@pytest.mark.parametrize(("word", "on"), [("on", True), ("off", False), ("", False), ("yes", False)])
def test_a_word_that_is_not_understood_turns_it_off(word: str, on: bool) -> None:
    site = OmemoSite(options={"omemo-automatic": word})
    assert automatic(site.bob) is on
    site.close()


# ---------------------------------------------------------------- bounds
def test_what_is_kept_is_bounded_and_strangers_push_out_strangers_only(site: OmemoSite) -> None:
    first, second, third = site.devices
    decides(site, first)
    unknown = [b64(bytes([number]) * 32) for number in range(200)]
    tells(site, first, trust(*unknown[:10]))
    for at in range(0, 200, 50):
        tells(site, second, trust(*unknown[at : at + 50]), START + at)
        tells(site, third, trust(*unknown[at : at + 50]), START + at)
    held = (site.records.get("omemo-claims", Claims) or Claims()).waiting
    of = {
        device.peer.device_id: [c.about for c in held if c.device == device.peer.device_id] for device in site.devices
    }
    assert len(of[first.peer.device_id]) == 10
    assert len(of[second.peer.device_id]) == len(of[third.peer.device_id]) == MAX_OF_ONE
    assert len(held) <= MAX_CLAIMS


def test_however_many_devices_a_server_adds_what_verified_ones_said_stays() -> None:
    desk = Desk().begin()
    phone, *strangers = (End.make(ALICE, 11 + number) for number in range(7))
    for end in (phone, *strangers):
        desk.at(lambda at, end=end: heard(at, end.device_id, end.identity, Namespace.AXOLOTL))  # type: ignore[misc]
        if end is phone:
            desk.at(lambda at: trust_key(at, "verify", phone.identity.hex(), "operator"))
    desk.at(lambda at: told_of_keys(at, vouching(End.make(ALICE, 99)), phone.identity, 11))
    unknown = envelope(trust(*(b64(bytes([number]) * 32) for number in range(MAX_OF_ONE))), START)
    opened = opened_envelope(unknown.encode(), sender=ALICE, recipient=BOB)
    for end in strangers:
        desk.at(lambda at, end=end: told_of_keys(at, opened, end.identity, end.device_id))  # type: ignore[misc]
    held = (desk.records.get("omemo-claims", Claims) or Claims()).waiting
    assert len(held) == MAX_CLAIMS
    assert [claim.about for claim in held if claim.device == 11] == [End.make(ALICE, 99).identity]


def test_no_device_vouches_for_a_contacts_key_that_a_server_lists_as_the_users() -> None:
    desk = Desk(ON).begin()
    phone = End.make(ALICE, 11)
    eves = own(store_in(desk.records, desk.eve.id))
    assert eves is not None
    desk.at(lambda at: heard(at, phone.device_id, phone.identity, NEW))
    desk.at(lambda at: trust_key(at, "verify", fingerprint(phone.identity), "operator"))
    desk.at(lambda at: heard(at, eves.device_id, eves.identity_key, NEW))
    text = envelope(trust(b64(eves.identity_key)), START)
    said = opened_envelope(text.encode(), sender=ALICE, recipient=BOB)
    desk.at(lambda at: told_of_keys(at, said, phone.identity, phone.device_id))
    desk.at(heed)
    assert desk.at(lambda at: standing_of(at, eves.identity_key)) == "distrusted"
    desk.settle()
    assert desk.told[-1] == "omemo-device-contested"
