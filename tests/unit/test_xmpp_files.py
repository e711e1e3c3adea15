"""Files between the user's client and the inside half: read from every form, written in all that clients know."""

import json
from typing import Any

import pytest

from adapters.inside_api import Filing
from adapters.xmpp.inside_attachments import attachment_of
from bridge.wire.files import FILE_FETCH, FILE_PART, FILE_REQUESTS, FILE_UPLOAD
from bridge.wire.values import Number, Opaque, Sealed
from crypto.content import PART_OCTETS, Attachment, FileKind, Part
from crypto.esession.profiles import Profile
from crypto.files.addresses import address_of, sole_address
from crypto.files.sharing import Metadata, sharing_content
from crypto.files.streams import Made, Method, Sealer, opener
from crypto.message import Message
from crypto.xml import Element, escape_text, parse
from tests.unit.fake_step import Carried
from tests.unit.file_relay import content_of
from tests.unit.xmpp_site import Site

URL = "https://files.example.org/u/cat.png"


def _made(octets: bytes) -> tuple[bytes, Made]:
    sealer = Sealer(Method.GCM, bytes(range(32)), bytes(12))
    sealed = sealer.sealed(octets)
    tail, made = sealer.finished()
    return sealed + tail, made


SEALED, MADE = _made(b"meow")


def _site(profile: Profile = Profile.LETTER) -> Site:
    site = Site()
    site.lost = lambda carried: carried.request in FILE_REQUESTS
    return site.established(profile)


def _answer(site: Site, carried: Carried, body: bytes = b"", code: str = "ok") -> None:
    site.do(
        lambda: site.half.answered(
            site.step, site.step.input("answer", carried.request, body, network="xmpp", key=carried.key, code=code)
        )
    )


def _wanted(site: Site, message: Message, offset: int = 0) -> Carried:
    site.do(lambda: site.half.file_wanted(site.step, site.bob, message.id, offset))
    site.run()
    return site.sent(FILE_FETCH)[-1]


# ---------------------------------------------------------------- from the user
def test_an_address_alone_is_a_file_that_can_be_had() -> None:
    site = _site()
    site.acknowledging = False
    site.alice.say(address_of(URL, MADE), "a1")
    site.run()
    ((_, message),) = site.step.deliveries
    assert message.body == ""
    assert message.attachment == Attachment("cat.png", "image/png", kind=FileKind.IMAGE)
    fetch = _wanted(site, message)
    assert (fetch.values["url"].v, fetch.values["offset"].v) == (URL, 0)
    _answer(site, fetch, SEALED)
    assert [part for _, _, part in site.step.parts] == [Part(0, b"meow", last=True)]
    assert isinstance(site.half, Filing)
    assert MADE.key.hex() not in repr([(c.request, dict(c.values)) for c in site.carried])


def test_what_was_damaged_is_told_and_the_user_gets_the_refusal() -> None:
    site = _site()
    site.acknowledging = False
    site.alice.say(address_of(URL, MADE), "a1")
    site.run()
    ((_, message),) = site.step.deliveries
    _answer(site, _wanted(site, message), SEALED[:-1] + b"\0")
    assert [part.code for _, _, part in site.step.parts] == ["file-not-authentic"]
    site.refuse(message.id, "file-not-authentic")
    site.run()
    assert site.alice.errors == [("a1", "bad-request")]
    assert not any(name.startswith("file/") for name in site.records.held)


def _extras(*texts: str) -> tuple[Element, ...]:
    return tuple(parse(text.encode()) for text in texts)


ABOUT = Metadata("très cool.png", "image/png", 4, "on the roof", 640, 480)
SHARING = sharing_content(ABOUT, URL, MADE)


def _oob(url: str) -> str:
    return f'<x xmlns="jabber:x:oob"><url>{escape_text(url)}</url></x>'


@pytest.mark.parametrize(
    ("body", "extras", "caption", "name"),
    [
        (address_of(URL, MADE), (), "", "cat.png"),
        (address_of(URL, MADE), (_oob(address_of(URL, MADE)),), "", "cat.png"),
        ("look at her", (_oob(address_of(URL, MADE)),), "look at her", "cat.png"),
        (address_of(URL, MADE), (SHARING,), "on the roof", "très cool.png"),
        (URL, (SHARING, _oob(URL)), "on the roof", "très cool.png"),
        ("", (SHARING,), "on the roof", "très cool.png"),
        ("look at her", (SHARING,), "look at her", "très cool.png"),
    ],
)
def test_a_file_is_read_from_every_form(body: str, extras: tuple[str, ...], caption: str, name: str) -> None:
    found = attachment_of(body, _extras(*extras))
    assert found is not None
    assert (found.body, found.attachment.name, found.url) == (caption, name, URL)
    running = opener(found.lock)
    assert running.opened(SEALED) + running.finished() == b"meow"


@pytest.mark.parametrize(
    ("body", "extras"),
    [
        ("hello", ()),
        (URL, ()),
        (URL, (_oob(URL),)),
        ("see " + address_of(URL, MADE), ()),
        ("hello", (SHARING.replace("urn:xmpp:esfs:0", "urn:xmpp:esfs:9"),)),
        ("hello", (SHARING.replace("https://files", "file://files"),)),
    ],
)
def test_texts_and_links_that_nothing_encrypts_are_texts(body: str, extras: tuple[str, ...]) -> None:
    assert attachment_of(body, _extras(*extras)) is None


def test_a_message_that_holds_nothing_but_a_shared_file_speaks() -> None:
    site = _site()
    site.alice.put(f'{SHARING}<origin-id xmlns="urn:xmpp:sid:0" id="a1"/>'.encode(), "a1")
    site.run()
    ((_, message),) = site.step.deliveries
    assert message.attachment == Attachment("très cool.png", "image/png", 4, FileKind.IMAGE, 640, 480)
    assert message.body == "on the roof"


# ---------------------------------------------------------------- to the user
def _send(site: Site, octets: bytes = b"meow", **more: Any) -> None:
    picture = Attachment("très <cool>.png", "image/png", len(octets), FileKind.IMAGE, 640, 480)
    message = Message("m1", attachment=picture, position=7, **{"body": "", **more})
    site.do(lambda: site.half.to_network(site.step, site.bob, message))
    while site.step.pulls:
        ((_, _, offset),) = site.step.pulls
        site.step.pulls = []
        piece = octets[offset : offset + PART_OCTETS]
        part = Part(offset, piece, last=offset + len(piece) == len(octets))
        site.do(lambda p=part: site.half.file_part(site.step, site.bob, "m1", p))  # type: ignore[misc]
    site.run()


def _stored(site: Site) -> bytes:
    found = bytearray()
    for carried in site.sent(FILE_PART):
        content, offset = carried.values["content"], carried.values["offset"]
        assert isinstance(content, Sealed)
        assert isinstance(offset, Number)
        assert offset.v == len(found)
        found += content.v
    return bytes(found)


def test_a_file_becomes_an_address_alone_that_opens_it() -> None:
    site, octets = _site(), content_of(2 * PART_OCTETS + 9)
    _send(site, octets)
    (upload,) = site.sent(FILE_UPLOAD)
    assert upload.values["ending"].v == "png"
    assert isinstance(upload.values["transfer"], Opaque)
    assert site.alice.shown == []
    _answer(site, upload, json.dumps({"url": URL}).encode())
    site.run()
    (body,) = site.alice.shown
    address = sole_address(body)
    assert address is not None
    running = opener(address.lock)
    assert running.opened(_stored(site)) + running.finished() == octets
    assert site.step.done == [("bob", "m1")]


def test_what_is_known_of_it_stands_beside_the_address() -> None:
    from adapters.xmpp.inside_files import shown

    picture = Attachment("très <cool>.png", "image/png", 4, FileKind.IMAGE, 640, 480, 12)
    attached = shown(picture, URL, MADE)
    assert attached is not None
    found = attachment_of(attached.body, parse(b"<a>" + attached.elements + b"</a>").elements)
    assert found is not None
    assert found.attachment == picture
    assert found.lock.key == MADE.key


def test_a_caption_comes_before_its_file() -> None:
    site = _site()
    _send(site, body="look at her")
    _answer(site, site.sent(FILE_UPLOAD)[0], json.dumps({"url": URL}).encode())
    site.run()
    assert site.alice.shown[0] == "look at her"
    assert site.alice.shown[1].startswith("aesgcm://")
    assert site.step.done == [("bob", "m1"), ("bob", "m1")]


def test_an_answer_to_the_caption_answers_the_message() -> None:
    site = _site()
    site.alice.receipts = False
    _send(site, body="look at her")
    _answer(site, site.sent(FILE_UPLOAD)[0], json.dumps({"url": URL}).encode())
    site.run()
    for number, stanza_id in enumerate(site.stanza_ids()[-2:]):
        reply = f'<reply xmlns="urn:xmpp:reply:0" id="{stanza_id}" to="x"/>'
        origin = f'<origin-id xmlns="urn:xmpp:sid:0" id="a{number}"/>'
        site.alice.put(f"<body>nice</body>{reply}{origin}".encode(), f"a{number}")
        site.run()
    replies = [message.reply.to for _, message in site.step.deliveries if message.reply is not None]
    assert replies == ["m1", "m1"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b'{"url": "http://files.example.org/x"}', "upload-insecure"),
        (b'{"url": "javascript:x"}', "upload-refused"),
        (b"{}", "upload-refused"),
        (b"nothing", "upload-refused"),
    ],
)
def test_a_place_that_is_none_is_refused(answer: bytes, code: str) -> None:
    site = _site()
    _send(site)
    _answer(site, site.sent(FILE_UPLOAD)[0], answer)
    site.run()
    assert site.alice.shown == []
    assert site.step.failures == [("bob", "m1", code)]


def test_a_server_that_takes_no_files_is_told_to_the_sender() -> None:
    site = _site()
    _send(site)
    _answer(site, site.sent(FILE_UPLOAD)[0], code="upload-no-service")
    assert site.step.failures == [("bob", "m1", "upload-no-service")]


def test_texts_do_not_wait_for_a_file() -> None:
    site = _site()
    _send(site)
    site.message("meanwhile", "m2")
    site.run()
    assert site.alice.shown == ["meanwhile"]
    _answer(site, site.sent(FILE_UPLOAD)[0], json.dumps({"url": URL}).encode())
    site.run()
    assert len(site.alice.shown) == 2


def test_after_a_restart_a_file_under_way_is_asked_for_again() -> None:
    site = _site()
    picture = Attachment("x.png", "image/png")
    site.do(lambda: site.half.to_network(site.step, site.bob, Message("m1", "", attachment=picture)))
    site.step.pulls = []
    site.half = type(site.half)()
    site.start(resumed=True)
    assert site.step.pulls == [("bob", "m1", 0)]


def test_a_file_that_waits_for_its_upload_survives_a_restart() -> None:
    site = _site()
    _send(site)
    site.half = type(site.half)()
    site.start(resumed=True)
    assert site.step.pulls == []
    _answer(site, site.sent(FILE_UPLOAD)[0], json.dumps({"url": URL}).encode())
    site.run()
    (body,) = site.alice.shown
    assert sole_address(body) is not None
