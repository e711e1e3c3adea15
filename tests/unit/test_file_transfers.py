"""A file passes from one half to the other in parts, under a key of its own, once, or its sender is told why not."""

from dataclasses import replace
from typing import cast

import pytest

from bridge.wire.files import FILE_FETCH, FILE_FORGET, FILE_PART, FILE_UPLOAD
from bridge.wire.values import Number, Sealed
from crypto.content import PART_OCTETS, Part
from crypto.files.streams import Method
from crypto.transfers.contexts import Contexts
from crypto.transfers.model import MOST_UPLOADING_MS, Stage, Taking
from tests.unit.fake_step import Carried
from tests.unit.file_relay import ACCOUNT, Relay, content_of, sealed_for

SIZES = (0, 1, 16, PART_OCTETS - 16, PART_OCTETS - 1, PART_OCTETS, PART_OCTETS + 1, 3 * PART_OCTETS + 77)


def relay(size: int = 3 * PART_OCTETS + 77, *, came: Method = Method.GCM, goes: Method = Method.CTR) -> Relay:
    served, lock = sealed_for(came, content_of(size))
    return Relay(served, lock, method=goes)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("came", "goes"), [(Method.GCM, Method.CTR), (Method.CTR, Method.GCM)])
def test_a_file_of_any_size_arrives_whole_under_another_key(size: int, came: Method, goes: Method) -> None:
    world = relay(size, came=came, goes=goes)
    world.send()
    world.run()
    assert world.arrived() == content_of(size)
    ((message, made, answer),) = world.uploads
    assert (message.body, made.size, answer) == ("a caption", size, b'{"there": true}')
    assert made.key != world.lock.key
    assert world.taking.failures == []
    assert world.most_parts <= PART_OCTETS


def test_what_the_outside_is_given_holds_no_plaintext_and_no_key() -> None:
    world = relay()
    seen: list[Carried] = []

    def note(carried: Carried) -> bool:
        seen.append(carried)
        return False

    world.holding = note
    world.send()
    world.run()
    stored = b"".join(cast(Sealed, c.values["content"]).v for c in seen if c.request == FILE_PART)
    assert len(stored) == 3 * PART_OCTETS + 77
    made = world.uploads[0][1]
    told = repr([(c.request, c.lane, c.key, dict(c.values)) for c in seen]).encode() + stored
    for secret in (made.key, made.iv[:8], world.lock.key, content_of(3 * PART_OCTETS)[4096:4112]):
        assert secret not in told
        assert secret.hex().encode() not in told


def test_the_key_of_a_file_under_way_stands_in_no_record() -> None:
    world = relay()
    world.send()
    for _ in range(3):
        world.step()
    (taking,) = [value for value in world.taking.records.held.values() if isinstance(value, Taking)]
    assert taking.stage is Stage.PULLING
    assert taking.made is None
    assert 0 < taking.offset < 3 * PART_OCTETS


@pytest.mark.parametrize("came", [Method.GCM, Method.CTR])
@pytest.mark.parametrize("change", ["first", "last", "short", "longer"])
def test_a_file_that_was_changed_on_the_server_is_not_named_to_anybody(came: Method, change: str) -> None:
    world = relay(came=came)
    octets = bytearray(world.served)
    if change in ("first", "last"):
        octets[0 if change == "first" else -1] ^= 1
    world.served = {"short": bytes(octets[:-1]), "longer": bytes(octets) + b"x"}.get(change, bytes(octets))
    world.send()
    world.run()
    assert world.uploads == []
    assert world.taking.failures == [("bob", "m1", "file-not-authentic")]
    assert world.uploaded == {}
    assert not world.taking.records.held


def test_after_a_restart_it_begins_anew_under_a_fresh_key_and_arrives_once() -> None:
    world = relay(20 * PART_OCTETS)
    stored: dict[int, set[bytes]] = {}

    def note(carried: Carried) -> bool:
        if carried.request == FILE_PART:
            stored.setdefault(cast(Number, carried.values["offset"]).v, set()).add(
                cast(Sealed, carried.values["content"]).v
            )
        return False

    world.holding = note
    world.send()
    for _ in range(9):
        world.step()
    world.restart()
    world.started()
    world.run()
    assert world.arrived() == content_of(20 * PART_OCTETS)
    assert len(world.uploads) == 1
    again = [contents for contents in stored.values() if len(contents) > 1]
    assert again, "nothing was encrypted twice, so nothing was shown"
    first, second = again[0]
    assert sum(a == b for a, b in zip(first, second, strict=True)) < len(first) // 64


def test_an_answer_that_comes_after_the_restart_makes_it_begin_anew_as_well() -> None:
    world = relay()
    world.send()
    world.step()
    world.restart()  # and `started` is not called: only the giving half was put out of memory, for instance
    world.run()
    assert world.arrived() == content_of(3 * PART_OCTETS + 77)


def test_a_step_that_raises_does_not_leave_its_cipher_in_use() -> None:
    world = relay()
    world.send()
    for _ in range(2):
        world.step()
    before = dict(world.taking.records.held)
    (message_id,) = [value.message.id for value in before.values() if isinstance(value, Taking)]
    taking = next(value for value in before.values() if isinstance(value, Taking))

    def fails() -> None:
        world.taker.part(world.taking, world.contact, message_id, Part(taking.offset, bytes(16)))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        world.taking.commit(fails)
    assert world.taking.records.held == before
    world.run()
    assert world.arrived() == content_of(3 * PART_OCTETS + 77)
    assert "file-begun-again" in world.taking.codes()


def test_records_that_were_rolled_back_do_not_bring_a_used_key_stream_back() -> None:
    world = relay()
    world.send()
    world.step()
    held = dict(world.taking.records.held)
    transfers = {value.transfer for value in held.values() if isinstance(value, Taking)}
    for _ in range(3):
        world.step()
    world.taking.records.held = held
    world.started()
    assert {v.transfer for v in world.taking.records.held.values() if isinstance(v, Taking)}.isdisjoint(transfers)
    world.run()
    assert world.arrived() == content_of(3 * PART_OCTETS + 77)


def test_a_spool_that_is_gone_makes_it_begin_anew() -> None:
    world = relay()
    world.send()
    for _ in range(4):
        world.step()
    world.kept.clear()
    world.run()
    assert world.arrived() == content_of(3 * PART_OCTETS + 77)
    assert len(world.uploads) == 1


def test_a_transfer_that_never_gets_through_is_given_up() -> None:
    world = relay()
    world.codes[FILE_PART] = "begin-again"
    world.send()
    world.run()
    assert world.taking.failures == [("bob", "m1", "file-unavailable")]
    assert world.taking.records.held == {}


@pytest.mark.parametrize(
    ("request_name", "code"),
    [(FILE_FETCH, "file-gone"), (FILE_FETCH, "file-address-refused"), (FILE_UPLOAD, "upload-refused")],
)
def test_the_sender_is_told_why_there_is_no_file(request_name: str, code: str) -> None:
    world = relay()
    world.codes[request_name] = code
    world.send()
    world.run()
    assert world.taking.failures == [("bob", "m1", code)]
    assert world.uploads == []
    assert world.taking.records.held == {}


def test_a_file_that_cannot_be_shown_afterwards_is_refused() -> None:
    world = relay()
    world.refusal = "upload-insecure"
    world.send()
    world.run()
    assert world.taking.failures == [("bob", "m1", "upload-insecure")]


@pytest.mark.parametrize("claimed", [0, 3 * PART_OCTETS])
def test_a_file_beyond_the_policy_is_refused_whatever_it_claims(claimed: int) -> None:
    world = relay()
    contact = replace(world.contact, options={"content-file-octets": str(2 * PART_OCTETS)})
    world.account = replace(ACCOUNT, contacts=(contact,))
    world.send(size=claimed)
    world.run()
    assert world.taking.failures == [("bob", "m1", "file-too-large")]
    assert all(len(held) <= 2 * PART_OCTETS for held in world.kept.values())


def test_where_the_policy_has_no_files_none_is_begun() -> None:
    world = relay()
    world.account = replace(ACCOUNT, contacts=(replace(world.contact, options={"content-file-octets": "0"}),))
    world.send()
    assert world.taking.failures == [("bob", "m1", "files-not-allowed")]
    assert world.taking.carries == []


def test_only_a_few_files_are_under_way_at_one_time_and_all_arrive() -> None:
    world = relay(PART_OCTETS + 5)
    for number in range(8):
        world.send(f"m{number}")
    stages = [value.stage for value in world.taking.records.held.values() if isinstance(value, Taking)]
    assert (stages.count(Stage.PULLING), stages.count(Stage.WAITING)) == (3, 5)
    world.run()
    assert sorted(message.id for message, _, _ in world.uploads) == [f"m{number}" for number in range(8)]
    assert len({made.key for _, made, _ in world.uploads}) == 8


def test_what_cannot_wait_any_more_is_refused() -> None:
    world = relay(10)
    for number in range(101):
        world.send(f"m{number}")
    assert world.taking.failures == [("bob", "m100", "queue-full")]


def test_a_file_whose_message_was_taken_back_goes_no_further() -> None:
    world = relay()
    world.send()
    world.step()
    done: list[bool] = []
    world.taking.commit(lambda: done.append(world.taker.cancelled(world.taking, world.contact, "m1")))
    assert done == [True]
    world.run()
    assert world.uploads == []
    assert world.taking.done == [("bob", "m1")]
    assert world.kept == {}


def test_answers_of_other_runs_and_other_places_are_not_looked_at() -> None:
    world = relay()
    world.send()
    world._across()
    (first,) = world.giving.take()
    world.answered(world.giving, first, "ok", world.served[:PART_OCTETS])
    held = dict(world.giving.records.held)
    world.answered(world.giving, first, "ok", world.served[:PART_OCTETS])  # the same once more
    world.answered(world.giving, replace(first, key="file/bob/0011/22/0"), "ok", b"x")
    world.answered(world.giving, replace(first, key="nothing"), "ok", b"x")
    assert world.giving.records.held == held
    assert world.giving.codes() == ["file-astray"] * 3
    world.run()
    assert world.arrived() == content_of(3 * PART_OCTETS + 77)


def test_a_stretch_larger_than_asked_for_ends_it() -> None:
    world = relay()
    world.send()
    world._across()
    (first,) = world.giving.take()
    world.answered(world.giving, first, "ok", bytes(PART_OCTETS + 1))
    world.run()
    assert world.taking.failures == [("bob", "m1", "file-unavailable")]


def test_when_the_message_is_settled_what_opens_its_file_is_forgotten() -> None:
    world = relay()
    world.send()
    world.run()
    assert any(name.startswith("file/") for name in world.giving.records.held)
    world.giving.commit(lambda: world.giver.settled(world.giving, world.contact, "m1"))
    assert world.giving.records.held == {}
    world.giving.commit(lambda: world.giver.wanted(world.giving, world.contact, "m1", 0))
    assert [part.code for _, _, part in world.giving.parts] == ["file-gone"]


def test_files_of_contacts_that_are_off_the_map_are_forgotten() -> None:
    world = relay()
    world.send()
    world.step()
    world.account = world.giving.account = world.taking.account = replace(ACCOUNT, contacts=())
    world.started()
    assert world.giving.records.held == {}
    assert world.taking.records.held == {}


def test_the_source_is_told_when_no_more_of_it_is_needed() -> None:
    world = relay()
    seen: list[str] = []

    def note(carried: Carried) -> bool:
        seen.append(carried.request)
        return False

    world.holding = note
    world.send()
    world.run()
    assert seen.count(FILE_FORGET) == 1


def test_ciphers_are_found_only_where_the_records_say_they_are_and_their_number_is_bounded() -> None:
    contexts: Contexts[str] = Contexts(most=2)
    contexts.put("a", "one", "r", 5, "x")
    assert contexts.take("a", "one", "r", 4) is None
    assert contexts.take("a", "one", "r", 5) is None  # the wrong question has ended it
    for name in ("one", "two", "three"):
        contexts.put("a", name, "r", 0, name)
    assert len(contexts) == 2
    assert not contexts.stands("a", "one", "r", 0)
    assert contexts.take("b", "three", "r", 0) is None
    assert contexts.take("a", "three", "r", 0) == "three"


def test_a_message_that_is_given_twice_is_taken_once() -> None:
    world = relay(10)
    world.send()
    world.send()
    world.run()
    assert len(world.uploads) == 1
    assert world.taking.failures == []


def test_another_file_under_an_id_that_is_taken_is_refused() -> None:
    world = relay(10)
    world.send()
    world.send(name="dog.jpg")
    world.run()
    assert [message.attachment and message.attachment.name for message, _, _ in world.uploads] == ["cat.jpg"]
    assert world.taking.failures == [("bob", "m1", "file-unavailable")]


def test_an_upload_whose_outcome_was_lost_is_told_in_the_end() -> None:
    world = relay(10)
    world.holding = lambda carried: carried.request == FILE_UPLOAD
    world.send()
    world.run()
    world.started()
    assert world.taking.failures == []
    world.taking.now += MOST_UPLOADING_MS + 1
    world.restart()
    world.started()
    assert world.taking.failures == [("bob", "m1", "file-unavailable")]
