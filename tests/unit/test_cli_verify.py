"""`lockgate matrix verify`: what the operator sees and what their answers come to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.cli import verifying
from bridge.cli.codes import drawn
from bridge.errors import OperatorError, WorldError
from tests.unit.codes_read import scanned
from tests.unit.config_site import Site
from tests.unit.test_cli_running import Gateway, gateway, site

__all__ = ["gateway", "site"]

EMOJI = (0, 34, 36, 53, 63, 1, 2)
COMPARING: dict[str, Any] = {"code": "ok", "state": "comparing", "emoji": EMOJI, "decimal": (1000, 2000, 3000)}
ASKED, OK = {"code": "ok", "state": "requested"}, {"code": "ok", "state": "comparing"}
VERIFIED = {"code": "ok", "state": "finished"}


def cancelled(code: str) -> dict[str, Any]:
    """It came to nothing."""
    return {"code": "ok", "state": "cancelled", "cancelled": code}


def answers(gateway: Gateway, *replies: Mapping[str, Any]) -> None:
    """The gateway answers so, one after the other, the last one for ever."""
    left = list(replies)

    async def answer(request: Mapping[str, Any]) -> Mapping[str, Any]:
        gateway.asked.append(request)
        return left.pop(0) if len(left) > 1 else left[0]

    gateway._socket._answer = answer


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody sits there, and nobody waits."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr(verifying, "_ASK_EVERY_S", 0.0)


def verify(site: Site, *words: str, to_device: bool = False, code: bool = False) -> None:
    """Run the command; the operator answers with these words."""
    typed = iter(words)
    config: Path = site.file
    verifying.verify(config, "alice", "bob", to_device=to_device, code=code, read=lambda _: next(typed))


def orders(gateway: Gateway) -> list[object]:
    """What was ordered."""
    return [(asked["action"], asked["compared"]) for asked in gateway.asked]


def test_the_emoji_are_shown_with_their_names_and_the_answer_carries_the_string(
    gateway: Gateway, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(gateway, {"code": "ok"}, ASKED, COMPARING, COMPARING, OK, VERIFIED)
    verify(site, "what?", "y")
    printed = capsys.readouterr().out
    assert "bob is asked" in printed
    for name in ("1. 🐶  Dog", "2. 🔧  Spanner", "5. 📌  Pin", "alice/bob is verified."):
        assert name in printed
    assert orders(gateway)[0] == ("begin", None)
    assert ("match", "1000 2000 3000") in orders(gateway)


def test_no_is_told_as_a_difference_and_the_command_fails(gateway: Gateway, site: Site) -> None:
    answers(gateway, {"code": "ok"}, COMPARING, OK, cancelled("mismatched-sas"))
    with pytest.raises(WorldError) as failed:
        verify(site, "n")
    assert failed.value.problems[0].code == "mismatched-sas"
    assert ("differ", "1000 2000 3000") in orders(gateway)


def test_without_emoji_the_numbers_are_compared(
    gateway: Gateway, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(gateway, {"code": "ok"}, {**COMPARING, "emoji": ()}, OK, VERIFIED)
    verify(site, "yes")
    assert "1000 2000 3000" in capsys.readouterr().out


def test_a_verification_that_is_under_way_is_joined(gateway: Gateway, site: Site) -> None:
    answers(gateway, {"code": "under-way"}, VERIFIED)
    verify(site)


def test_what_will_be_known_soon_is_waited_for(gateway: Gateway, site: Site) -> None:
    answers(gateway, {"code": "devices-unknown"}, {"code": "devices-unknown"}, {"code": "ok"}, VERIFIED)
    verify(site, to_device=True)
    assert orders(gateway)[:3] == [("begin-to-device", None)] * 3


@pytest.mark.parametrize("code", ["user", "timeout", "key-mismatch", "other"])
def test_what_was_broken_off_is_told_with_its_reason(gateway: Gateway, site: Site, code: str) -> None:
    answers(gateway, {"code": "ok"}, cancelled(code))
    with pytest.raises(WorldError) as failed:
        verify(site)
    assert failed.value.problems[0].code == code


def test_a_contact_without_an_identity_is_told_as_such(gateway: Gateway, site: Site) -> None:
    answers(gateway, {"code": "not-cross-signed"})
    with pytest.raises(WorldError) as failed:
        verify(site)
    assert "no identity" in failed.value.problems[0].found


def test_there_has_to_be_somebody_to_ask(gateway: Gateway, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    with pytest.raises(OperatorError):
        verify(site)
    assert gateway.asked == []


# ---------------------------------------------------------------- codes to scan
CODE = b"MATRIX\x02\x00\x00\x2c$" + b"A" * 43 + bytes(range(200, 256)) + bytes(24)
SHOWING: dict[str, Any] = {"code": "ok", "state": "prepared", "scan": CODE.hex()}
SCANNED: dict[str, Any] = {"code": "ok", "state": "scanned", "mark": "ab" * 16}


@given(st.binary(min_size=1, max_size=400))
def test_a_code_on_the_terminal_is_read_by_another_implementation(octets: bytes) -> None:
    assert scanned(drawn(octets)) == octets


@pytest.mark.parametrize(("word", "decision"), [("y", "match"), ("n", "differ")])
def test_a_code_is_shown_once_and_the_answer_is_about_it(
    gateway: Gateway, site: Site, capsys: pytest.CaptureFixture[str], word: str, decision: str
) -> None:
    over = VERIFIED if word == "y" else cancelled("key-mismatch")
    answers(gateway, {"code": "ok"}, ASKED, SHOWING, SHOWING, SCANNED, {"code": "ok"}, over)
    failed = None
    try:
        verify(site, word, code=True)
    except WorldError as error:
        failed = error.problems[0].code
    assert failed == (None if word == "y" else "key-mismatch")
    lines = [line for line in capsys.readouterr().out.splitlines() if line and set(line) <= set("█▀▄ ")]
    assert scanned(lines) == CODE
    assert orders(gateway)[0] == ("begin-code", None)
    assert (decision, "ab" * 16) in orders(gateway)


def test_a_contact_whose_client_cannot_scan_compares_emoji_instead(gateway: Gateway, site: Site) -> None:
    answers(gateway, {"code": "ok"}, ASKED, COMPARING, OK, VERIFIED)
    verify(site, "y", code=True)
    assert ("match", "1000 2000 3000") in orders(gateway)


def test_a_code_is_not_asked_for_from_device_to_device(gateway: Gateway, site: Site) -> None:
    with pytest.raises(OperatorError):
        verify(site, code=True, to_device=True)
    assert gateway.asked == []
