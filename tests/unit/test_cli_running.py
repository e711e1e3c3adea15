"""Commands that ask a running gateway, or read its ledger: against the real socket and a real ledger."""

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bridge.admin import AdminSocket
from bridge.cli import app
from bridge.ledger.sqlite import SqliteLedger
from bridge.wire.link import Stepped, Trace
from tests.unit.config_site import Site

LEG: dict[str, Any] = {
    "account": "alice",
    "contact": "bob",
    "network": "xmpp",
    "assurance": "end-to-end",
    "state": "active",
    "verified": False,
    "sas": "7x2k9",
    "peer": "alice@example.org/phone",
    "waiting": 0,
}
STATUS: dict[str, Any] = {
    "legs": [{**LEG, "network": "matrix", "sas": None, "peer": None}, LEG],
    "processes": [{"name": "gateway", "pid": 7, "restarts": 0, "state": "ready"}],
    "lockdown": {"sufficient": True, "measures": [{"name": "seccomp", "achieved": True, "errno": 0}]},
    "health": [{"network": "xmpp", "account": None, "state": "up", "detail": "\x1b[2Jfine"}],
    "counters": {"inbox": 3},
    "unloaded": [],
}


class Gateway:
    """The admin socket of a gateway that answers as it is told; keeps what it was asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[Mapping[str, Any]] = []
        self.status: Mapping[str, Any] = STATUS
        self.trust: Mapping[str, Any] = {"code": "ok"}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._socket = AdminSocket(path, self._answer)

    async def _answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(request)
        return self.status if request["op"] == "status" else self.trust

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._socket.open(), self._loop).result(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._socket.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.change(("sqlite:///var/lib/lockgate/ledger.db", "sqlite:ledger.db"))
    return site


@pytest.fixture
def gateway(site: Site) -> Iterator[Gateway]:
    gateway = Gateway(site.folder / "admin.sock")
    gateway.start()
    yield gateway
    gateway.stop()


Lockgate = Callable[..., int]


@pytest.fixture
def lockgate(site: Site, monkeypatch: pytest.MonkeyPatch) -> Lockgate:
    """Runs the command in this process; returns its exit status."""

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["lockgate", *arguments, "-c", str(site.file)])
        with pytest.raises(SystemExit) as ended:
            app.main()
        return int(ended.value.code or 0)

    return run


def test_status_shows_legs_processes_and_connections(
    gateway: Gateway, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lockgate("status") == 0
    printed = capsys.readouterr().out
    assert "alice\tbob\txmpp\tend-to-end\tactive\tno\t7x2k9\talice@example.org/phone\t0" in printed
    assert "gateway\t7\t0\tready" in printed
    assert "1 of 1 measures" in printed
    assert "inbox\t3" in printed
    assert "\x1b" not in printed


def test_status_as_json_is_the_reply_itself(
    gateway: Gateway, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]
) -> None:
    lockgate("status", "--json")
    assert json.loads(capsys.readouterr().out) == STATUS


def test_an_absurd_reply_is_an_error_and_no_traceback(
    gateway: Gateway, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.status = {"error": "busy"}
    assert lockgate("status") == 1
    assert "busy" in capsys.readouterr().err


def test_trust_show_lists_the_strings(gateway: Gateway, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]) -> None:
    lockgate("trust", "show")
    assert "alice\tbob\txmpp\tactive\t7x2k9\tno" in capsys.readouterr().out


def test_a_string_that_is_the_same_verifies_the_leg_it_belongs_to(gateway: Gateway, lockgate: Lockgate) -> None:
    assert lockgate("trust", "verify", "alice", "bob", "--sas", " 7X2K9 ") == 0
    assert gateway.asked[-1] == {
        "op": "trust",
        "decision": "verify",
        "account": "alice",
        "sas": "7x2k9",
        "contact": "bob",
        "network": "xmpp",
    }


def test_a_string_that_differs_decides_nothing(
    gateway: Gateway, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lockgate("trust", "verify", "alice", "bob", "--sas", "aaaaa") == 1
    assert [request["op"] for request in gateway.asked] == ["status"]
    assert "in between" in capsys.readouterr().err


def test_without_a_terminal_the_string_must_be_given(
    gateway: Gateway, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lockgate("trust", "verify", "alice", "bob") == 2
    assert "--sas" in capsys.readouterr().err
    assert [request["op"] for request in gateway.asked] == ["status"]


WEAK: dict[str, Any] = {**LEG, "sas_bound": False}


def test_a_weak_string_is_shown_as_one(
    gateway: Gateway, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.status = {**STATUS, "legs": [WEAK]}
    assert lockgate("trust", "show") == 0
    printed = capsys.readouterr().out
    assert "\tweak" in printed
    assert "at both ends" in printed
    assert lockgate("status") == 0
    assert "\tweak" in capsys.readouterr().out
    gateway.status = {**STATUS, "legs": [{**LEG, "sas_bound": True}]}
    assert lockgate("trust", "show") == 0
    printed = capsys.readouterr().out
    assert "\tbound" in printed
    assert "at both ends" not in printed


def test_a_weak_string_verifies_only_with_consent(
    gateway: Gateway, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.status = {**STATUS, "legs": [WEAK]}
    assert lockgate("trust", "verify", "alice", "bob", "--sas", "7x2k9") == 1
    assert "--weak-string" in capsys.readouterr().err
    assert [request["op"] for request in gateway.asked] == ["status"]
    assert lockgate("trust", "verify", "alice", "bob", "--sas", "7x2k9", "--weak-string") == 0
    assert "proves little" in capsys.readouterr().out
    assert gateway.asked[-1]["decision"] == "verify-weak-string"
    assert gateway.asked[-1]["sas"] == "7x2k9"


def test_consent_counts_for_weak_strings_only(gateway: Gateway, lockgate: Lockgate) -> None:
    gateway.status = {**STATUS, "legs": [{**LEG, "sas_bound": True}]}
    assert lockgate("trust", "verify", "alice", "bob", "--sas", "7x2k9", "--weak-string") == 0
    assert gateway.asked[-1]["decision"] == "verify"


def test_what_the_operator_refuses_in_the_configuration_no_option_allows(
    gateway: Gateway, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.status, gateway.trust = {**STATUS, "legs": [WEAK]}, {"code": "weak-string-refused"}
    assert lockgate("trust", "verify", "alice", "bob", "--sas", "7x2k9", "--weak-string") == 1
    assert "weak_string: refuse" in capsys.readouterr().err


def test_a_leg_without_a_session_cannot_be_verified(
    gateway: Gateway, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.status = {**STATUS, "legs": [{**LEG, "sas": None, "state": "none"}]}
    assert lockgate("trust", "verify", "alice", "bob", "--sas", "7x2k9") == 1
    assert "no session" in capsys.readouterr().err


def test_a_refusal_of_the_enclave_is_told(
    gateway: Gateway, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.trust = {"code": "no-session"}
    assert lockgate("trust", "verify", "alice", "bob", "--sas", "7x2k9") == 1
    assert "no session is active" in capsys.readouterr().err


def test_a_verification_can_be_taken_back(gateway: Gateway, lockgate: Lockgate) -> None:
    assert lockgate("trust", "distrust", "alice", "bob") == 0
    assert gateway.asked[-1]["decision"] == "distrust"


@pytest.mark.parametrize(("arguments", "word"), [(("zoe", "bob"), "alice"), (("alice", "zoe"), "bob")])
def test_an_unknown_name_is_told_with_the_known_ones(
    gateway: Gateway,
    lockgate: Lockgate,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, str],
    word: str,
) -> None:
    assert lockgate("trust", "verify", *arguments, "--sas", "x") == 2
    told = capsys.readouterr().err
    assert "“zoe”" in told
    assert f"Known: {word}." in told


async def _fill(path: Path) -> None:
    ledger = SqliteLedger(path)
    first, second, third = await ledger.append_arrivals(
        "alice", "matrix", [("event", b"a"), ("event", b"b"), ("event", b"c")]
    )
    steps = [
        Stepped(
            position=first,
            account="alice",
            step=1,
            traces=(Trace(position=first, stage="opened"), Trace(position=first, stage="refused", code="policy")),
        ),
        Stepped(
            position=second,
            account="alice",
            step=2,
            traces=(Trace(position=second, stage="parked", code="no-key"),),
        ),
    ]
    await ledger.commit_steps(steps)
    await ledger.park(third, "malformed")
    await ledger.close()


def test_trace_shows_the_stages_of_each_message(
    site: Site, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(_fill(site.folder / "ledger.db"))
    assert lockgate("trace") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("\t")[0] == "MESSAGE"
    assert "OPENED → REFUSED (policy)" in lines[1]
    assert "PARKED (no-key)" in lines[2]


def test_trace_can_be_limited_to_a_message_and_an_account(
    site: Site, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(_fill(site.folder / "ledger.db"))
    lockgate("trace", "--message", "2", "--json")
    (rows,) = json.loads(capsys.readouterr().out)
    assert {row["position"] for row in rows} == {2}
    lockgate("trace", "--account", "nobody", "--json")
    assert json.loads(capsys.readouterr().out) == []


def test_parked_shows_inputs_and_messages_with_their_reasons(
    site: Site, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(_fill(site.folder / "ledger.db"))
    assert lockgate("parked") == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()[1:]]
    assert [(line[0], line[-1]) for line in lines] == [("2", "no-key"), ("3", "malformed")]


def test_parked_inputs_are_released_by_number_or_all_at_once(
    site: Site, gateway: Gateway, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(_fill(site.folder / "ledger.db"))
    gateway.trust = {"released": 1}
    assert lockgate("parked", "list") == 0
    assert lockgate("parked", "release", "3") == 0
    assert lockgate("parked", "release", "--all") == 0
    assert gateway.asked == [{"op": "release", "positions": [3]}] * 2
    assert "1 of 1 inputs are tried again" in capsys.readouterr().out
    assert lockgate("parked", "release", "--all", "--account", "nobody") == 0
    assert len(gateway.asked) == 2


@pytest.mark.parametrize("arguments", [["2"], ["3", "7"], [], ["3", "--all"], ["3", "--account", "alice"], ["x"]])
def test_what_is_not_parked_is_not_released(
    site: Site, gateway: Gateway, lockgate: Lockgate, arguments: list[str]
) -> None:
    asyncio.run(_fill(site.folder / "ledger.db"))
    assert lockgate("parked", "release", *arguments) == 2
    assert gateway.asked == []


@pytest.mark.parametrize("name", ["trace", "parked"])
def test_a_ledger_that_is_not_there_yet_is_told_as_such(
    lockgate: Lockgate, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert lockgate(name) == 1
    assert "there is no ledger yet" in capsys.readouterr().err


def test_a_file_that_is_no_ledger_is_told_as_such(
    site: Site, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]
) -> None:
    (site.folder / "ledger.db").write_text("words, and more words, enough for a header of something else" * 100)
    assert lockgate("trace") == 1
    assert "not a Lockgate ledger" in capsys.readouterr().err
