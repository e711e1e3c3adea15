"""`lockgate trust` about OMEMO devices, against the real admin socket."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.cli.devices import fingerprint, read_fingerprint, trust_uri, uri
from crypto.omemo import fingerprints
from crypto.omemo.device import device_from
from tests.unit.codes_read import scanned
from tests.unit.test_cli_running import LEG, STATUS, Gateway, Lockgate, gateway, lockgate, site

__all__ = ["gateway", "lockgate", "site"]

PHONE, DESKTOP, BOB = "1a" * 32, "2b" * 32, "3c" * 32
DEVICES: list[dict[str, Any]] = [
    {"id": 11, "state": "blind", "key": PHONE, "active": True},
    {"id": 22, "state": "changed", "key": DESKTOP, "active": False},
    {"id": 33, "state": "unknown", "key": "", "active": True},
    {"id": 66, "state": "verified", "key": "6e" * 32, "active": True, "by": "device", "voucher": 11},
    {"id": 77, "state": "distrusted", "key": "7f" * 32, "active": True, "by": "operator", "voucher": 0},
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
    assert f"alice\t11\tblind\t-\tyes\t{fingerprint(PHONE)}" in printed
    assert f"alice\t22\tchanged\t-\tno\t{fingerprint(DESKTOP)}" in printed
    assert "alice\t33\tunknown\t-\tyes\t-" in printed
    assert f"alice\t66\tverified\tdevice 11\tyes\t{fingerprint('6e' * 32)}" in printed
    assert f"alice\t77\tdistrusted\toperator\tyes\t{fingerprint('7f' * 32)}" in printed
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


@pytest.mark.parametrize("how", [("--device", "44"), ("--key", "4a" * 32), ("--device", "33")])
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


# ---------------------------------------------------------------- codes
AT_THE_GATEWAY = {**LEG, "contact": "_gateway", "device": {"id": 6, "key": DESKTOP, "devices": []}}


def codes(printed: str) -> list[bytes]:
    """What a camera reads off the lines, code by code."""
    found: list[list[str]] = [[]]
    for line in printed.splitlines():
        if line and set(line) <= set("█▀▄ "):
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [scanned(lines) for lines in found if lines]


def test_contacts_keys_are_shown_as_codes_to_scan(gateway: Gateway, lockgate: Lockgate, capsys: Printed) -> None:
    gateway.status = {**STATUS, "legs": [*WITH_DEVICES["legs"], AT_THE_GATEWAY]}
    assert lockgate("trust", "show", "--qr") == 0
    printed = capsys.readouterr().out
    wanted = [uri("bob@matrix.example.org", 5, BOB), uri("matrix.example.org", 6, DESKTOP)]
    assert [text.decode() for text in codes(printed)] == wanted
    assert all(text in printed for text in wanted)


def test_one_contacts_code_is_shown_and_in_the_form_for_kaidan(
    gateway: Gateway, lockgate: Lockgate, capsys: Printed
) -> None:
    gateway.status = {**STATUS, "legs": [*WITH_DEVICES["legs"], AT_THE_GATEWAY]}
    assert lockgate("trust", "show", "alice", "--qr", "--contact", "bob", "--omemo2") == 0
    (read,) = codes(capsys.readouterr().out)
    assert read.decode() == trust_uri("bob@matrix.example.org", BOB)


def test_without_a_device_there_is_no_code(gateway: Gateway, lockgate: Lockgate, capsys: Printed) -> None:
    gateway.status = STATUS
    assert lockgate("trust", "show", "--qr") == 1
    assert "omemo" in capsys.readouterr().err
    assert lockgate("trust", "show", "alice", "--qr", "--contact", "eve") == 2


@given(st.binary(min_size=32, max_size=32))
def test_the_address_for_kaidan_names_the_key_as_it_is_published(seed: bytes) -> None:
    made = device_from(1, seed)
    outside, inside = trust_uri("bob@a.b", made.public.hex()), fingerprints.trust_uri("bob@a.b", made.public)
    assert outside == inside
    assert outside.endswith(f";trust={made.signing.hex()}")
