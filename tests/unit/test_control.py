"""Orders to the gateway itself: what is taken from whom, and what is answered."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.control import inside_words as words
from adapters.control.names import COMMANDS
from adapters.xmpp.outside_commands import COMMANDS as LISTED
from adapters.xmpp.sentences import NOTICES
from crypto.olm.sas import Sas
from crypto.olm.verification_states import Cancelled
from crypto.xml import Element
from tests.fuzz.fuzz_gateway_orders import target
from tests.unit.control_site import GATE, SAS, Client, Desk

NS = "http://jabber.org/protocol/commands"
FORM = "jabber:x:data"


@pytest.fixture
def desk() -> Desk:
    """Alice, in a session with the gateway that the operator has verified."""
    return Desk().established()


# ---------------------------------------------------------------- who is listened to
def test_in_plain_nothing_is_done_and_the_answer_is_one_of_two_sentences() -> None:
    desk = Desk().established()
    desk.comparing()
    assert desk.says("verify bob")
    for text in ("match 1234", "verify bob", "contacts", "fingerprints bob", "differ 1234", "cancel bob"):
        heard = desk.says_plainly(text)
        assert heard in ([], [NOTICES["gateway-encrypt"]])
        assert desk.state() == "comparing"
    assert desk.says_plainly("help") == [NOTICES["gateway-help"]]


def test_in_plain_the_same_is_not_said_again_at_once() -> None:
    desk = Desk().established()
    assert desk.says_plainly("hello") == [NOTICES["gateway-encrypt"]]
    assert desk.says_plainly("hello") == []


def test_in_a_session_that_nobody_compared_no_decision_is_taken_and_the_reason_is_told() -> None:
    desk = Desk().established(verified=False)
    desk.comparing()
    for text in ("verify bob", "match 1234", "differ 1234", "cancel bob"):
        assert desk.says(text) == words.UNVERIFIED
        assert desk.state() == "comparing"
    assert words.NOTE_UNVERIFIED in desk.says("contacts")


def test_once_the_operator_compared_the_session_the_same_order_is_taken() -> None:
    desk = Desk().established(verified=False)
    desk.comparing()
    assert desk.says("verify bob") == words.UNVERIFIED
    assert desk.verify_session() == "ok"
    assert "match 1234" in desk.says("verify bob")


def test_a_session_that_is_not_linked_to_the_verified_one_gives_no_orders(desk: Desk) -> None:
    desk.comparing()
    desk.says("verify bob")
    mallory = Client(f"{desk.alice.jid}2")
    desk.alice = mallory
    mallory.start(thread="mallory")
    desk.run()
    assert mallory.current is not None
    assert desk.says("match 1234") == ""
    assert desk.state() == "comparing"


# ---------------------------------------------------------------- verifying
def test_emoji_are_shown_with_their_names_and_the_answer_names_what_was_shown(desk: Desk) -> None:
    desk.comparing()
    shown = desk.says("Verify Bob")
    assert "1. 🐶 Dog\n2. 🔧 Spanner\n3. 👍 Thumbs Up\n4. ✈️ Aeroplane\n5. 📌 Pin" in shown
    assert "match 1234" in shown
    assert desk.says("match 1234") == "Waiting for bob to say that it is the same."
    talk, state = desk.verification()
    assert state == "confirmed"
    assert talk is not None
    assert (talk.how, talk.by) == ("emoji", "user")


@pytest.mark.parametrize("text", ["match", "match 5678", "match 1234x", "match bob", "match 9999"])
def test_a_word_that_does_not_say_what_was_compared_decides_nothing(desk: Desk, text: str) -> None:
    desk.comparing()
    desk.says("verify bob")
    assert desk.says(text) in (words.NO_NUMBER, words.NOTHING_SHOWN)
    assert desk.state() == "comparing"


def test_a_word_about_what_was_shown_before_does_not_count_for_what_took_its_place(desk: Desk) -> None:
    desk.comparing()
    desk.says("verify bob")
    desk.comparing(Sas(SAS.emoji, (1234, 5678, 9013)))
    assert "taken its place" in desk.says("match 1234")
    assert desk.state() == "comparing"


def test_what_was_not_shown_here_is_not_decided_here(desk: Desk) -> None:
    desk.comparing()
    assert desk.says("match 1234") == words.NOTHING_SHOWN
    assert desk.state() == "comparing"


def test_emoji_that_differ_end_it(desk: Desk) -> None:
    desk.comparing()
    desk.says("verify bob")
    assert "differs" in desk.says("differ 1234")
    assert desk.state() == "cancelled"


def test_a_verification_is_broken_off(desk: Desk) -> None:
    desk.comparing()
    desk.says("verify bob")
    assert "broken off" in desk.says("cancel bob")
    assert desk.state() == "cancelled"
    assert desk.says("match 1234") == words.NOTHING_SHOWN


def test_who_drives_it_is_told_how_it_ends_and_who_does_not_is_not(desk: Desk) -> None:
    desk.comparing()
    desk.goes_on(Cancelled("m.user", by_us=False))
    assert desk.alice.shown == []
    desk.comparing()
    desk.says("verify bob")
    desk.alice.shown.clear()
    desk.goes_on(Cancelled("m.timeout", by_us=False))
    assert desk.alice.shown == ["The verification of bob has ended. It took too long."]
    desk.comparing()
    assert desk.says("match 1234") == words.NOTHING_SHOWN


def test_what_cannot_begin_yet_begins_by_itself(desk: Desk) -> None:
    assert "as soon as it is" in desk.says("verify bob")
    desk.alice.shown.clear()
    desk.comparing()
    desk.goes_on()
    assert "match 1234" in "".join(desk.alice.shown)


def test_what_cannot_begin_yet_is_waited_for_by_form_too(desk: Desk) -> None:
    _, early = desk.asks(command("verify", contact="bob"))
    assert "as soon as it is" in fields(early)["told"][0]
    desk.comparing()
    _, answer = desk.asks(command("verify", early.attribute("sessionid") or "", "next"))
    assert fields(answer)["mark"] == ["1234 5678 9012"]


def test_after_an_unclean_restart_it_is_over_and_who_drove_it_is_told_in_a_session_that_continues(desk: Desk) -> None:
    desk.comparing()
    desk.says("verify bob")
    desk.alice.shown.clear()
    desk.take(desk.account.start(resumed=False))
    desk.run()
    desk.wait(2)
    assert desk.alice.shown == ["The verification of bob has ended. It was broken off."]
    assert desk.state() == "cancelled"
    assert desk.says("contacts") == "bob (@bob:two.example), no identity seen yet"


# ---------------------------------------------------------------- the rest
@pytest.mark.parametrize(
    "text", ["", " ", "?", "what", "help me", "VERIFY", "verify eve", "a" * 300, "match " * 90, "\u202e"]
)
def test_what_is_no_order_is_answered_and_never_repeated(desk: Desk, text: str) -> None:
    said = desk.says(text) if text.strip() else ""
    assert said in ("", words.UNKNOWN, words.HELP, words.NO_NAME, words.NOT_FOUND, words.NO_NUMBER, words.NOTHING_SHOWN)


def test_contacts_and_keys_are_told(desk: Desk) -> None:
    assert desk.says("contacts") == "bob (@bob:two.example), no identity seen yet"
    assert desk.says("fingerprints bob") == "Your master key: none\nbob's master key: none"
    assert desk.says("fingerprints @bob:two.example") == desk.says("fingerprints bob@gate.example")


def test_an_order_is_acknowledged(desk: Desk) -> None:
    desk.says("help")
    assert desk.alice.acknowledged


# ---------------------------------------------------------------- by forms
def command(node: str, session: str = "", action: str = "", **answers: str) -> str:
    """A `<command/>`."""
    fields = "".join(f"<field var='{name}'><value>{value}</value></field>" for name, value in answers.items())
    form = f"<x xmlns='{FORM}' type='submit'>{fields}</x>" if answers else ""
    more = (f" sessionid='{session}'" if session else "") + (f" action='{action}'" if action else "")
    return f"<command xmlns='{NS}' node='{node}'{more}>{form}</command>"


def fields(answer: Element) -> dict[str, list[str]]:
    """The values of the form of an answer."""
    form = answer.child(FORM, "x")
    assert form is not None
    found = [e for e in form.elements if e.name == "field"]
    return {e.attribute("var") or "": [v.text for v in e.elements if v.name == "value"] for e in found}


def note(answer: Element) -> str:
    """The note of an answer."""
    found = answer.child(NS, "note")
    return found.text if found is not None else ""


def test_the_commands_are_listed_inside_and_outside_alike(desk: Desk) -> None:
    kind, query = desk.asks(f"<query xmlns='http://jabber.org/protocol/disco#items' node='{NS}'/>", "get")
    assert kind == "result"
    listed = {e.attribute("node"): e.attribute("name") for e in query.elements}
    assert listed == COMMANDS == LISTED
    assert {e.attribute("jid") for e in query.elements} == {f"{GATE}/lockgate"}
    kind, query = desk.asks("<query xmlns='http://jabber.org/protocol/disco#info' node='verify'/>", "get")
    assert (kind, query.elements[0].attribute("type")) == ("result", "command-node")


def test_a_contact_is_verified_by_forms(desk: Desk) -> None:
    desk.comparing()
    kind, first = desk.asks(command("verify"))
    assert (kind, first.attribute("status")) == ("result", "executing")
    _, second = desk.asks(command("verify", first.attribute("sessionid") or "", "next", contact="bob"))
    seen = fields(second)
    assert seen["shown"][0] == "1. 🐶 Dog"
    assert seen["mark"] == ["1234 5678 9012"]
    session = second.attribute("sessionid") or ""
    answers = {"mark": seen["mark"][0], "decision": "match"}
    _, third = desk.asks(command("verify", session, "next", **answers))
    assert third.attribute("status") == "executing"
    assert "Waiting for bob" in fields(third)["told"][0]
    assert desk.state() == "confirmed"
    talk, _ = desk.verification()
    assert talk is not None
    assert talk.by == "user"


@pytest.mark.parametrize("mark", ["", "1234", "1234 5678 9013"])
def test_a_form_about_another_string_decides_nothing(desk: Desk, mark: str) -> None:
    desk.comparing()
    _, answer = desk.asks(command("verify", "x/bob", "next", mark=mark, decision="match"))
    assert "taken its place" in note(answer)
    assert desk.state() == "comparing"


def test_by_form_too_nothing_is_decided_in_a_session_that_nobody_compared() -> None:
    desk = Desk().established(verified=False)
    desk.comparing()
    _, answer = desk.asks(command("verify", "x/bob", "next", mark="1234 5678 9012", decision="match"))
    assert (answer.attribute("status"), note(answer)) == ("completed", words.UNVERIFIED)
    assert desk.state() == "comparing"


def test_a_form_is_cancelled(desk: Desk) -> None:
    desk.comparing()
    _, answer = desk.asks(command("verify", "x/bob", "cancel"))
    assert answer.attribute("status") == "canceled"
    assert desk.state() == "cancelled"


def test_contacts_are_read_by_form(desk: Desk) -> None:
    _, answer = desk.asks(command("contacts"))
    assert fields(answer)["told"] == ["bob (@bob:two.example), no identity seen yet"]
    _, answer = desk.asks(command("fingerprints", contact="bob"))
    assert fields(answer)["told"][1] == "bob's master key: none"


@pytest.mark.parametrize(
    "question",
    [
        command("nonsense"),
        command("verify", action="nonsense"),
        command("verify", "s" * 2000),
        command("verify", contact="b" * 2000),
        f"<command xmlns='{NS}'/>",
        command("verify", **{f"f{n}": "x" for n in range(20)}),
        "<command xmlns='other' node='verify'/>",
    ],
)
def test_what_is_no_command_is_refused(desk: Desk, question: str) -> None:
    kind, inner = desk.asks(question)
    assert (kind, inner.name) == ("error", "feature-not-implemented")


# ---------------------------------------------------------------- hostile orders
CORPUS = Path(__file__).parent.parent / "corpus" / "gateway_orders"


@pytest.mark.parametrize("seed", sorted(CORPUS.iterdir()), ids=lambda path: str(path.name))
def test_the_corpus_of_orders_is_answered_and_decides_nothing_that_it_does_not_name(seed: Path) -> None:
    target(seed.read_bytes())


@given(st.integers(0, 255), st.text(max_size=60) | st.from_regex(r"(match|differ|verify|cancel) ?[0-9a-z]{0,5}"))
def test_whatever_is_written_nothing_is_decided_but_what_was_shown(first: int, text: str) -> None:
    target(bytes([first]) + text.encode())
