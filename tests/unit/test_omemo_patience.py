"""How long devices that never answer hold messages up: for a bounded time, however many there are."""

from dataclasses import replace

from adapters.xmpp.inside_leg import arm
from adapters.xmpp.inside_omemo_mending import MAX_HEALING, failed
from adapters.xmpp.inside_omemo_patience import PATIENCE_MS
from adapters.xmpp.inside_omemo_state import AGAIN_MS, ANSWER_MS
from tests.unit.omemo_desk import BUNDLES, OLD, Desk
from tests.unit.test_xmpp_omemo_devices import DESKTOP, PHONE, send

MOST_S = (PATIENCE_MS + ANSWER_MS) // 1000
SILENT = range(100, 120)


def delay_s(desk: Desk, event: str, most_s: int = 1800) -> int:
    """How long a message takes."""
    before, start = len(desk.sent("omemo")), desk.step.now
    desk.message("hello", event)
    desk.settle()
    while len(desk.sent("omemo")) == before:
        assert desk.step.now - start < most_s * 1000, "it is never sent"
        desk.later(10)
    return (desk.step.now - start) // 1000


def silent(desk: Desk) -> None:
    """Nobody gives the keys of most devices."""
    desk.answering = lambda _code, number: number not in SILENT


def test_devices_whose_keys_are_never_given_delay_the_others_for_a_bounded_time_and_then_not() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    silent(desk)
    send(desk)
    desk.nodes.listed(OLD, *SILENT, PHONE.device_id)
    desk.event(OLD)
    assert 0 < delay_s(desk, "$1") <= MOST_S
    assert [delay_s(desk, f"$2{n}") for n in range(4)] == [0] * 4
    desk.later(AGAIN_MS / 1000)
    assert delay_s(desk, "$3") <= MOST_S
    assert delay_s(desk, "$4") == 0


def test_a_device_behind_many_that_never_answer_gets_its_turn() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    silent(desk)
    send(desk)
    desk.nodes.announce(DESKTOP, PHONE)
    desk.nodes.listed(OLD, *SILENT[:4], PHONE.device_id, DESKTOP.device_id)
    desk.event(OLD)
    for number in range(12):
        delay_s(desk, f"${number}")
        desk.later(30)
    assert (BUNDLES[OLD], DESKTOP.device_id) in desk.asked
    assert sorted(send(desk)) == [PHONE.device_id, DESKTOP.device_id]


def test_sessions_that_break_one_after_the_other_do_not_delay_messages_again_and_again() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    silent(desk)
    send(desk)
    desk.nodes.listed(OLD, *SILENT, PHONE.device_id)
    desk.event(OLD)
    delay_s(desk, "$0")
    waited_s = 0
    for number in range(4 * MAX_HEALING):
        for device in SILENT:  # more than are healed at a time: each pushes another one out
            desk.at(lambda at, device=device: failed(at, device, OLD))  # type: ignore[misc]
        desk.at(lambda at: failed(at, PHONE.device_id, OLD))
        desk.settle()
        waited_s += delay_s(desk, f"$1{number}")
        desk.later(15)
    assert waited_s <= 2 * MOST_S, "eight minutes and more of breaking"


def test_answers_that_come_at_once_use_no_patience_up() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    send(desk)
    desk.nodes.announce(PHONE, DESKTOP)
    desk.event(OLD)
    assert delay_s(desk, "$1") == 0
    assert [name for name in desk.records.held if name.startswith("omemo-patience")] == []


def test_a_contact_that_is_gone_leaves_no_patience_behind() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE, DESKTOP)
    desk.answering = lambda _code, number: number != PHONE.device_id
    delay_s(desk, "$1")
    assert "omemo-patience/bob" in desk.records.held
    desk.step.account = replace(desk.step.account, contacts=())
    desk.begin()
    assert "omemo-patience/bob" not in desk.records.held


# ---------------------------------------------------------------- nobody ever tells that keys are there
def test_keys_that_were_not_given_once_are_asked_for_again_while_a_message_waits() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    desk.answering = lambda _code, number: number is None
    desk.message("hello", "$1")
    desk.settle()
    desk.later(90)
    assert desk.told == ["omemo-no-keys"]
    desk.answering = lambda _code, _number: True
    desk.later(2 * AGAIN_MS / 1000)
    assert len(desk.sent("omemo")) == 1


def test_lists_that_were_not_given_once_are_asked_for_again_while_a_message_waits() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    desk.answering = lambda _code, _number: False
    desk.message("hello", "$1")
    desk.settle()
    desk.later(90)
    assert desk.told == ["omemo-no-devices"]
    desk.answering = lambda _code, _number: True
    desk.later(2 * AGAIN_MS / 1000)
    assert len(desk.sent("omemo")) == 1


def test_nothing_is_asked_for_again_and_again_when_nothing_waits() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE, DESKTOP)
    desk.answering = lambda _code, number: number != DESKTOP.device_id
    delay_s(desk, "$1")
    desk.later(120)
    before = len(desk.asked)
    desk.later(3 * AGAIN_MS / 1000)
    assert len(desk.asked) == before


def test_without_patience_a_question_ends_also_when_something_else_wakes_the_half_meanwhile() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    desk.answering = lambda _code, number: number is None
    desk.nodes.listed(OLD, *SILENT, PHONE.device_id)
    desk.message("hello", "$1")
    desk.settle()
    desk.later(PATIENCE_MS / 1000 + 1)
    for _ in range(10):
        before = len(desk.asked)
        desk.at(lambda at: arm(at.step, at.step.now_ms() + 5_000))
        desk.later(ANSWER_MS / 1000 + 10)
        assert len(desk.asked) > before
