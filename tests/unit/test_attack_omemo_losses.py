"""What vanishes by OMEMO because of a server that delays, or a device that is not reached: its sender is to know."""

import pytest

from crypto.omemo.faults import OmemoError
from crypto.omemo.names import Namespace
from crypto.omemo.sessions import Sessions
from tests.unit.omemo_site import OMEMO_2, OmemoSite
from tests.unit.omemo_world import End
from tests.unit.xmpp_site import ALICE, BOB


def _ends(form: Namespace) -> tuple[End, End]:
    bob, phone = End.make(BOB, 5), End.make(ALICE, 11)
    phone.hears(bob.says(b"x", form, phone), BOB)
    return bob, phone


@pytest.mark.parametrize("form", Namespace)
@pytest.mark.parametrize("moved", [False, True], ids=["same-key", "next-key"])
def test_a_late_message_whose_key_was_dropped_is_told_of_and_not_taken_for_a_repetition(
    form: Namespace, moved: bool
) -> None:
    bob, phone = _ends(form)
    late, *_, last = [phone.says(b"%d" % n, form, bob) for n in range(9)]
    bob.hears(last, ALICE)
    kept = {name: value for name, value in bob.shelf.values.items() if isinstance(value, Sessions)}
    bob.shelf.values |= {name: value.bare() for name, value in kept.items()}
    if moved:
        phone.hears(bob.says(b"x", form, phone), BOB)
        bob.hears(phone.says(b"y", form, bob), ALICE)
    with pytest.raises(OmemoError) as fault:
        bob.hears(late, ALICE)
    assert fault.value.lost


def test_the_same_when_more_are_missing_than_keys_are_kept_for() -> None:
    form = Namespace.AXOLOTL
    bob, phone = _ends(form)
    said = [phone.says(b"%d" % n, form, bob) for n in range(1200)]
    bob.hears(said[700], ALICE)
    bob.hears(said[-1], ALICE)
    with pytest.raises(OmemoError) as fault:
        bob.hears(said[0], ALICE)
    assert fault.value.lost


@pytest.mark.parametrize("form", Namespace)
def test_where_no_key_was_dropped_a_repetition_is_known_for_one(form: Namespace) -> None:
    bob, phone = _ends(form)
    said = [phone.says(b"%d" % n, form, bob) for n in range(9)]
    for message in said:
        bob.hears(message, ALICE)
    for message in said:
        with pytest.raises(OmemoError) as fault:
            bob.hears(message, ALICE)
        assert not fault.value.lost


def test_a_device_that_cannot_be_written_to_gets_its_receipt_in_clear_and_not_another_device_alone() -> None:
    site = OmemoSite(OMEMO_2, OMEMO_2)
    phone, laptop = site.devices
    site.resources(phone.jid, laptop.jid, able=False)
    for number, device in enumerate(site.devices):
        device.say("hi", f"a{number}")
        site.run()
    site.message("one", "$1")
    site.run()
    site.lost = lambda one: one.request == "omemo-aside"
    laptop.say("they are there", "b0")
    site.run()
    site.lost = lambda _: False
    for key in [key for key in site.nodes.bundles if key[2] == laptop.peer.device_id]:
        del site.nodes.bundles[key]
    site.start(resumed=False)
    phone.say("so that lists are asked for", "b1")
    site.run()
    laptop.say("is anybody there?", "b2")
    site.run()
    assert "is anybody there?" in site.bodies()
    assert "b2" in laptop.acknowledged
    site.close()
