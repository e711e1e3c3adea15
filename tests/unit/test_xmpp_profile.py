"""Names and pictures of contacts: published inside, served outside as PEP, vCards and presence, told to who asks."""

import asyncio
import base64
import hashlib
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from adapters.xmpp.inside_profile import MAX_NAME, MAX_PICTURE
from adapters.xmpp.outside_disco import PERSON, interests_of
from adapters.xmpp.outside_iq import answer
from adapters.xmpp.outside_pep import Pep
from adapters.xmpp.outside_profile import TOLD, Card, Notifier, card_of, update
from adapters.xmpp.outside_roster import Roster
from adapters.xmpp.pep.names import NS_AVATAR_DATA, NS_AVATAR_METADATA, NS_NICK, PUBLISH, RETRACT
from bridge.wire.values import Public
from crypto.message import Profile
from crypto.xml import parse
from tests.unit.fake_step import Carried
from tests.unit.test_xmpp_pep import BOB, ROUTES, Marks
from tests.unit.xmpp_site import Site

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
DIGEST = hashlib.sha1(PNG).hexdigest()
DESK = "alice@x/desk"


def shown(profile: Profile, site: Site | None = None, /, **options: str) -> list[Carried]:
    """What the inside half publishes for a profile."""
    site = site or Site()
    contact = replace(site.bob, options={f"content-{name}": value for name, value in options.items()})
    site.do(lambda: site.half.signalled(site.step, contact, profile))
    return site.step.take()


def said(carried: Carried) -> tuple[str, str, str]:
    """Request, node and content."""
    content = carried.values.get("content")
    assert content is None or isinstance(content, Public)
    return carried.request, str(carried.values["node"].v), "" if content is None else content.v.decode()


# ---------------------------------------------------------------- inside
def test_a_name_and_a_picture_are_published_once_and_again_when_they_change() -> None:
    site = Site()
    profile = Profile("Bob <B>\n& Co", PNG, "text/html")
    nick, data, metadata = shown(profile, site)
    assert said(nick) == (PUBLISH, "nick", f'<nick xmlns="{NS_NICK}">Bob &lt;B&gt; &amp; Co</nick>')
    assert base64.b64decode(parse(said(data)[2].encode()).text) == PNG
    info = parse(said(metadata)[2].encode()).elements[0]
    assert [info.attribute(n) for n in ("bytes", "id", "type")] == [str(len(PNG)), DIGEST, "image/png"]
    assert shown(profile, site) == []
    assert [said(c)[:2] for c in shown(replace(profile, name="Robert"), site)] == [(PUBLISH, "nick")]
    gone = [said(c) for c in shown(Profile("Robert"), site)]
    assert gone[0] == (PUBLISH, "avatar-metadata", f'<metadata xmlns="{NS_AVATAR_METADATA}"/>')
    assert gone[1][:2] == (RETRACT, "avatar-data")


@pytest.mark.parametrize(
    "picture", [b"<svg onload='x'/>", b"", b"\x89PNG\r\n\x1a\n" + bytes(MAX_PICTURE), b"RIFF1234WEBX"]
)
def test_what_is_no_small_picture_is_not_published(picture: bytes) -> None:
    assert [said(c)[1] for c in shown(Profile("Bob", picture, "image/png"))] == ["nick"]


def test_a_long_name_is_cut_and_an_empty_one_is_taken_back() -> None:
    site = Site()
    (nick,) = shown(Profile("x" * 500), site)
    assert parse(said(nick)[2].encode()).text == "x" * MAX_NAME
    assert [said(c)[:2] for c in shown(Profile("\x00\n"), site)] == [(PUBLISH, "nick")]
    assert [said(c)[:2] for c in shown(Profile(""), site)] == [(RETRACT, "nick")]


def test_where_the_operator_says_so_nothing_is_published_and_what_was_is_taken_back() -> None:
    assert shown(Profile("Bob", PNG), profile="no") == []
    site = Site()
    shown(Profile("Bob", PNG), site)
    site.message("so that the leg has something in it", "$1")
    site.step.take()
    bob = replace(site.bob, options={"content-profile": "no"})
    site.step.account = replace(site.step.account, contacts=(bob,))
    site.start(resumed=True)
    taken_back = [said(c)[:2] for c in site.step.take() if c.request in (PUBLISH, RETRACT)]
    assert taken_back == [(RETRACT, "nick"), (PUBLISH, "avatar-metadata"), (RETRACT, "avatar-data")]
    assert "profile/bob" not in site.records.held


# ---------------------------------------------------------------- outside
def served(profile: Profile) -> tuple[Pep, list[bytes]]:
    """The component after the contact published a profile."""
    written: list[bytes] = []
    pep = Pep(written.append)
    for carried in shown(profile):
        values = {**carried.values, "from": type(carried.values["from"])(v=BOB)}  # type: ignore[arg-type]
        assert asyncio.run(pep.carry(Marks(), "alice", carried.request, values)).code == "ok"
    return pep, written


def asked(inner: str, pep: Pep, sender: str = DESK, to: str = BOB) -> ET.Element:
    """The answer to a question of a client's."""
    iq = f"<iq type='get' from='{sender}' to='{to}' id='i'>{inner}</iq>"
    reply = answer(ET.fromstring(iq), "m.x", Roster(ROUTES), pep)
    assert reply is not None
    return ET.fromstring(reply)


def test_cards_of_both_kinds_are_made_of_what_is_published() -> None:
    pep, _ = served(Profile("Bob <B>", PNG))
    card = asked("<vCard xmlns='vcard-temp'/>", pep)[0]
    assert card.findtext("{vcard-temp}FN") == card.findtext("{vcard-temp}NICKNAME") == "Bob <B>"
    assert card.findtext("{vcard-temp}PHOTO/{vcard-temp}TYPE") == "image/png"
    assert base64.b64decode(card.findtext("{vcard-temp}PHOTO/{vcard-temp}BINVAL") or "") == PNG
    ns = "{urn:ietf:params:xml:ns:vcard-4.0}"
    newer = asked("<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'/>", pep)[0]
    assert newer.findtext(f"{ns}fn/{ns}text") == "Bob <B>"
    assert (newer.findtext(f"{ns}photo/{ns}uri") or "").startswith("data:image/png;base64,iVBOR")
    node = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:vcard4'/></pubsub>"
    assert asked(node, pep).findtext(f".//{ns}fn/{ns}text") == "Bob <B>"
    assert {"vcard-temp", "urn:ietf:params:xml:ns:vcard-4.0"} <= set(PERSON.features)


def test_a_contact_without_a_profile_has_a_card_with_the_name_of_the_map() -> None:
    pep = Pep(lambda _: None)
    card = asked("<vCard xmlns='vcard-temp'/>", pep)[0]
    assert card.findtext("{vcard-temp}FN") == "bob"
    assert card.find("{vcard-temp}PHOTO") is None


def test_nobody_but_the_contacts_user_is_told_anything() -> None:
    pep, _ = served(Profile("Bob", PNG))
    for sender, to in (("dave@x/desk", BOB), ("mallory@x/y", BOB), (DESK, "carol@m.x")):
        reply = asked("<vCard xmlns='vcard-temp'/>", pep, sender, to)
        assert b"iVBOR" not in ET.tostring(reply)
        assert b"Bob" not in ET.tostring(reply)


def test_presence_names_the_picture_by_its_hash() -> None:
    pep, _ = served(Profile("Bob", PNG))
    card = card_of(pep, "alice", BOB)
    assert (card.name, card.digest, card.kind) == ("Bob", DIGEST, "image/png")
    assert f"<photo>{DIGEST}</photo>" in update(card)
    assert card_of(Pep(lambda _: None), "alice", BOB) == Card()


def test_who_announces_an_interest_is_told_at_once_and_when_it_changes() -> None:
    pep, _ = served(Profile("Bob", PNG))
    written: list[bytes] = []
    notifier, roster = Notifier(written.append, pep), Roster(ROUTES)
    features = "".join(f"<feature var='{node}+notify'/>" for node in (NS_NICK, NS_AVATAR_METADATA, "urn:other"))
    info = f"<iq><query xmlns='http://jabber.org/protocol/disco#info'>{features}<feature var='x'/></query></iq>"
    resource = roster.available("alice", DESK, BOB, 0, "caps#1")
    assert resource is not None
    notifier.came("alice", resource, resource.seen_by)
    assert written == []
    resource.interests = interests_of(ET.fromstring(info))
    notifier.came("alice", resource, resource.seen_by)
    notifier.came("alice", resource, resource.seen_by)
    events = [ET.fromstring(octets) for octets in written]
    assert [(e.get("from"), e.get("to"), e.get("type")) for e in events] == [(BOB, DESK, "headline")] * 2
    assert [e[0][0].get("node") for e in events] == [NS_NICK, NS_AVATAR_METADATA]
    assert NS_AVATAR_DATA not in TOLD
    notifier.changed("alice", BOB, NS_NICK, roster.resources("alice"))
    notifier.changed("alice", "carol@m.x", NS_NICK, roster.resources("alice"))
    assert len(written) == 3
    notifier.gone("alice", DESK)
    notifier.came("alice", resource, resource.seen_by)
    assert len(written) == 5
