"""What the operator sees and decides of Matrix identities, and how the secrets of the account's own pass."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.config_site import Site
from tests.unit.test_cli_running import LEG, STATUS, Gateway, Lockgate, gateway, lockgate, site

__all__ = ["gateway", "lockgate", "site"]

PINNED, SHOWN = "P" * 43, "S" * 43
PEER: dict[str, Any] = {"state": "pinned", "key": PINNED, "served": ["BOBDEV"], "withheld": ["NEW"], "rotated_ms": 0}
MATRIX: dict[str, Any] = {**LEG, "network": "matrix", "sas": None, "peer": None, "identity": PEER}
OWN: dict[str, Any] = {
    "account": "alice",
    "network": "matrix",
    "state": "elsewhere",
    "key": PINNED,
    "recovery_key": "none",
    "problem": None,
    "recovered": None,
}


def shows(gateway: Gateway, peer: Mapping[str, Any] = PEER, **own: object) -> None:
    """What the gateway says."""
    legs = [{**LEG, "sas": None}, {**MATRIX, "identity": {**PEER, **peer}}]
    gateway.status = {**STATUS, "legs": legs, "identities": [{**OWN, **own}]}


def test_trust_show_tells_the_identity_and_the_devices_served_and_withheld(
    gateway: Gateway, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]
) -> None:
    shows(gateway, {"state": "changed", "rotated_ms": 1_800_000_000_000})
    assert lockgate("trust", "show") == 0
    key = " ".join(["PPPP"] * 10 + ["PPP"])
    printed = capsys.readouterr().out
    assert f"alice\tbob\tmatrix\tchanged\t{key}\tBOBDEV\tNEW\t2027-01-15T08:00:00+00:00" in printed


def test_status_tells_both_kinds_of_identities(
    gateway: Gateway, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]
) -> None:
    shows(gateway)
    assert lockgate("status") == 0
    printed = capsys.readouterr().out
    assert "alice\tbob\tmatrix\tpinned\t" in printed
    assert "alice\tmatrix\telsewhere\t" in printed


def test_an_identity_is_verified_by_the_key_that_was_compared(gateway: Gateway, lockgate: Lockgate) -> None:
    shows(gateway)
    spaced = f" {PINNED[:20]} {PINNED[20:]}"
    assert lockgate("trust", "verify", "alice", "bob", "--network", "matrix", "--key", spaced) == 0
    wanted = {"op": "trust", "decision": "verify", "account": "alice", "contact": "bob", "network": "matrix"}
    assert gateway.asked[-1] == {**wanted, "key": PINNED}


def test_a_new_identity_is_approved_by_its_own_key(gateway: Gateway, lockgate: Lockgate) -> None:
    shows(gateway, {"state": "changed", "key": SHOWN})
    assert lockgate("trust", "approve", "alice", "bob", "--key", SHOWN) == 0
    wanted = {"op": "trust", "decision": "approve", "account": "alice", "contact": "bob", "network": "matrix"}
    assert gateway.asked[-1] == {**wanted, "key": SHOWN}


@pytest.mark.parametrize("command", ["verify", "approve"])
def test_another_key_decides_nothing(
    gateway: Gateway, lockgate: Lockgate, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    shows(gateway, {"state": "changed", "key": SHOWN})
    assert lockgate("trust", command, "alice", "bob", "--network", "matrix", "--key", PINNED) == 1
    assert [request["op"] for request in gateway.asked] == ["status"]
    assert "posing" in capsys.readouterr().err


@pytest.mark.parametrize("state", ["none", "pinned", "verified", "gone"])
def test_there_is_nothing_to_approve_unless_another_identity_is_shown(
    gateway: Gateway, lockgate: Lockgate, state: str
) -> None:
    shows(gateway, {"state": state})
    assert lockgate("trust", "approve", "alice", "bob", "--key", PINNED) == 1
    assert [request["op"] for request in gateway.asked] == ["status"]


def test_the_recovery_key_is_printed_and_only_that(
    gateway: Gateway, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.trust = {"code": "ok", "key": "EsTx aaaa"}
    assert lockgate("matrix", "recovery-key", "alice") == 0
    assert capsys.readouterr().out == "EsTx aaaa\n"
    assert gateway.asked == [{"op": "recovery-key", "account": "alice"}]


def test_a_recovery_key_that_was_shown_before_is_not_shown_again(
    gateway: Gateway, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.trust = {"code": "already-shown", "key": None}
    assert lockgate("matrix", "recovery-key", "alice") == 1
    assert "shown before" in capsys.readouterr().err


def test_recovering_reads_the_key_from_a_private_file_and_waits_for_the_outcome(
    site: Site, gateway: Gateway, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]
) -> None:
    shows(gateway, recovered="ok")
    gateway.trust = {"code": "started"}
    file = site.secret("recovery", "EsTx bbbb\n")
    assert lockgate("matrix", "recover", "alice", "--key-file", str(file)) == 0
    assert gateway.asked[0] == {"op": "recover", "account": "alice", "secret": "EsTx bbbb"}
    assert "EsTx" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("code", ["wrong-key", "no-storage", "not-this-identity", "server-unavailable"])
def test_what_comes_of_recovering_is_told(
    site: Site, gateway: Gateway, lockgate: Lockgate, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    shows(gateway, recovered=code)
    gateway.trust = {"code": "started"}
    file = site.secret("recovery", "EsTx bbbb\n")
    assert lockgate("matrix", "recover", "alice", "--key-file", str(file)) == 1
    assert "the enclave answered" not in capsys.readouterr().err


def test_a_key_file_that_others_can_read_is_refused(
    site: Site, gateway: Gateway, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]
) -> None:
    file = site.secret("recovery", "EsTx bbbb\n", 0o644)
    assert lockgate("matrix", "recover", "alice", "--key-file", str(file)) == 2
    assert gateway.asked == []
    assert "EsTx" not in capsys.readouterr().err


def test_without_a_terminal_or_a_file_nothing_is_recovered(gateway: Gateway, lockgate: Lockgate) -> None:
    assert lockgate("matrix", "recover", "alice") == 2
    assert gateway.asked == []


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"state": "ours"}, "signs the gateway's device"),
        ({"state": "elsewhere"}, "lockgate matrix recover alice"),
        ({"state": "preparing", "problem": "auth-required"}, "log in to the account with Element"),
        ({"state": "replaced"}, "change the account's password"),
        ({"state": "ours", "backup": "foreign"}, "lockgate matrix recover joins it"),
        ({"state": "ours", "backup": "no-storage-key"}, "lets the gateway make one"),
    ],
)
def test_what_is_to_be_done_about_the_accounts_identity_is_told(
    gateway: Gateway, lockgate: Lockgate, capsys: pytest.CaptureFixture[str], own: dict[str, str], words: str
) -> None:
    shows(gateway, PEER, **own)
    assert lockgate("matrix", "identity", "alice") == 0
    assert words in capsys.readouterr().out
    assert lockgate("matrix", "identity", "alice", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {**OWN, **own}


def test_an_account_without_matrix_has_no_identity(site: Site, gateway: Gateway, lockgate: Lockgate) -> None:
    site.change(
        ('matrix: {user: "@alice:example.org", password_file: secrets/alice-matrix}', "loopback: {user: alice}"),
        ('"@bob:matrix.org"', "echo"),
        ("require: end-to-end", "require: none"),
        ("sqlite:///var/lib/lockgate/ledger.db", "sqlite:ledger.db"),
    )
    assert lockgate("matrix", "identity", "alice") == 2
    assert gateway.asked == []
