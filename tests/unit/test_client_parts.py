"""The parts of the client, each by itself: store, tail, pace, delivery, stanzas, command line, front ends."""

import asyncio
import dataclasses
import json
import os
import stat
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from client import chat, front_json
from client.account import Login, Trace
from client.delivery import Delivery, DeliveryTimes, Verdict
from client.events import (
    ContactPresence,
    ContactTyping,
    MessageCopied,
    MessageFailed,
    MessageHeld,
    MessageReceived,
    SessionChanged,
    SessionView,
    Warned,
)
from client.front import to_compare, warning
from client.front_terminal import TerminalFront, printable, status_line
from client.pace import Allowance, Backoff
from client.plugin import QueryFailed
from client.stanzas import Meaning, Stanza, mac_in, read_content, read_error, receipt_content, text_content
from client.store import SEEN_KEPT, KeptMessage, SqliteStore, StoreUnusable
from client.tail import REPEATABLE, Tail
from client.within import SHOWS
from crypto.esession.terms import Terms
from crypto.xml import CLIENT, parse, parse_content

ALICE, BOB = "alice@example.org", "bob@example.net"


# ---------------------------------------------------------------- the store
def test_what_is_stored_is_there_after_a_restart_in_order(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    for number in range(3):
        store.queue(BOB, KeptMessage(f"m{number}", f"text {number}"))
    store.settle(BOB, "m1")
    store.see(BOB, "theirs")
    store.established(BOB, "letter")
    store.sealed_receipt(BOB)
    store.keep_retained(BOB, b"secret")
    store.close()
    again = SqliteStore(tmp_path / "s.db")
    assert again.waiting(BOB) == [KeptMessage("m0", "text 0"), KeptMessage("m2", "text 2")]
    assert (again.seen(BOB, "theirs"), again.seen(BOB, "other")) == (True, False)
    assert (again.profile(BOB), again.had_session(BOB), again.seals_receipts(BOB)) == ("letter", True, True)
    assert again.retained(BOB) == b"secret"
    assert again.contacts() == [BOB]


def test_an_unknown_contact_has_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    assert (store.profile(BOB), store.retained(BOB), store.had_session(BOB)) == (None, None, False)
    assert not store.seals_receipts(BOB)


def test_the_store_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "s.db"
    SqliteStore(path).queue(BOB, KeptMessage("m", "text"))
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {0o600}


def test_a_store_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.touch(0o644)
    path.chmod(0o644)
    with pytest.raises(StoreUnusable, match="chmod 600"):
        SqliteStore(path)


def test_a_store_that_is_in_use_is_refused(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path / "s.db")
    with pytest.raises(StoreUnusable, match="locked"):
        SqliteStore(tmp_path / "s.db")
    first.close()


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(b"no database" * 100)
    path.chmod(0o600)
    with pytest.raises(StoreUnusable):
        SqliteStore(path)


def test_replaced_secrets_and_settled_texts_are_not_in_the_files_any_more(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    store.keep_retained(BOB, b"OLD-SECRET-0123456789")
    store.queue(BOB, KeptMessage("m", "SETTLED-TEXT-0123456789"))
    store.settle(BOB, "m")
    store.keep_retained(BOB, b"NEW-SECRET-0123456789")
    octets = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"NEW-SECRET" in octets
    assert b"OLD-SECRET" not in octets
    assert b"SETTLED-TEXT" not in octets


def test_only_so_many_ids_are_remembered(tmp_path: Path) -> None:
    store = SqliteStore(":memory:")
    for number in range(SEEN_KEPT + 10):
        store.see(BOB, f"m{number}")
    assert not store.seen(BOB, "m9")
    assert store.seen(BOB, "m10")


# ---------------------------------------------------------------- tail, pace, delivery
def test_a_receipt_proves_that_everything_before_it_arrived() -> None:
    tail: Tail[str] = Tail()
    for stanza, message in (("a", "1"), ("r", None), ("b", "2"), ("c", "3")):
        tail.sent(stanza, message)
    tail.arrived("2")
    assert tail.stanzas() == ["c"]
    tail.arrived("unknown")
    assert tail.stanzas() == ["c"]


def test_a_tail_that_let_a_message_go_is_not_repeated() -> None:
    tail: Tail[int] = Tail()
    tail.sent(0, "first")
    for number in range(REPEATABLE - 1):
        tail.sent(number)
    before = tail.repeatable
    tail.sent(99)
    assert (before, tail.repeatable, len(tail)) == (True, False, REPEATABLE)


def test_receipts_may_be_let_go() -> None:
    tail: Tail[int] = Tail()
    for number in range(REPEATABLE + 5):
        tail.sent(number)
    assert tail.repeatable


def test_pauses_double_up_to_a_limit_and_fall_back() -> None:
    pause = Backoff(1.0, 5.0)
    seen = []
    for _ in range(5):
        seen.append(pause.pause_s)
        pause = pause.failed()
    assert seen == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert pause.reset().pause_s == 1.0


def test_an_allowance_comes_back_with_time() -> None:
    allowance = Allowance.full(2, 0.5).at(10).used().used()
    assert allowance.empty
    assert allowance.at(11).empty
    assert not allowance.at(12).empty
    assert allowance.at(1000).left == 2


def test_nothing_new_is_sent_while_stanzas_are_held() -> None:
    delivery: Delivery[str] = Delivery([KeptMessage("1", "x"), KeptMessage("2", "x")], DeliveryTimes())
    delivery.sent("s1", "1", 0.0)
    delivery.bounced(0.0)
    assert delivery.unsent() is None
    assert delivery.verdict(0.1) is Verdict.NOTHING
    assert delivery.verdict(0.3) is Verdict.PROBE
    assert delivery.unsent() is None
    assert delivery.alive()
    assert delivery.tail() == ["s1"]
    following = delivery.unsent()
    assert following is not None
    assert following.id == "2"


def test_repetitions_come_at_growing_intervals_and_then_the_session_is_given_up() -> None:
    delivery: Delivery[str] = Delivery([KeptMessage("1", "x")], DeliveryTimes())
    delivery.sent("s1", "1", 0.0)
    seen = []
    for _ in range(4):
        assert delivery.deadline is not None
        seen.append((delivery.deadline, delivery.verdict(delivery.deadline)))
    repeat = Verdict.REPEAT
    assert seen == [(5.0, repeat), (15.0, repeat), (35.0, repeat), (75.0, Verdict.RENEW)]


# ---------------------------------------------------------------- stanzas
def test_content_that_is_written_is_read_back() -> None:
    text = read_content(parse_content(text_content("<&>\n🦊", "id-1")))
    assert (text.body, text.origin_id, text.receipt_wanted, text.received) == ("<&>\n🦊", "id-1", True, ())
    assert read_content(parse_content(receipt_content("id-1"))).received == ("id-1",)


def test_attributes_of_a_stanza_cannot_break_out() -> None:
    octets = Stanza("a@b/'\"<&>", "chat", '"><x/>', "<t/>", b"").octets()
    stanza = parse(octets.replace(b"<message ", b'<message xmlns="jabber:client" ', 1))
    assert (stanza.attribute("to"), stanza.attribute("id")) == ("a@b/'\"<&>", '"><x/>')
    thread = stanza.child(CLIENT, "thread")
    assert thread is not None
    assert thread.text == "<t/>"


def test_the_mac_of_our_own_payload_is_found() -> None:
    assert mac_in(b"<c><data>AAAA</data><mac>ab+/=</mac></c>") == "ab+/="
    assert mac_in(b"<feature/>") is None


@pytest.mark.parametrize(
    ("condition", "kind", "meaning"),
    [
        ("policy-violation", "cancel", Meaning.FINAL),
        ("policy-violation", "wait", Meaning.PASSING),
        ("remote-server-timeout", "wait", Meaning.PASSING),
        ("gone", "cancel", Meaning.FINAL),
        ("service-unavailable", "cancel", Meaning.PASSING),
        ("made-up", "cancel", Meaning.PASSING),
        ("not-acceptable", "modify", Meaning.SESSION_LOST),
    ],
)
def test_errors_mean_what_their_conditions_say(condition: str, kind: str, meaning: Meaning) -> None:
    error = parse(
        f'<error xmlns="jabber:client" type="{kind}"><text xmlns="urn:ietf:params:xml:ns:xmpp-stanzas">why</text>'
        f'<{condition} xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error>'.encode()
    )
    found = read_error(error)
    assert (found.condition, found.text, found.meaning) == (condition, "why", meaning)


def test_an_error_without_anything_in_it_may_pass() -> None:
    assert read_error(None).meaning is Meaning.PASSING


# ---------------------------------------------------------------- the command line
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nobody"], "the contact must look like name@domain"),
        (["bob@example.net/x", "--account", "a@b"], "the contact must look like name@domain"),
        (["matrix.example.net"], "--account must look like name@domain"),
        (["bob@example.net"], "--account must look like name@domain"),
        (["bob@example.net", "--account", "bob@example.net"], "the contact is the account itself"),
        (["bob@example.net", "--account", "a@b", "--password-file", "/nowhere"], "cannot be read"),
        (["bob@example.net", "--account", "a@b", "--port", "1"], "--port needs --host"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOCKGATE_ACCOUNT", raising=False)
    assert chat.main(arguments) == 2
    assert sentence in capsys.readouterr().err


def test_a_password_that_others_can_read_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "password"
    file.write_text("x")
    file.chmod(0o644)
    assert chat.main(["bob@example.net", "--account", "a@b", "--password-file", str(file), "--json"]) == 2
    found = capsys.readouterr()
    assert "chmod 600" in json.loads(found.out)["text"]


@pytest.mark.parametrize("host", ["example.org", "192.0.2.1", None, "localhost.example.org"])
def test_certificates_go_unchecked_only_on_this_machine(host: str | None) -> None:
    with pytest.raises(ValueError, match="loopback"):
        Login("a@b", "x", host, 5222, insecure_loopback=True)


def test_loopback_hosts_may_have_any_certificate() -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        assert Login("a@b", "secret", host, 5222, insecure_loopback=True).host == host


def test_a_password_is_not_in_the_representation() -> None:
    assert "hunter2" not in repr(Login("a@b", "hunter2"))


def test_the_trace_leaves_out_the_login(tmp_path: Path) -> None:
    trace = Trace(tmp_path / "trace")
    for xml in ("<auth>c2VjcmV0</auth>", "<message/>", "<response>x</response>", "<presence/>", "<iq/>"):
        trace.note("out", xml)
    lines = [json.loads(line)["xml"] for line in (tmp_path / "trace").read_text().splitlines()]
    assert lines == ["<message/>", "<presence/>", "<iq/>"]
    assert stat.S_IMODE((tmp_path / "trace").stat().st_mode) == 0o600


# ---------------------------------------------------------------- front ends
class Recorder:
    """What a front end may do with a conversation, noted."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str | None]] = []
        self.view = SessionView(BOB, "none")
        self.active = False
        self.said: list[str] = []

    def send(self, text: str, message_id: str | None = None) -> str:
        """Note it."""
        if not text:
            raise ValueError("a message must have a text")
        self.sent.append((text, message_id))
        return message_id or "made-up"

    def verify(self, *, weak_string: bool = False) -> bool:
        """As set."""
        return self.active and (weak_string or not self.view.weak_string)

    def unverify(self) -> bool:
        """Note it."""
        self.said.append("unverify")
        return True

    def typing(self, active: bool) -> bool:
        """Note it."""
        self.said.append(f"typing {active}")
        return True

    def show(self, show: str, status: str) -> bool:
        """Note it."""
        if show not in SHOWS:
            raise ValueError("no such presence")
        self.said.append(f"{show} {status}")
        return True

    async def ask(self, what: str, *, kind: str = "get") -> None:
        """There is no session."""
        self.said.append(f"ask {what}" if kind == "get" else f"{kind} {what}")
        raise QueryFailed("no-session")

    async def flush(self, timeout: float | None) -> int:  # noqa: ASYNC109
        """Nothing waits."""
        return 0 if timeout is None else int(timeout)


async def commanded(recorder: Recorder, *lines: str, monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Any]]:
    """The events that these lines of standard input bring forth."""
    told: list[Mapping[str, Any]] = []
    reading, writing = os.pipe()
    os.write(writing, "\n".join(lines).encode())
    os.close(writing)
    saved, threads = os.dup(0), threading.enumerate()
    os.dup2(reading, 0)
    monkeypatch.setattr(front_json, "tell", lambda event, **values: told.append({"event": event, **values}))
    try:
        await front_json.JsonFront(1.0).run(recorder)  # type: ignore[arg-type]
        await asyncio.sleep(0)
    finally:
        for thread in threading.enumerate():  # one that still reads would take what is meant for the next test
            if thread not in threads:
                thread.join(10)
        os.dup2(saved, 0)
        os.close(saved)
        os.close(reading)
    return told


async def test_json_commands_are_carried_out_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    told = await commanded(
        recorder, '{"send": "ü"}', '{"send": "b", "id": "x-1"}', '{"status": true}', monkeypatch=monkeypatch
    )
    assert recorder.sent == [("ü", None), ("b", "x-1")]
    assert [event["event"] for event in told] == ["queued", "queued", "session"]
    assert told[1]["id"] == "x-1"


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        "{}",
        '{"send": 1}',
        '{"send": ""}',
        '{"send": "x", "id": "a b"}',
        "[" * 9000,
        '{"verify": true}',
    ],
)
async def test_a_bad_json_command_is_told_and_the_next_one_is_carried_out(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    told = await commanded(recorder, line, '{"send": "after"}', monkeypatch=monkeypatch)
    assert [event["event"] for event in told] == ["error", "queued"]
    assert recorder.sent == [("after", None)]


async def test_a_weak_string_is_told_as_one_and_needs_a_second_word(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    recorder.active, recorder.view = True, SessionView(BOB, "active", sas="abc12", weak_string=True)
    refused, session = await commanded(recorder, '{"verify": true}', '{"status": true}', monkeypatch=monkeypatch)
    assert (refused["event"], refused["text"].partition(":")[0]) == ("error", "weak-string")
    assert session["weak_string"] is True
    assert await commanded(recorder, '{"verify": true, "weak_string": true}', monkeypatch=monkeypatch) == []
    for consent in ("false", "1", '"yes"'):
        line = f'{{"verify": true, "weak_string": {consent}}}'
        [told] = await commanded(recorder, line, monkeypatch=monkeypatch)
        assert told["event"] == "error"
    assert "weak" in to_compare(recorder.view)


async def test_quit_leaves_the_rest_of_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    assert await commanded(recorder, '{"quit": true}', '{"send": "x"}', monkeypatch=monkeypatch) == []
    assert recorder.sent == []


def test_each_happening_is_one_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    front = front_json.JsonFront(1.0)
    front.happened(MessageReceived(BOB, "m", "two\nlines 🦊", f"{BOB}/r", "t"))
    front.happened(MessageFailed(BOB, "m", "forbidden", "why"))
    front.happened(MessageHeld(BOB, "n", "policy-violation", "compare"))
    front.happened(SessionChanged(BOB, SessionView(BOB, "active", chain="continued")))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["message", "failed", "held", "session"]
    assert lines[0]["body"] == "two\nlines 🦊"
    assert lines[2] == {"event": "held", "id": "n", "condition": "policy-violation", "text": "compare"}
    assert lines[3]["retained"] is True


def test_what_the_contact_says_inside_the_session_is_a_json_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    front = front_json.JsonFront(1.0)
    view = SessionView(BOB, "active", key="changed", fingerprint="ab" * 32, weaker=("hybrid",), post_quantum=True)
    front.happened(MessageCopied(BOB, "c", "mine", f"{ALICE}/phone", f"{BOB}/r"))
    front.happened(ContactTyping(BOB, "composing"))
    front.happened(ContactPresence(BOB, "away", "lunch", f"{BOB}/r"))
    front.happened(Warned(BOB, "changed", view))
    front.happened(SessionChanged(BOB, view))
    copied, typing, presence, warned, session = map(json.loads, capsys.readouterr().out.splitlines())
    assert copied == {"event": "copied", "id": "c", "body": "mine", "from": f"{ALICE}/phone"}
    assert typing == {"event": "typing", "state": "composing"}
    assert presence == {"event": "presence", "show": "away", "status": "lunch", "from": f"{BOB}/r"}
    assert (warned["reason"], warned["fingerprint"], warned["weaker"]) == ("changed", "ab" * 32, ["hybrid"])
    assert session["post_quantum"] is True


async def test_json_commands_for_what_is_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    told = await commanded(
        recorder,
        *('{"typing": true}', '{"presence": "away", "status": "lunch"}', '{"presence": "invisible"}'),
        *('{"unverify": true}', '{"ask": "ping"}', '{"ask": "anything"}'),
        *('{"ask": "<x/>", "kind": "set"}', '{"ask": "<x", "kind": "set"}', '{"ask": "<x/>", "kind": "result"}'),
        monkeypatch=monkeypatch,
    )
    assert recorder.said == ["typing True", "away lunch", "unverify", "ask ping", "set <x/>"]
    assert sorted(event["event"] for event in told) == ["answer", "answer", "error", "error", "error", "error"]
    answers = [event for event in told if event["event"] == "answer"]
    assert answers[0] == {"event": "answer", "ask": "ping", "result": None, "reason": "no-session"}


@pytest.mark.parametrize("reason", ["changed", "shared", "absent", "weaker"])
def test_every_warning_is_a_sentence_that_names_what_it_is_about(reason: str) -> None:
    text = warning(reason, SessionView(BOB, "active", fingerprint="abcd", weaker=("hybrid", "group")))
    assert text.count(".") >= 1
    assert ("hybrid, group" in text) == (reason == "weaker")


def test_without_a_string_the_key_is_to_be_compared() -> None:
    assert to_compare(SessionView(BOB, "active", sas="abc12")).endswith("abc12")
    assert to_compare(SessionView(BOB, "active", fingerprint="abcd")).endswith("abcd")


def test_what_is_asked_of_the_contacts_end_is_on_the_command_line(tmp_path: Path) -> None:
    def terms(*words: str) -> Terms:
        options = chat.arguments().parse_args([BOB, "--keys", str(tmp_path / "keys"), *words])
        return chat.settings_of(options, ALICE).terms

    assert terms().peer_keys == ("none",)
    assert terms("--peer-key", "require").peer_keys == ("key", "hash")
    assert terms("--require-post-quantum").require_hybrid
    single = terms("--accept-single")
    assert single.three_message
    assert single.identity is not None
    assert "key" in single.peer_keys


def test_text_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\x9bc\x07") == "a�[2Jb�c�"
    assert printable("\u202eabc").endswith("\u202c\u2069")
    assert printable("שלום\n\tok") == "שלום\n\tok"


def test_in_a_terminal_a_weak_string_counts_only_with_a_second_word(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    front = object.__new__(TerminalFront)  # without a terminal
    monkeypatch.setattr(TerminalFront, "_line", lambda _, *parts: said.append("".join(text for _, text in parts)))
    recorder = Recorder()
    recorder.active, recorder.view = True, SessionView(BOB, "active", sas="abc12", weak_string=True)
    for line in ("/verify", "/verify week", "/verify weak"):
        front._command(recorder, line)  # type: ignore[arg-type]
    assert ["/verify weak" in text for text in said] == [True, True, False]
    assert [text.startswith("Verified") for text in said] == [False, False, True]


def test_the_status_line_says_what_matters() -> None:
    def line(view: SessionView, connection: str = "online") -> str:
        return "".join(text for _, text in status_line(view, connection))

    active = SessionView(BOB, "active", sas="abc12", disclosure="never", chain="first")
    assert "encrypted | SAS abc12 not verified" in line(active)
    assert "encrypted | SAS abc12 (weak) not verified" in line(dataclasses.replace(active, weak_string=True))
    assert "verified" in line(dataclasses.replace(active, verified=True))
    assert "NOT THE SAME" in line(dataclasses.replace(active, chain="broken"))
    assert "may disclose" in line(dataclasses.replace(active, disclosure="enabled"))
    assert "post-quantum: no" in line(active)
    assert "post-quantum: yes" in line(dataclasses.replace(active, post_quantum=True))
    assert "is writing" in line(dataclasses.replace(active, typing=True))
    assert "contact away" in line(dataclasses.replace(active, presence="away"))
    assert "3 not acknowledged" in line(dataclasses.replace(active, waiting=3))
    assert "contact not online" in line(SessionView(BOB, "none"))
    assert "offline" in line(SessionView(BOB, "none"), "offline")
