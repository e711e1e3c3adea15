"""Why a leg is believed, by whom and since when: kept with the session or the identity, told to the operator."""

import pytest

from bridge.cli.trust import show_trust
from bridge.wire.codec import FROM_ENCLAVE_CONTROL
from bridge.wire.values import GATEWAY_CONTACT
from crypto.enclave.run import Egress, HalfStep, Misrouted
from crypto.esession.profiles import Profile
from tests.unit.config_site import Site as Folder
from tests.unit.control_site import Desk
from tests.unit.test_cli_running import LEG, STATUS, Gateway, gateway, site
from tests.unit.test_xmpp_held_sessions import PROFILES, decide, status, verified

__all__ = ["gateway", "site"]

NOON_MS = 1_795_003_200_000


@PROFILES
def test_a_compared_string_is_remembered_with_its_time_until_it_is_distrusted(profile: Profile) -> None:
    table = verified(profile)
    proof = status(table).proof
    assert proof is not None
    assert (proof.how, proof.by) == ("string", "operator")
    assert 0 <= table.step.now - proof.at_ms < 60_000
    decide(table, "distrust")
    table.run()
    assert status(table).proof is None


def test_a_session_that_nobody_compared_has_no_proof() -> None:
    desk = Desk().established(verified=False)
    (leg,) = [leg for leg in desk.account.status() if leg.contact == GATEWAY_CONTACT]
    assert (leg.network, leg.verified, leg.proof) == ("xmpp", False, None)


def test_the_proof_crosses_to_the_operator() -> None:
    desk = Desk().established()
    word = desk.chamber.status(3)
    assert FROM_ENCLAVE_CONTROL.decode(FROM_ENCLAVE_CONTROL.encode(word)[4:]) == word
    (leg,) = [leg for leg in word.legs if leg.contact == GATEWAY_CONTACT]
    assert leg.proof is not None
    assert (leg.proof.how, leg.proof.by) == ("string", "operator")


def test_the_leg_to_the_gateway_itself_is_told_only_once_it_is_used() -> None:
    assert [leg.contact for leg in Desk().account.status()] == ["bob", "bob"]


@pytest.mark.parametrize("network", ["xmpp", "matrix"])
def test_no_other_half_acts_for_the_user(network: str) -> None:
    desk, raised = Desk(), []

    def act(step: HalfStep) -> None:
        for order in (lambda: step.drive(step.account.contacts[0], "begin"), step.legs, step.own_identities):
            with pytest.raises(Misrouted) as error:
                order()
            raised.append(error.value)

    desk.account.order(network, act)
    assert len(raised) == 3


def test_the_half_of_the_gateway_itself_can_send_nothing_out() -> None:
    desk, raised = Desk(), []

    def act(step: HalfStep) -> None:
        with pytest.raises(Egress) as error:
            step.carry("anything", {}, lane="x")
        raised.append(error.value)

    desk.account.order("control", act)
    assert raised


def test_trust_show_says_how_by_whom_and_when(
    gateway: Gateway, site: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    def proof(how: str, by: str) -> dict[str, object]:
        return {"proof": {"how": how, "by": by, "at_ms": NOON_MS}}

    bob = {"state": "verified", "key": "K" * 43, "served": ["PHONE"], "withheld": ["OLD"], "rotated_ms": NOON_MS}
    legs = [
        {**LEG, **proof("string", "operator")},
        {**LEG, "network": "matrix", "sas": None, "identity": bob, **proof("emoji", "user")},
        {**LEG, "contact": "eve", "network": "matrix", "sas": None, "identity": bob, **proof("first-use", "nobody")},
    ]
    gateway.status = {**STATUS, "legs": legs}
    show_trust(site.file, None, as_json=False)
    printed = capsys.readouterr().out
    assert "string compared by the operator 2026-11-18T12:00:00+00:00" in printed
    assert "PHONE\tOLD\t2026-11-18T12:00:00+00:00\temoji compared by the user 2026-11-18T12:00:00+00:00" in printed
    assert "first use 2026-11-18T12:00:00+00:00" in printed
