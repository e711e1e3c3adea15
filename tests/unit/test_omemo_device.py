"""A device's keys: made once, used once, changed in time."""

import pytest

from crypto.errors import Misuse
from crypto.omemo import curve, device
from crypto.omemo.bundles import require_signed
from crypto.omemo.device import Keys
from crypto.omemo.faults import UnknownPreKey
from crypto.omemo.names import PREKEYS, SIGNED_PREKEY_MS, Namespace
from crypto.omemo.store import Within
from tests.unit.omemo_world import NOW, Dice, End, Shelf

ALICE = "alice@example.org"
forms = pytest.mark.parametrize("form", list(Namespace), ids=lambda form: form.short)


def bob() -> End:
    return End.make("bob@matrix.example.org", 2002)


def keys(end: End, form: Namespace) -> Keys:
    found: Keys = end.shelf.values[f"keys/{form.short}"]
    return found


@forms
def test_a_new_device_offers_a_hundred_prekeys_and_a_signed_one(form: Namespace) -> None:
    bundle = bob().bundle(form)
    require_signed(bundle)
    assert len({key.id for key in bundle.prekeys}) == len({key.public for key in bundle.prekeys}) == PREKEYS
    assert not curve.sign_of(bundle.signing_key)
    assert curve.agreement_key(bundle.signing_key) == bundle.identity_key


def test_one_identity_key_serves_both_forms_and_nothing_else_is_shared() -> None:
    one, other = (bob().bundle(form) for form in Namespace)
    assert one.identity_key == other.identity_key
    assert {key.public for key in one.prekeys}.isdisjoint({key.public for key in other.prekeys})
    assert one.signed_key != other.signed_key


def test_a_device_is_made_once_and_with_an_id_that_is_one() -> None:
    end = bob()
    before = dict(end.shelf.values)
    with pytest.raises(Misuse):
        device.created(end.shelf, end.dice, device_id=7, now_ms=NOW)
    assert end.shelf.values == before
    for id_ in (0, 1 << 31, -1):
        shelf = Shelf()
        with pytest.raises(Misuse):
            device.created(shelf, end.dice, device_id=id_, now_ms=NOW)
        assert shelf.values == {}
    assert device.own(Shelf()) is None
    with pytest.raises(Misuse):
        device.public_bundle(Shelf(), Namespace.OMEMO_2)


def test_device_ids_are_between_one_and_two_to_the_thirty_one() -> None:
    assert device.drawn_device_id(lambda _, size: bytes(size)) == 1
    assert all(1 <= device.drawn_device_id(Dice(str(n))) < 1 << 31 for n in range(200))


@forms
def test_a_used_prekey_is_made_up_for_and_published_anew_once(form: Namespace) -> None:
    alice, end = End.make(ALICE, 1001), bob()
    before = {key.id for key in end.bundle(form).prekeys}
    assert device.maintained(end.shelf, end.dice, NOW) == ()
    end.hears(alice.says(b"x", form, end), ALICE)
    assert len(keys(end, form).prekeys) == PREKEYS - 1
    assert device.maintained(end.shelf, end.dice, NOW) == (form,)
    assert device.maintained(end.shelf, end.dice, NOW) == ()
    after = {key.id for key in end.bundle(form).prekeys}
    assert len(after) == PREKEYS
    assert after - before == {PREKEYS + 1}, "no id is used again soon"


@forms
def test_signed_prekeys_change_weekly_and_open_for_a_week_more(form: Namespace) -> None:
    alice, carol, end = End.make(ALICE, 1001), End.make("carol@example.org", 3), bob()
    dave = End.make("dave@example.org", 4)
    late, later, fresh = (other.says(b"x", form, end) for other in (alice, carol, dave))
    first = end.bundle(form)
    assert device.maintained(end.shelf, end.dice, NOW + SIGNED_PREKEY_MS - 1) == ()
    assert device.maintained(end.shelf, end.dice, NOW + SIGNED_PREKEY_MS) == tuple(Namespace)
    second = end.bundle(form)
    assert (second.signed_id, second.signed_key == first.signed_key) == (first.signed_id + 1, False)
    require_signed(second)
    assert end.hears(late, ALICE).plaintext == b"x"
    assert device.maintained(end.shelf, end.dice, NOW + 2 * SIGNED_PREKEY_MS)
    for message, sender in ((later, "carol@example.org"), (fresh, "dave@example.org")):
        with pytest.raises(UnknownPreKey):
            end.hears(message, sender)


def test_ids_of_prekeys_go_round_before_they_get_too_large() -> None:
    assert device._after((1 << 24) - 1) == 1
    assert device._after(1) == 2


def test_a_store_within_another_keeps_to_its_prefix() -> None:
    shelf = Shelf()
    within = Within(shelf, "omemo/bob/")
    device.created(within, Dice("x"), device_id=5, now_ms=NOW)
    assert set(shelf.values) == {"omemo/bob/device", "omemo/bob/keys/2", "omemo/bob/keys/axolotl"}
    assert device.own(within) is not None
    within.delete("device")
    assert device.own(within) is None
