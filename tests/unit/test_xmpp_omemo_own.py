"""Contacts as OMEMO devices: what their JIDs publish, when anew, and that nothing else leaves."""

import base64
import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from adapters.xmpp.inside_omemo_own import LOOK_MS, Published, keys_used, store_in, store_of
from adapters.xmpp.names import jid_of
from adapters.xmpp.outside_pep import PUSHED
from adapters.xmpp.pep.names import NODES, NS_PUBSUB, PUBLISH, RETRACT, Items
from bridge.wire.values import Address, Opaque, Public
from crypto.omemo.bundles import read_bundle
from crypto.omemo.conversation import decrypted
from crypto.omemo.device import Device, Keys, keys_name, own, public_bundle
from crypto.omemo.elements import read_device_list
from crypto.omemo.model import Bundle
from crypto.omemo.names import DEVICES_NODE, PREKEYS, SIGNED_PREKEY_MS, Namespace, bundle_item, bundles_node
from crypto.xml import parse
from tests.unit.omemo_desk import NEW, OLD, ON, Desk
from tests.unit.omemo_world import End
from tests.unit.xmpp_site import ALICE, BOB

PHONE = End.make(ALICE, 11)


def device_id(desk: Desk) -> int:
    """Bob's device."""
    found = own(store_in(desk.records, "bob"))
    assert found is not None
    return found.device_id


def served(desk: Desk, node: str, item: str | None = None) -> list[ET.Element]:
    """What Alice's client gets when it asks Bob's JID for a node."""
    wanted = "" if item is None else f"<item id='{item}'/>"
    asked = f"<pubsub xmlns='{NS_PUBSUB}'><items node='{node}'>{wanted}</items></pubsub>"
    iq = ET.fromstring(f"<iq type='get' from='{ALICE}/phone' to='{BOB}' id='1'>{asked}</iq>")
    reply = desk.pep.reply(iq, "alice", BOB)
    assert reply is not None
    return list(ET.fromstring(reply).iter(f"{{{NS_PUBSUB}}}item"))


def bundle(desk: Desk, form: Namespace) -> Bundle:
    """The keys as they are served."""
    id_ = device_id(desk)
    (item,) = served(desk, bundles_node(form, id_), bundle_item(form, id_))
    return read_bundle(parse(ET.tostring(item[0])))


def lists(desk: Desk) -> list[tuple[int, ...]]:
    """The device lists as they are served, in both forms."""
    found = []
    for form in Namespace:
        for item in served(desk, DEVICES_NODE[form]):
            assert item.get("id") == "current"
            found.append(read_device_list(parse(ET.tostring(item[0]))).ids)
    return found


def published(desk: Desk) -> int:
    """How many items were published so far."""
    return sum(one.request == PUBLISH for one in desk.carried)


@pytest.mark.parametrize("form", list(Namespace))
def test_a_contact_is_a_device_whose_keys_its_jid_serves(form: Namespace) -> None:
    desk = Desk().begin()
    assert bundle(desk, form) == public_bundle(store_in(desk.records, "bob"), form)
    assert len(bundle(desk, form).prekeys) == PREKEYS
    assert lists(desk) == [(device_id(desk),)] * 2
    assert served(desk, bundles_node(form, device_id(desk)), "4711") == []


def test_every_contact_is_another_device() -> None:
    desk = Desk().begin()
    found = [own(store_in(desk.records, name)) for name in ("bob", "eve")]
    assert all(found)
    assert len({each.device_id for each in found if each}) == len({each.identity_key for each in found if each}) == 2


def test_nothing_is_made_or_published_while_it_is_off() -> None:
    desk = Desk({}, eve=ON).begin()
    assert {jid_of(v) for one in desk.carried if isinstance(v := one.values["from"], Address)} == {
        "eve@matrix.example.org"
    }
    assert list(desk.records.names("omemo/bob/")) == []


def test_the_keys_are_published_before_the_list_that_names_them() -> None:
    desk = Desk().begin()
    nodes = [str(one.values["node"].v) for one in desk.carried if one.lane == "omemo/bob"]
    assert nodes == ["omemo-bundles", "axolotl-bundle", "omemo-devices", "axolotl-devices"]


def test_a_restart_publishes_nothing_anew_unless_the_state_may_be_old() -> None:
    desk = Desk().begin()
    id_, before = device_id(desk), published(desk)
    desk.begin()
    assert published(desk) == before
    desk.begin(resumed=False)
    assert published(desk) == 2 * before
    assert device_id(desk) == id_


def test_a_prekey_that_was_used_is_made_up_for_and_what_is_served_follows() -> None:
    desk = Desk().begin()
    old = bundle(desk, OLD)
    message = PHONE.says(b"hi", OLD, End(BOB, device_id(desk), shelf=_Over(desk), dice=PHONE.dice))  # type: ignore[arg-type]

    def take(at: Any) -> None:
        opened = decrypted(store_of(at), at.step.draw, message, own_jid=BOB, sender_jid=ALICE)
        assert opened.keys_used
        keys_used(at)

    desk.at(take)
    desk.settle()
    new = bundle(desk, OLD)
    assert len(new.prekeys) == PREKEYS
    assert len(set(new.prekeys) - set(old.prekeys)) == 1
    assert new.signed_key == old.signed_key


class _Over:
    """Bob's store, for a peer that needs his bundle only."""

    def __init__(self, desk: Desk) -> None:
        self._store = store_in(desk.records, "bob")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_the_signed_prekey_is_renewed_by_time_alone() -> None:
    desk = Desk().begin()
    old = {form: bundle(desk, form).signed_key for form in Namespace}
    desk.later(SIGNED_PREKEY_MS / 1000 - 10)
    assert {form: bundle(desk, form).signed_key for form in Namespace} == old
    desk.later(LOOK_MS / 1000 + 20)
    assert all(bundle(desk, form).signed_key != old[form] for form in Namespace)


def test_when_it_is_turned_off_what_was_published_is_taken_back_and_the_device_stays() -> None:
    desk = Desk().begin()
    id_ = device_id(desk)
    desk.allow({})
    desk.begin()
    assert lists(desk) == []
    assert served(desk, bundles_node(OLD, id_)) == served(desk, bundles_node(NEW, id_)) == []
    lasts = [str(one.values["content"].v) for one in desk.carried if one.request == PUBLISH][-2:]
    assert all("device id" not in last for last in lasts), "clients are told of an empty list"
    assert sum(one.request == RETRACT for one in desk.carried) == 8
    desk.allow(ON)
    desk.begin()
    assert lists(desk) == [(id_,)] * 2


def test_a_contact_that_is_not_mapped_any_more_is_no_device_any_more() -> None:
    desk = Desk().begin()
    account = desk.step.account
    desk.step.account = replace(account, contacts=account.contacts[:1])
    desk.begin()
    assert list(desk.records.names("omemo/eve/")) == []
    assert desk.records.get("omemo-own/eve", Published) is None
    assert own(store_in(desk.records, "bob")) is not None


def test_subscribers_are_told_of_changes_of_the_lists() -> None:
    assert set(DEVICES_NODE.values()) <= PUSHED


def test_the_nodes_are_those_of_the_specification() -> None:
    for form, code in ((OLD, "axolotl-devices"), (NEW, "omemo-devices")):
        assert NODES[code] == DEVICES_NODE[form]
    assert NODES["axolotl-bundle"].format(number=5) == bundles_node(OLD, 5)
    assert NODES["omemo-bundles"] == bundles_node(NEW, 5)


def test_no_private_key_is_in_anything_that_leaves() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    desk.reach()
    secrets = []
    for name in ("bob", "eve"):
        store = store_in(desk.records, name)
        device = store.get("device", Device)
        assert device is not None
        secrets += [device.seed, device.identity]
        for form in Namespace:
            keys = store.get(keys_name(form), Keys)
            assert keys is not None
            secrets += [keys.signed.private, *(key.private for key in keys.prekeys)]
    assert len(secrets) == 2 * (2 + 2 * (1 + PREKEYS))
    left = b"\n".join(_octets(value) for one in desk.carried for value in one.values.values())
    assert len(left) > 10_000
    for secret in secrets:
        for form_of in (bytes(secret), base64.b64encode(secret), secret.hex().encode(), secret.hex().upper().encode()):
            assert form_of.rstrip(b"=") not in left


def _octets(value: object) -> bytes:
    return value.v if isinstance(value, Public) else str(getattr(value, "v", "")).encode()


def test_records_survive_being_written_down() -> None:
    desk = Desk().begin()
    desk.nodes.announce(PHONE, forms=(OLD, NEW))
    desk.reach()
    for name in desk.records.names("omemo"):
        value = desk.records.held[name]
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=type(value)) == value, name


def test_items_with_a_number_or_a_reason_are_written_and_read_the_same() -> None:
    for items in (Items("b", "n", False, (), 7, "forbidden"), Items("b", "n", True, ("<x/>",), None, "")):
        assert Items.decode(items.encode()) == items
    good: dict[str, object] = json.loads(Items("b", "n", True, ()).encode())
    numbers: list[object] = [-1, True, 1 << 32, "1"]
    wrongs: list[dict[str, object]] = [{"number": n} for n in numbers]
    wrongs += [{"why": "because"}, {"why": None}]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="not the items of a node"):
            Items.decode(json.dumps({**good, **wrong}).encode())


def test_the_id_of_an_item_is_public() -> None:
    desk = Desk().begin()
    items = {one.values["item"] for one in desk.carried if one.request == PUBLISH and "item" in one.values}
    assert items == {Opaque(v="current"), *(Opaque(v=str(d)) for d in _ids(desk))}


def _ids(desk: Desk) -> list[int]:
    found = [own(store_in(desk.records, name)) for name in ("bob", "eve")]
    return [each.device_id for each in found if each]
