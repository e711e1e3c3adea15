"""Identities through the step function: decisions by the key that was compared, secrets, and what the user is told."""

from typing import cast

import pytest

from adapters.inside_api import InsideHalf, Proof, Step
from adapters.matrix import names
from adapters.matrix.inside import MatrixInside
from adapters.matrix.inside_identity import IdentityState
from adapters.matrix.inside_peers import Pin, pin_of
from adapters.matrix.inside_talks import Talk
from adapters.xmpp.inside import XmppInside
from adapters.xmpp.names import NOTICE, jid_of
from bridge.wire import control, link
from bridge.wire.codec import FROM_ENCLAVE_CONTROL
from bridge.wire.values import Address, Code
from crypto.enclave.account import Account
from crypto.enclave.chamber import Chamber
from crypto.enclave.register import ROW_SIZE, Register
from crypto.olm.identity import MASTER, OwnIdentity
from crypto.olm.sas import Ends, Party, Sas
from crypto.olm.storage import read_recovery_key
from crypto.olm.verification_states import Comparing, Flow
from tests.unit.test_chamber import KEY, FakeHost

ALICE, BOB = "@alice:one.example", "@bob:two.example"
PINNED, SHOWN = "P" * 43, "S" * 43
NOW = FakeHost().now_ms()
OURS = OwnIdentity(ALICE, bytes([1] * 32), bytes([2] * 32), bytes([3] * 32))


def mapped() -> control.AccountMap:
    """Alice, with Bob on Matrix."""
    contact = control.ContactMap(
        id="bob", network="matrix", address=BOB, alias="bob@gate.example", require="end-to-end"
    )
    return control.AccountMap(
        id="alice",
        slot=1,
        near_network="xmpp",
        near_address="alice@a.example",
        far_addresses=(control.FarAddress(network="matrix", address=ALICE),),
        contacts=(contact,),
    )


@pytest.fixture
def chamber() -> Chamber:
    """The account is in memory, with both real halves."""
    halves: dict[str, InsideHalf] = {"xmpp": XmppInside(), "matrix": MatrixInside()}
    made = Chamber(halves, FakeHost(), Register(bytearray(8 * ROW_SIZE)), KEY, {"alice": mapped()})
    restored, _ = made.from_gateway(link.Restore(account="alice", records=(), last=True))
    assert isinstance(restored, link.Restored)
    assert restored.code == "ok"
    return made


def account(chamber: Chamber) -> Account:
    """Alice."""
    return chamber.accounts["alice"]


def put(chamber: Chamber, name: str, value: object) -> None:
    """A record of the Matrix half."""

    def order(step: Step) -> None:
        step.records.put(name, value)

    assert account(chamber).order("matrix", order).refused is None


def decide(chamber: Chamber, decision: str, key: str | None) -> str:
    """The operator decides, having compared this key."""
    told = {"account": "alice", "contact": "bob", "network": "matrix", "decision": decision, "key": key, "nonce": 1}
    return chamber.decide(control.TrustDecision.model_validate(told))[0]


def pin(chamber: Chamber) -> Pin | None:
    """What is pinned for Bob."""
    found: list[Pin | None] = []
    account(chamber).order("matrix", lambda step: found.append(pin_of(step.records, BOB)))
    return found[0]


def test_a_verification_holds_only_for_the_identity_whose_key_was_compared(chamber: Chamber) -> None:
    put(chamber, f"pin/{BOB}", Pin(PINNED))
    assert decide(chamber, "verify", None) == "other-session"
    assert decide(chamber, "verify", SHOWN) == "other-session"
    assert pin(chamber) == Pin(PINNED)
    assert decide(chamber, "verify", PINNED) == "ok"
    assert pin(chamber) == Pin(PINNED, verified=True, proof=Proof("key", "operator", NOW))


def test_an_approval_holds_only_for_the_identity_that_is_shown_now(chamber: Chamber) -> None:
    put(chamber, f"pin/{BOB}", Pin(PINNED, other=SHOWN))
    assert decide(chamber, "approve", PINNED) == "other-session"
    assert decide(chamber, "approve", None) == "other-session"
    assert decide(chamber, "approve", SHOWN) == "ok"
    assert pin(chamber) == Pin(SHOWN, proof=Proof("approved", "operator", NOW))


def test_distrusting_needs_no_comparison(chamber: Chamber) -> None:
    put(chamber, f"pin/{BOB}", Pin(PINNED))
    assert decide(chamber, "distrust", None) == "ok"
    assert pin(chamber) is None


def test_the_status_tells_of_the_peers_and_of_the_own_identity(chamber: Chamber) -> None:
    put(chamber, f"pin/{BOB}", Pin(PINNED, other=SHOWN))
    put(chamber, "identity", IdentityState(OURS, problem=names.AUTH_REQUIRED))
    status = chamber.status(1)
    (leg,) = [leg for leg in status.legs if leg.network == "matrix"]
    assert leg.identity is not None
    assert (leg.state, leg.identity.state, leg.identity.key) == ("identity-changed", "changed", SHOWN)
    (own,) = status.identities
    assert (own.account, own.state, own.key, own.problem) == ("alice", "none", OURS.public(MASTER), "auth-required")
    FROM_ENCLAVE_CONTROL.encode(status)


def show(chamber: Chamber, account_id: str = "alice", network: str = "matrix") -> tuple[str, str | None]:
    """Ask for the recovery key."""
    code, key, _ = chamber.show_recovery_key(control.ShowRecoveryKey(nonce=1, account=account_id, network=network))
    return code, key


def test_the_recovery_key_is_handed_out_once_and_the_order_never_leaves_in_a_frame(chamber: Chamber) -> None:
    assert show(chamber) == ("no-identity", None)
    put(chamber, "identity", IdentityState(OURS, storage_key=bytes(range(32))))
    assert show(chamber) == ("not-stored", None)
    put(chamber, "identity", IdentityState(OURS, storage_key=bytes(range(32)), stored=True))
    order = control.ShowRecoveryKey(nonce=1, account="alice", network="matrix")
    code, key, [stepped] = chamber.show_recovery_key(order)
    assert code == "ok"
    assert key is not None
    assert read_recovery_key(key).octets == bytes(range(32))
    answer = control.RecoveryKeyShown(nonce=1, code=code, key=key)
    assert key not in repr(answer)
    assert key.encode() not in stepped.model_dump_json().encode()
    FROM_ENCLAVE_CONTROL.encode(answer)
    assert show(chamber) == ("already-shown", None)


def test_only_a_network_with_identities_has_one(chamber: Chamber) -> None:
    assert show(chamber, network="xmpp") == ("unknown-network", None)
    assert show(chamber, account_id="mallory") == ("unknown-account", None)
    order = control.Recover(nonce=1, account="alice", network="matrix", secret="a phrase")
    assert chamber.recover(order)[0] == "not-connected"
    assert "a phrase" not in repr(order)


@pytest.mark.parametrize("code", [names.TOLD_IDENTITY_CHANGED, names.TOLD_NOT_JOINED])
def test_what_the_far_half_wants_known_reaches_the_user_as_a_notice(chamber: Chamber, code: str) -> None:
    stepped = account(chamber).order("matrix", lambda step: step.notify("bob", code))
    (carry,) = stepped.carries
    assert (carry.network, carry.request) == ("xmpp", NOTICE)
    assert cast(Code, carry.values["code"]).v == code
    assert jid_of(cast(Address, carry.values["to"])) == "alice@a.example"
    assert [report.code for report in stepped.reports] == [f"told-{code}"]


def test_nobody_is_told_anything_of_a_stranger(chamber: Chamber) -> None:
    stepped = account(chamber).order("matrix", lambda step: step.notify("eve", names.TOLD_NOT_JOINED))
    assert stepped.refused == "raised-misrouted"


def verify(chamber: Chamber, action: str, **where: str) -> control.VerificationTold:
    """The operator's part in a verification of Bob."""
    values = {"nonce": 7, "account": "alice", "contact": "bob", "network": "matrix", "action": action, **where}
    told, steps = chamber.verify(control.Verify.model_validate(values))
    FROM_ENCLAVE_CONTROL.encode(told)
    assert len(steps) == (1 if told.code not in {"unknown-account", "unknown-contact"} else 0)
    assert told.nonce == 7
    return told


def test_a_verification_is_driven_over_the_control_channel(chamber: Chamber) -> None:
    assert verify(chamber, "show").state == "none"
    assert verify(chamber, "begin").code == "identity-not-ready"
    assert verify(chamber, "match", compared="1000 2000 3000").code == "no-verification"
    assert verify(chamber, "show", network="xmpp").code == "unknown-contact"
    assert verify(chamber, "show", contact="eve").code == "unknown-contact"
    assert verify(chamber, "show", account="mallory").code == "unknown-account"


def test_what_is_compared_crosses_as_numbers(chamber: Chamber) -> None:
    ends = Ends("t", Party(ALICE, "A", "K" * 43, ""), Party(BOB, "B", "L" * 43, "M" * 43))
    sas = Sas((0, 1, 2, 3, 4, 5, 63), (1000, 5000, 9191))
    state = Comparing(Flow(ends, in_room=False), ("emoji", "decimal"), sas, bytes(32))
    put(chamber, f"verifying/{BOB}", Talk("comparing", "t", "", 0))
    put(chamber, f"verifying-state/{BOB}", state)
    told = verify(chamber, "show")
    assert (told.state, told.way, told.emoji, told.decimal) == ("comparing", "to-device", sas.emoji, sas.decimal)
    assert "9191" not in repr(told)
