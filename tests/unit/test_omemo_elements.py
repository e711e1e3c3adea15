"""Device lists, bundles and messages of OMEMO as XML: what is read, what is passed over, what is refused."""

from dataclasses import replace

import pytest

from crypto.omemo import curve
from crypto.omemo.bundles import bundle_element, read_bundle
from crypto.omemo.elements import (
    device_list_element,
    is_encrypted,
    label_is_signed,
    message_element,
    read_device_list,
    read_message,
)
from crypto.omemo.faults import BadBundle, Malformed, OmemoError
from crypto.omemo.frames import encoded_key
from crypto.omemo.model import DeviceList, Key, ListedDevice, Message
from crypto.omemo.names import MAX_DEVICES, MAX_KEYS, MAX_PREKEYS, Namespace, bundle_item, bundles_node, hints
from crypto.xml import Element, element, parse, serialize
from tests.unit.omemo_peer import Nodes, Peer
from tests.unit.omemo_world import Dice, End

forms = pytest.mark.parametrize("form", list(Namespace), ids=lambda form: form.short)
OMEMO_2, AXOLOTL = Namespace.OMEMO_2, Namespace.AXOLOTL


def again(read: Element) -> Element:
    return parse(serialize(read))


# ---------------------------------------------------------------- device lists
@forms
def test_device_lists_read_back(form: Namespace) -> None:
    devices = DeviceList(form, (ListedDevice(1), ListedDevice((1 << 31) - 1)))
    assert read_device_list(again(device_list_element(devices))) == devices
    assert read_device_list(again(device_list_element(DeviceList(form, ())))).ids == ()


def test_labels_stand_in_the_newer_form_and_count_when_they_are_signed() -> None:
    bundle = End.make("a@b", 1).bundle(OMEMO_2)
    private = curve.private_key(bytes(32))
    signing = curve.signing_key(curve.public_key(private))
    signature = curve.signature(private, "Küche".encode(), Dice("x"))
    listed = ListedDevice(1, "Küche", signature)
    read = read_device_list(again(device_list_element(DeviceList(OMEMO_2, (listed,)))))
    assert read.devices == (listed,)
    assert label_is_signed(listed, signing)
    assert not label_is_signed(listed, bundle.signing_key)
    assert not label_is_signed(replace(listed, label="Keller"), signing)
    assert not label_is_signed(ListedDevice(1), signing)
    older = device_list_element(DeviceList(AXOLOTL, (listed,)))
    assert read_device_list(again(older)).devices == (ListedDevice(1),)


@forms
def test_entries_of_a_device_list_that_are_none_are_passed_over(form: Namespace) -> None:
    name = "devices" if form is OMEMO_2 else "list"
    ids = ["7", "0", "-1", "x", "", "4294967296", "99999999999", "7", "٧", " 8", "9"]
    children = [element(form, "device", id=id_) for id_ in ids]
    strange = [element(form, "device"), element("other", "device", id="3"), element(form, "gadget", id="4")]
    assert read_device_list(element(form, name, *children, *strange)).ids == (7, 9)


@forms
def test_of_a_very_long_device_list_the_beginning_is_taken(form: Namespace) -> None:
    devices = DeviceList(form, tuple(ListedDevice(n + 1) for n in range(900)))
    assert read_device_list(device_list_element(devices)).ids == tuple(range(1, MAX_DEVICES + 1))


# ---------------------------------------------------------------- bundles
@forms
def test_bundles_read_back(form: Namespace) -> None:
    bundle = End.make("a@b", 1).bundle(form)
    assert read_bundle(again(bundle_element(bundle))) == bundle


async def test_bundles_of_identity_keys_of_either_sign_read_back() -> None:
    signs = set()
    for _ in range(40):
        peer = await Peer.make(Nodes(), "a@b", (AXOLOTL,))
        bundle = peer.bundle(AXOLOTL)
        assert read_bundle(again(bundle_element(bundle))) == bundle
        signs.add(curve.sign_of(bundle.signing_key))
        if len(signs) == 2:
            return
    raise AssertionError("forty keys of one sign")


def _changed(read: Element, name: str, *children: Element) -> Element:
    kept = tuple(child for child in read.elements if child.name != name)
    return replace(read, children=(*kept, *children))


@forms
def test_bundles_that_lack_or_double_a_part_are_refused(form: Namespace) -> None:
    good = bundle_element(End.make("a@b", 1).bundle(form))
    for part in good.elements:
        for children in ((), (part, part), (replace(part, children=()),), (replace(part, children=("***",)),)):
            if part.name == "prekeys" and len(children) == 1:
                continue
            with pytest.raises(Malformed):
                read_bundle(_changed(good, part.name, *children))
    with pytest.raises(Malformed):
        read_bundle(replace(good, name="bundles"))


@forms
def test_bundles_signed_by_another_key_are_refused(form: Namespace) -> None:
    one, other = (bundle_element(End.make("a@b", n).bundle(form)) for n in (1, 2))
    for part in one.elements[:3]:
        (instead,) = (each for each in other.elements if each.name == part.name)
        with pytest.raises(BadBundle):
            read_bundle(_changed(one, part.name, instead))


@forms
def test_prekeys_are_bounded_doubles_are_dropped_and_wrong_ones_refused(form: Namespace) -> None:
    bundle = End.make("a@b", 1).bundle(form)
    many = replace(bundle, prekeys=tuple(replace(bundle.prekeys[0], id=n + 1) for n in range(900)))
    assert len(read_bundle(bundle_element(many)).prekeys) == MAX_PREKEYS
    double = replace(bundle, prekeys=(bundle.prekeys[0], replace(bundle.prekeys[1], id=bundle.prekeys[0].id)))
    assert read_bundle(bundle_element(double)).prekeys == bundle.prekeys[:1]
    for public in (b"", bytes(31), bytes(33)):
        with pytest.raises(Malformed):
            read_bundle(bundle_element(replace(bundle, prekeys=(replace(bundle.prekeys[0], public=public),))))
    with pytest.raises(Malformed):
        read_bundle(bundle_element(replace(bundle, prekeys=(replace(bundle.prekeys[0], id=0),))))


def test_identity_keys_that_are_no_points_to_agree_with_are_refused() -> None:
    bundle = End.make("a@b", 1).bundle(OMEMO_2)
    for key in (bytes(32), b"\1" + bytes(31), b"\xff" * 32, b"\2" + bytes(31)):
        with pytest.raises(OmemoError):
            read_bundle(bundle_element(replace(bundle, signing_key=key)))


# ---------------------------------------------------------------- messages
@forms
def test_messages_read_back(form: Namespace) -> None:
    jids = ("a@b", "a@b", "c@d") if form is OMEMO_2 else (None, None, None)
    keys = tuple(Key(jid, n + 1, n == 1, bytes([n])) for n, jid in enumerate(jids))
    iv = None if form is OMEMO_2 else bytes(12)
    for payload in (b"sealed", None):
        message = Message(form, 77, keys, iv, payload)
        assert read_message(again(message_element(message))) == message


def _header(form: Namespace, **attributes: str) -> list[Element]:
    key = element(form, "key", "AAAA", rid="1")
    inside = [element(form, "keys", key, jid="a@b")] if form is OMEMO_2 else [key, element(form, "iv", "AAAA")]
    return [element(form, "header", *inside, **attributes)]


@forms
def test_messages_that_are_none_are_refused(form: Namespace) -> None:
    good = _header(form, sid="5")
    assert read_message(element(form, "encrypted", *good)).sender_device == 5
    payload = element(form, "payload", "AAAA")
    for children in (
        [],
        good * 2,
        _header(form),
        _header(form, sid="0"),
        _header(form, sid="1.5"),
        [*good, payload, payload],
        [*good, element(form, "payload", "AAA")],
        [*good, element(form, "payload", "ÄÖÜß")],
    ):
        with pytest.raises(Malformed):
            read_message(element(form, "encrypted", *children))
    with pytest.raises(Malformed):
        read_message(element("other", "encrypted", *good))


@forms
def test_parts_for_devices_are_bounded_in_number_and_size(form: Namespace) -> None:
    key = Key("a@b" if form is OMEMO_2 else None, 1, False, b"x")
    most = Message(form, 1, (key,) * MAX_KEYS, bytes(12) if form is AXOLOTL else None)
    assert len(read_message(message_element(most)).keys) == MAX_KEYS
    for keys in ((key,) * (MAX_KEYS + 1), (replace(key, octets=bytes(5000)),)):
        with pytest.raises(Malformed):
            read_message(message_element(replace(most, keys=keys)))


def test_a_flag_is_a_flag_and_missing_ones_are_false() -> None:
    for text, value in (("true", True), ("1", True), ("false", False), ("0", False)):
        key = element(AXOLOTL, "key", "AA==", rid="1", prekey=text)
        read = read_message(
            element(AXOLOTL, "encrypted", element(AXOLOTL, "header", key, element(AXOLOTL, "iv"), sid="1"))
        )
        assert read.keys[0].prekey is value
    key = element(AXOLOTL, "key", "AA==", rid="1", prekey="yes")
    with pytest.raises(Malformed):
        read_message(element(AXOLOTL, "encrypted", element(AXOLOTL, "header", key, element(AXOLOTL, "iv"), sid="1")))


def test_white_space_in_base64_is_passed_over() -> None:
    key = element(AXOLOTL, "key", "\n AA\n ==", rid="1")
    header = element(AXOLOTL, "header", key, element(AXOLOTL, "iv", " AAAA\n"), sid="1")
    read = read_message(element(AXOLOTL, "encrypted", header))
    assert (read.keys[0].octets, read.iv) == (b"\0", bytes(3))


def test_messages_are_known_by_their_element() -> None:
    assert is_encrypted(element(OMEMO_2, "encrypted")) is OMEMO_2
    assert is_encrypted(element(AXOLOTL, "encrypted")) is AXOLOTL
    assert is_encrypted(element(AXOLOTL, "bundle")) is None
    assert is_encrypted(element("urn:x", "encrypted")) is None


def test_nodes_items_and_hints_are_those_of_each_form() -> None:
    assert (bundles_node(OMEMO_2, 5), bundle_item(OMEMO_2, 5)) == ("urn:xmpp:omemo:2:bundles", "5")
    assert bundles_node(AXOLOTL, 5) == "eu.siacs.conversations.axolotl.bundles:5"
    assert bundle_item(AXOLOTL, 5) == "current"
    named, stored = hints(AXOLOTL)
    assert named.attribute("namespace") == AXOLOTL
    assert (stored.namespace, stored.name) == ("urn:xmpp:hints", "store")
    assert encoded_key(OMEMO_2, b"k" * 32) == b"k" * 32
