"""Decisions about the user's OMEMO devices on their way through the real chamber: the operator's, and the user's."""

import pytest

from adapters.inside_api import ContactDevice, Step
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_binding import heard, heed
from adapters.xmpp.inside_omemo_vouching import told_of_keys
from adapters.xmpp.pep.names import PEP_REQUESTS
from bridge.wire import control, link
from bridge.wire.values import GATEWAY_CONTACT
from crypto.omemo.envelope import Envelope
from crypto.omemo.fingerprints import fingerprint
from crypto.omemo.names import Namespace
from crypto.omemo.reading import b64
from crypto.xml import parse
from tests.unit.control_site import Desk, mapped
from tests.unit.omemo_world import End
from tests.unit.xmpp_site import ALICE

PHONE, DESKTOP = End.make(ALICE, 11), End.make(ALICE, 22)
ON = (control.Option(name="omemo", value="on"),)


class OmemoDesk(Desk):
    """With OMEMO for all contacts, and two devices of Alice's that have written."""

    def __init__(self) -> None:
        super().__init__()
        on = mapped().model_copy(update={"options": ON})
        for stepped in self.chamber.remap((on,)):
            self.take(stepped)
        self._carried.clear()

        def write(step: Step) -> None:
            contact = step.account.contact_by_id("bob")
            assert contact is not None
            at = LegStep(step, contact)
            for end in (PHONE, DESKTOP):
                heard(at, end.device_id, end.identity, Namespace.AXOLOTL)
            at.finish()

        assert self.account.order("xmpp", write).refused is None

    def take(self, stepped: link.Stepped) -> None:
        """See Desk. Questions to Alice's server, and what is published, are not for her client."""
        super().take(stepped)
        self._carried = [carry for carry in self._carried if carry.request not in PEP_REQUESTS]

    def established(self, *, verified: bool = True) -> "OmemoDesk":
        """See Desk."""
        super().established(verified=verified)
        return self

    @property
    def states(self) -> dict[int, str]:
        """The devices, as the status tells of them."""
        told = [leg.device for leg in self.chamber.status(1).legs if leg.device is not None and leg.device.devices]
        assert len(told) == 1, "they are the account's: told once"
        return {device.id: device.state for device in told[0].devices}

    def decide(self, decision: str, key: str, **values: object) -> str:
        """The operator decides."""
        where = {"nonce": 1, "account": "alice", "contact": "bob", "network": "xmpp", **values}
        told = control.TrustDecision.model_validate({**where, "decision": decision, "device_key": key})
        code, steps = self.chamber.decide(told)
        for step in steps:
            assert step.refused is None
        return code


def test_the_status_tells_of_the_contacts_device_and_the_users() -> None:
    desk = OmemoDesk()
    legs = {(leg.contact, leg.network): leg.device for leg in desk.chamber.status(1).legs}
    assert legs["bob", "matrix"] is None
    bob = legs["bob", "xmpp"]
    assert bob is not None
    assert {device.id: device.key for device in bob.devices} == {11: PHONE.identity.hex(), 22: DESKTOP.identity.hex()}
    assert desk.states == {11: "blind", 22: "blind"}


def test_without_omemo_it_tells_of_none() -> None:
    assert all(leg.device is None for leg in Desk().chamber.status(1).legs)


def test_the_operator_decides_about_one_key() -> None:
    desk = OmemoDesk()
    assert desk.decide("verify", PHONE.identity.hex()) == "ok"
    assert desk.decide("distrust", DESKTOP.identity.hex()) == "ok"
    assert desk.states == {11: "verified", 22: "distrusted"}


@pytest.mark.parametrize(
    ("decision", "network", "code"),
    [
        ("approve", "xmpp", "unknown-decision"),
        ("verify", "matrix", "unknown-decision"),
        ("verify", "xmpp", "unknown-key"),
    ],
)
def test_what_cannot_be_decided_is_not(decision: str, network: str, code: str) -> None:
    desk = OmemoDesk()
    assert desk.decide(decision, "ab" * 32, network=network) == code
    assert desk.states == {11: "blind", 22: "blind"}


def test_a_key_of_another_form_does_not_reach_the_enclave() -> None:
    with pytest.raises(ValueError, match="device_key"):
        OmemoDesk().decide("verify", "AB" * 32)


def test_the_user_sees_and_decides_in_a_session_that_was_compared() -> None:
    desk = OmemoDesk().established()
    shown = desk.says("devices")
    assert f"Device 11: trusted, not verified\n{fingerprint(PHONE.identity)}" in shown
    assert "noted" in desk.says(f"trust {fingerprint(PHONE.identity)}")
    assert "noted" in desk.says(f"DISTRUST {DESKTOP.identity.hex().upper()}")
    assert desk.states == {11: "verified", 22: "distrusted"}
    again = desk.says("devices")
    assert "Device 11: verified" in again
    assert "Device 22: not trusted" in again


def test_what_a_device_vouched_for_is_told_with_the_device() -> None:
    desk = OmemoDesk().established()
    assert desk.decide("verify", PHONE.identity.hex()) == "ok"

    def vouch(step: Step) -> None:
        contact = step.account.contact_by_id("bob")
        assert contact is not None
        at = LegStep(step, contact)
        assert told_of_keys(at, vouching(DESKTOP), PHONE.identity, PHONE.device_id)
        heed(at)
        at.finish()

    assert desk.account.order("xmpp", vouch).refused is None
    assert "Device 22: verified (by automatic trust from device 11)" in desk.says("devices")
    assert "Device 11: verified\n" in desk.says("devices")
    told = next(leg.device for leg in desk.chamber.status(1).legs if leg.device is not None and leg.device.devices)
    assert [(each.id, each.by, each.voucher) for each in told.devices] == [(11, "operator", 0), (22, "device", 11)]
    desk.says(f"trust {fingerprint(DESKTOP.identity)}")
    assert "automatic" not in desk.says("devices")


def vouching(end: End) -> Envelope:
    """What is inside a trust message for a device's key."""
    text = f"""<content xmlns='urn:xmpp:sce:1'>
      <trust-message xmlns='urn:xmpp:tm:1' usage='urn:xmpp:atm:1' encryption='urn:xmpp:omemo:2'>
        <key-owner jid='{ALICE}'><trust>{b64(end.identity)}</trust></key-owner>
      </trust-message></content>"""
    return Envelope(parse(text.encode()).elements, "2027-01-15T07:00:00Z")


def test_in_another_session_the_user_sees_but_does_not_decide() -> None:
    desk = OmemoDesk().established(verified=False)
    assert "Device 11" in desk.says("devices")
    assert "was not compared" in desk.says("devices")
    assert "Not in this session" in desk.says(f"trust {fingerprint(PHONE.identity)}")
    assert desk.states == {11: "blind", 22: "blind"}


def test_orders_that_name_no_key_are_answered_with_what_is_missing() -> None:
    desk = OmemoDesk().established()
    assert "whole fingerprint" in desk.says("trust")
    assert "64 digits" in desk.says("trust 1234")
    assert "None of your devices" in desk.says(f"trust {'ab' * 32}")
    assert "devices" in desk.says("help")


def test_the_fingerprint_of_a_contact_is_told_with_the_address_that_clients_scan() -> None:
    desk = OmemoDesk().established()
    found = next(leg.device for leg in desk.chamber.status(1).legs if leg.contact == "bob" and leg.device is not None)
    assert isinstance(found, control.ContactDevice)
    told = desk.says("fingerprints bob")
    assert fingerprint(bytes.fromhex(found.key)) in told
    assert f"xmpp:bob@gate.example?omemo-sid-{found.id}={found.key}" in told


def test_the_gateway_itself_is_a_device_too() -> None:
    desk = OmemoDesk().established()
    legs = {leg.contact: leg.device for leg in desk.chamber.status(1).legs if leg.network == "xmpp"}
    assert legs[GATEWAY_CONTACT] is not None
    assert ContactDevice(1, "x").devices == ()
