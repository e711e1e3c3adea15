"""`lockgate trust` about OMEMO devices, against the real admin socket."""

from pathlib import Path
from typing import Any

import pytest

from bridge.cli.devices import fingerprint, read_fingerprint, uri
from tests.unit.test_cli_running import LEG, STATUS, Gateway, Lockgate, gateway, lockgate, site

__all__ = ["gateway", "lockgate", "site"]

PHONE, DESKTOP, BOB = "1a" * 32, "2b" * 32, "3c" * 32
DEVICES: list[dict[str, Any]] = [
    {"id": 11, "state": "blind", "key": PHONE, "active": True},
    {"id": 22, "state": "changed", "key": DESKTOP, "active": False},
    {"id": 33, "state": "unknown", "key": "", "active": True},
]
WITH_DEVICES = {**STATUS, "legs": [{**LEG, "device": {"id": 5, "key": BOB, "devices": DEVICES}}]}
Printed = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def known(gateway: Gateway) -> None:
    gateway.status = WITH_DEVICES


def order(gateway: Gateway) -> dict[str, Any]:
    """The decision that was asked for."""
    return dict(gateway.asked[-1])


def test_show_lists_the_users_devices_and_the_contacts_with_fingerprints(lockgate: Lockgate, capsys: Printed) -> None:
    assert lockgate("trust", "show") == 0
    printed = capsys.readouterr().out
    assert f"alice\t11\tblind\tyes\t{fingerprint(PHONE)}" in printed
    assert f"alice\t22\tchanged\tno\t{fingerprint(DESKTOP)}" in printed
    assert "alice\t33\tunknown\tyes\t-" in printed
    assert f"alice\tbob\t5\t{fingerprint(BOB)}" in printed


@pytest.mark.parametrize(
    "how",
    [
        ("--device", "11", "--key", PHONE),
        ("--key", fingerprint(PHONE)),
        ("--key", f"05{PHONE.upper()}"),
        ("--device", "11", "--key", ":".join(PHONE[n : n + 2] for n in range(0, 64, 2))),
    ],
)
def test_a_device_is_verified_by_the_key_that_its_client_shows(
    gateway: Gateway, lockgate: Lockgate, how: tuple[str, ...]
) -> None:
    assert lockgate("trust", "verify", "alice", "bob", *how) == 0
    where = {"account": "alice", "contact": "bob", "network": "xmpp"}
    assert order(gateway) == {"op": "trust", "decision": "verify", **where, "device_key": PHONE}


def test_another_key_than_the_device_shows_is_not_taken(gateway: Gateway, lockgate: Lockgate, capsys: Printed) -> None:
    assert lockgate("trust", "verify", "alice", "bob", "--device", "11", "--key", DESKTOP) == 1
    assert "posing" in capsys.readouterr().err
    assert order(gateway)["op"] == "status"


@pytest.mark.parametrize("how", [("--device", "44"), ("--key", "4d" * 32), ("--device", "33")])
def test_a_device_that_is_not_known_is_an_error(gateway: Gateway, lockgate: Lockgate, how: tuple[str, ...]) -> None:
    assert lockgate("trust", "verify", "alice", "bob", *how) == 2
    assert order(gateway)["op"] == "status"


def test_a_fingerprint_that_is_none_is_an_error(gateway: Gateway, lockgate: Lockgate, capsys: Printed) -> None:
    assert lockgate("trust", "verify", "alice", "bob", "--device", "11", "--key", "12") == 2
    assert "64" in capsys.readouterr().err
    assert order(gateway)["op"] == "status"


def test_without_a_terminal_nothing_is_verified_that_was_not_compared(gateway: Gateway, lockgate: Lockgate) -> None:
    assert lockgate("trust", "verify", "alice", "bob", "--device", "11") == 2
    assert order(gateway)["op"] == "status"


@pytest.mark.parametrize("how", [("--device", "22"), ("--key", DESKTOP)])
def test_a_device_may_be_distrusted(gateway: Gateway, lockgate: Lockgate, how: tuple[str, ...]) -> None:
    assert lockgate("trust", "distrust", "alice", "bob", *how) == 0
    assert (order(gateway)["decision"], order(gateway)["device_key"]) == ("distrust", DESKTOP)


def test_what_the_enclave_does_not_know_is_said(gateway: Gateway, lockgate: Lockgate, capsys: Printed) -> None:
    gateway.trust = {"code": "unknown-key"}
    assert lockgate("trust", "verify", "alice", "bob", "--key", PHONE) == 1
    assert "no device of the user" in capsys.readouterr().err


def test_fingerprints_and_addresses_are_as_clients_show_them() -> None:
    assert fingerprint(PHONE) == " ".join(["1a1a1a1a"] * 8)
    assert [read_fingerprint(text) for text in (fingerprint(PHONE), "1a", None, "", "zz" * 32)] == [PHONE, *[None] * 4]
    assert uri("alice@example.org", 11, PHONE) == f"xmpp:alice@example.org?omemo-sid-11={PHONE}"


def test_a_reply_of_another_form_is_shown_without_devices(gateway: Gateway, lockgate: Lockgate, tmp_path: Path) -> None:
    for told in (None, 5, {}, {"id": 5, "key": BOB, "devices": 7}, {"id": 5, "key": BOB, "devices": [7]}):
        gateway.status = {**STATUS, "legs": [{**LEG, "device": told}]}
        assert lockgate("trust", "show") == 0
