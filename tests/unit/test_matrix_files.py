"""Files in Matrix rooms: what events say of them is handed on, what is handed over becomes an event for clients."""

import json
from dataclasses import replace
from typing import Any

import pytest

from adapters.inside_api import Filing
from adapters.matrix import names
from bridge.wire.files import FILE_FETCH, FILE_UPLOAD
from crypto.content import PART_OCTETS, Attachment, FileKind, Mark, Part, Reply, Style
from crypto.message import Message
from crypto.olm.canonical import decoded
from tests.unit.file_relay import content_of
from tests.unit.matrix_world import BOB, Machine, World, pair

PICTURE = Attachment("cat.png", "image/png", 17, FileKind.IMAGE, 640, 480)


def _send(world: World, alice: Machine, attachment: Attachment = PICTURE, octets: bytes = b"", **more: Any) -> None:
    """Alice's half is given a message with a file, and the other half of hers gives the parts."""
    alice.hands_over(Message("m1", attachment=attachment, **{"body": "", **more}))
    contact = alice.step.account.contacts[0]
    while alice.step.pulls:
        ((_, _, offset),) = alice.step.pulls
        alice.step.pulls = []
        piece = octets[offset : offset + PART_OCTETS]
        part = Part(offset, piece, last=offset + len(piece) == len(octets))
        alice.step.commit(lambda p=part: alice.half.file_part(alice.step, contact, "m1", p))  # type: ignore[misc]
        world.settle()
    world.settle()


def _fetch(world: World, bob: Machine, message: Message) -> list[Part]:
    """The other half of Bob's asks for the file, part by part."""
    contact, offset = bob.step.account.contacts[0], 0
    while not bob.step.parts or not (bob.step.parts[-1][2].last or bob.step.parts[-1][2].code != "ok"):
        bob.step.commit(lambda o=offset: bob.half.file_wanted(bob.step, contact, message.id, o))  # type: ignore[misc]
        world.settle()
        offset += len(bob.step.parts[-1][2].octets)
    return [part for _, _, part in bob.step.parts]


@pytest.mark.parametrize("size", [0, 17, 2 * PART_OCTETS + 5])
def test_a_file_passes_from_half_to_half_and_says_what_it_is(size: int) -> None:
    world, alice, bob = pair()
    _send(world, alice, octets=content_of(size), body="look at her")
    (message,) = bob.delivered()
    assert message.body == "look at her"
    assert message.attachment == Attachment("cat.png", "image/png", size, FileKind.IMAGE, 640, 480)
    assert b"".join(part.octets for part in _fetch(world, bob, message)) == content_of(size)
    assert alice.step.done == [("bob", "m1")]
    assert isinstance(alice.half, Filing)


def test_nothing_but_the_ciphertext_is_in_clear() -> None:
    world, alice, _ = pair()
    _send(world, alice, octets=b"the plaintext of the file", body="caption")
    told = repr([(carried.request, dict(carried.values)) for _, carried in world.log]) + repr(world.media)
    for secret in ("plaintext of", "cat.png", "caption", "image/png"):
        assert secret not in told


def test_without_a_caption_the_body_is_the_name_and_no_caption_comes_of_it() -> None:
    world, alice, bob = pair()
    _send(world, alice, octets=b"x")
    (message,) = bob.delivered()
    assert (message.body, message.attachment.name if message.attachment else "") == ("", "cat.png")


def test_a_voice_message_stays_one() -> None:
    world, alice, bob = pair()
    voice = Attachment("voice.ogg", "audio/ogg", 5, FileKind.VOICE, duration_ms=1500)
    _send(world, alice, voice, b"voice")
    (message,) = bob.delivered()
    assert message.attachment == voice


def test_a_sticker_goes_as_a_picture() -> None:
    world, alice, bob = pair()
    _send(world, alice, Attachment("s.webp", "image/webp", 1, FileKind.STICKER), b"s")
    (message,) = bob.delivered()
    assert message.attachment is not None
    assert message.attachment.kind is FileKind.IMAGE


def test_a_formatted_caption_and_an_answer_keep_what_they_are() -> None:
    world, alice, bob = pair()
    marks = (Mark(3, 6, Style.STRONG),)
    _send(world, alice, octets=b"x", body="so big", marks=marks, reply=Reply("$first", "quoted"))
    (message,) = bob.delivered()
    assert (message.body, message.marks) == ("so big", marks)
    assert message.reply is not None


def test_no_event_names_a_file_that_the_homeserver_does_not_have() -> None:
    world, alice, bob = pair()
    world.failing[FILE_UPLOAD] = "upload-refused"
    _send(world, alice, octets=b"x")
    assert bob.delivered() == []
    assert alice.step.failures == [("bob", "m1", "upload-refused")]


@pytest.mark.parametrize(
    "answer", [{}, {"content_uri": 5}, {"content_uri": "https://x/y"}, {"content_uri": "mxc://a/../b"}]
)
def test_a_homeserver_that_does_not_say_where_the_file_is_has_refused_it(answer: dict[str, Any]) -> None:
    world, alice, bob = pair()
    world._file_upload = lambda machine, carried: answer  # type: ignore[method-assign]
    _send(world, alice, octets=b"x")
    assert bob.delivered() == []
    assert alice.step.failures == [("bob", "m1", "upload-refused")]


def test_a_file_that_was_changed_on_the_homeserver_is_told_to_whoever_asked() -> None:
    world, alice, bob = pair()
    _send(world, alice, octets=b"some octets")
    (message,) = bob.delivered()
    (url,) = world.media
    world.media[url] = b"x" + world.media[url][1:]
    assert _fetch(world, bob, message) == [Part(0, code="file-not-authentic")]


def test_a_file_that_is_not_there_is_told() -> None:
    world, alice, bob = pair()
    _send(world, alice, octets=b"some octets")
    (message,) = bob.delivered()
    world.failing[FILE_FETCH] = "file-gone"
    assert _fetch(world, bob, message) == [Part(0, code="file-gone")]


def test_what_opens_a_file_is_forgotten_when_the_message_is_settled() -> None:
    world, alice, bob = pair()
    _send(world, alice, octets=b"x")
    (message,) = bob.delivered()
    contact = bob.step.account.contacts[0]
    assert any(name.startswith("file/") for name in bob.step.records.held)
    bob.step.commit(lambda: bob.half.acknowledged(bob.step, contact, message.id))
    assert not any(name.startswith("file/") for name in bob.step.records.held)


def test_a_new_wording_of_a_file_brings_the_new_file() -> None:
    world, alice, bob = pair()
    _send(world, alice, octets=b"first")
    (first,) = bob.delivered()
    alice.hands_over(Message("m2", "", attachment=PICTURE, replaces="m1"))
    alice.step.pulls = []
    contact = alice.step.account.contacts[0]
    alice.step.commit(lambda: alice.half.file_part(alice.step, contact, "m2", Part(0, b"second", last=True)))
    world.settle()
    (second,) = bob.delivered()
    assert second.replaces == first.id
    assert _fetch(world, bob, second)[-1].octets == b"second"


def test_a_retraction_reaches_a_file_that_is_still_under_way() -> None:
    world, alice, bob = pair()
    alice.hands_over(Message("m1", "", attachment=PICTURE))
    alice.hands_over(Message("m2", "", retracts="m1"))
    world.settle()
    assert bob.delivered() == []
    assert alice.step.done == [("bob", "m1"), ("bob", "m2")]
    assert not any(name.startswith("taking/") for name in alice.step.records.held)


def test_after_a_restart_a_file_under_way_is_asked_for_from_its_beginning() -> None:
    world, alice, bob = pair()
    alice.hands_over(Message("m1", "", attachment=PICTURE))
    contact = alice.step.account.contacts[0]
    first = content_of(PART_OCTETS)
    alice.step.commit(lambda: alice.half.file_part(alice.step, contact, "m1", Part(0, first)))
    assert alice.step.pulls == [("bob", "m1", 0), ("bob", "m1", PART_OCTETS)]
    alice.step.pulls = []
    alice.half = type(alice.half)()
    alice.starts(resumed=False)
    assert alice.step.pulls == [("bob", "m1", 0)]
    world.settle()
    assert bob.delivered() == []


def test_the_event_is_as_the_specification_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    world, alice, bob = pair()
    from adapters.matrix import inside_received

    plain = inside_received.message_of

    def watch(*words: Any) -> Any:
        seen.append(json.loads(words[-1].content))
        return plain(*words)

    monkeypatch.setattr(inside_received, "message_of", watch)
    _send(world, alice, octets=b"0123456789abcdefg", body="look")
    ((content),) = seen
    assert set(content) == {"msgtype", "body", "filename", "info", "file"}
    assert (content["msgtype"], content["body"], content["filename"]) == ("m.image", "look", "cat.png")
    assert content["info"] == {"mimetype": "image/png", "size": 17, "w": 640, "h": 480}
    assert set(content["file"]) == {"v", "url", "key", "iv", "hashes"}
    assert content["file"]["iv"].endswith("AAAAAAAAAAA")
    assert BOB
    assert decoded(json.dumps(content).encode(), dict[str, object])
    assert bob.delivered()


def test_a_second_file_under_the_id_of_the_first_is_refused_and_does_not_take_its_place() -> None:
    world, alice, bob = pair()
    world.events_held = True
    contact = bob.step.account.contacts[0]
    for message_id, octets in (("first", b"first"), ("second", b"the second")):
        bob.hands_over(Message(message_id, "", attachment=replace(PICTURE, name=f"{message_id}.png")))
        part = Part(0, octets, last=True)
        bob.step.commit(lambda m=message_id, p=part: bob.half.file_part(bob.step, contact, m, p))  # type: ignore[misc]
        world.settle()
    one, two = world.timeline
    for event in (one, {**two, "event_id": one["event_id"]}):
        alice.arrives(names.EVENT, {"room_id": world.room_id, "event": event})
    (message,) = alice.delivered()
    assert message.attachment is not None
    assert message.attachment.name == "first.png"
    assert b"".join(part.octets for part in _fetch(world, alice, message)) == b"first"
    assert alice.step.traces[-1][1:] == ("refused", "replayed")
