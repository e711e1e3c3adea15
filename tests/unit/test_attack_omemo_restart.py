"""What goes wrong about messages that are under way when sessions are given up, or come back from the user's server."""

from collections.abc import Iterator

import pytest

from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_arrivals import key_decided
from adapters.xmpp.inside_omemo_state import devices_in
from adapters.xmpp.names import RECEIPT
from adapters.xmpp.pep.names import PEP_EVENT, Items
from crypto.enclave.vault import MAX_CHANGES
from crypto.message import Assurance
from crypto.omemo.fingerprints import fingerprint
from crypto.omemo.names import Namespace
from crypto.xml import serialize
from tests.unit.omemo_site import AXOLOTL, OMEMO_2, OmemoSite
from tests.unit.test_attack_omemo import BIG, steps
from tests.unit.xmpp_site import ALICE, BOB

ASIDE = "omemo-aside"
_ERROR = "<error type='wait'><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"


def met(*forms: tuple[Namespace, ...], require: Assurance = Assurance.END_TO_END) -> OmemoSite:
    """Each of her devices is there, wrote, and read something: new messages of its need no new ratchet key."""
    site = OmemoSite(*forms, require=require)
    site.resources(*(device.jid for device in site.devices), able=False)
    for number, device in enumerate(site.devices):
        device.say("hi", f"a{number}")
        site.run()
    site.message("one", "$1")
    site.run()
    assert all(device.shown == ["one"] for device in site.devices)
    return site


def send_back(site: OmemoSite, *ids: str) -> None:
    """Her server could not keep a message."""
    for id_ in ids:
        site.arrive(f"<message from='{ALICE}' to='{BOB}/lockgate' type='error' id='{id_}'>{_ERROR}</message>".encode())


@pytest.fixture(params=[AXOLOTL, OMEMO_2], ids=["axolotl", "omemo-2"])
def site(request: pytest.FixtureRequest) -> Iterator[OmemoSite]:
    """Of two messages she has the first; the server took the second one as well."""
    made = met(request.param)
    made.unheard = lambda: True
    made.message("two", "$2")
    made.run()
    made.unheard = lambda: False
    yield made
    made.close()


# ---------------------------------------------------------------- sessions that are given up
def test_an_account_with_many_large_messages_under_way_starts_in_a_step_that_fits_one_frame() -> None:
    site = met(AXOLOTL)
    site.unheard = lambda: True
    for number in range(250):
        site.message("x" * BIG, f"$b{number}")
        site.run()
    sizes = steps(site)
    site.start(resumed=False)
    site.unheard = lambda: False
    site.wait(60)
    assert max(sizes) < MAX_CHANGES // 2
    assert len(site.step.done) == len(site.devices[0].shown) == 251
    site.close()


def test_a_receipt_of_ours_begins_no_session_before_they_are_settled(site: OmemoSite) -> None:
    (device,) = site.devices
    site.lost = lambda one: one.request == ASIDE  # else her next message would move the old session on
    device.say("a", "x1")
    site.run()
    site.lost = lambda _: False
    site.unheard = lambda: True
    site.start(resumed=False)
    site.run()
    site.unheard = lambda: False
    device.say("b", "x2")
    site.message("three", "$3")
    site.wait(60)
    assert device.shown == ["one", "two", "three"]
    assert device.undecryptable == 0
    assert site.bodies() == ["hi", "a", "b"]
    assert "x2" in device.acknowledged


def test_copies_of_what_goes_out_in_a_session_begin_none_before_they_are_settled(site: OmemoSite) -> None:
    (device,) = site.devices
    site.unheard = lambda: True
    site.start(resumed=False)
    site.run()
    site.unheard = lambda: False
    site.resources(device.jid, site.alice.jid, able=True)
    site.alice.start()
    site.message("three", "$3")
    site.wait(60)
    assert site.alice.shown[-1] == "three"
    assert device.shown == ["one", "two", "three"]
    assert device.undecryptable == 0


def test_one_that_her_server_never_takes_holds_up_no_others(site: OmemoSite) -> None:
    (device,) = site.devices
    bad = site.stanza_ids("omemo")[-1]
    site.lost = lambda one: one.request == "omemo" and one.values["id"].v == bad
    send_back(site, bad)
    site.start(resumed=False)
    site.message("three", "$3")
    for _ in range(5):
        site.wait(30)
        site.answer(site.sent("omemo")[-1])
        send_back(site, bad)
    assert device.shown == ["one", "three"]
    site.lost = lambda _: False
    site.wait(700)
    assert device.shown == ["one", "three", "two"]
    assert device.undecryptable == 0


def test_new_messages_wait_for_them_three_quarters_of_a_minute_at_most(site: OmemoSite) -> None:
    site.unheard = lambda: True
    site.start(resumed=False)
    site.message("three", "$3")
    before = set(site.stanza_ids("omemo"))
    site.wait(46)
    assert len(set(site.stanza_ids("omemo")) - before) == 1


def test_a_device_that_appears_meanwhile_gets_what_is_new_and_the_other_one_reads_everything(site: OmemoSite) -> None:
    (device,) = site.devices
    site.unheard = lambda: True
    site.start(resumed=False)
    site.run()
    site.unheard = lambda: False
    new = site.add(device.forms)
    form = device.forms[0]
    announced = serialize(site.nodes.lists[form, ALICE]).decode()
    node = "omemo-devices" if form is Namespace.OMEMO_2 else "axolotl-devices"
    site.arrive(Items(f"{BOB}/lockgate", node, True, (announced,)).encode(), PEP_EVENT)
    site.message("three", "$3")
    site.wait(60)
    assert device.shown == ["one", "two", "three"]
    assert new.shown == ["three"]
    assert device.undecryptable == new.undecryptable == 0


def test_what_went_out_unencrypted_as_asked_for_holds_nothing_up() -> None:
    site = met(AXOLOTL, require=Assurance.NONE)
    (device,) = site.devices
    site.lost = lambda one: one.request == "plain"
    site.arrive(f"<message from='{device.jid}' to='{BOB}' type='chat' id='p1'><body>plain</body></message>".encode())
    site.message("two", "$2")
    site.run()
    device.say("encrypted again", "e1")
    site.run()
    site.start(resumed=False)
    site.message("three", "$3")
    site.run()
    assert device.shown == ["one", "three"]
    site.close()


# ---------------------------------------------------------------- what came back
def test_what_came_back_is_not_sealed_for_a_device_that_was_distrusted_since() -> None:
    site = met(AXOLOTL, AXOLOTL)
    phone, stolen = site.devices
    site.lost = lambda one: one.request == "omemo"
    site.message("two", "$2")
    site.run()
    site.answer(site.sent("omemo")[-1])
    send_back(site, site.stanza_ids("omemo")[-1])
    site.lost = lambda _: False
    device = devices_in(site.records).find(stolen.peer.device_id)
    assert device is not None
    key, codes = fingerprint(device.identity), list[str]()
    site.do(lambda: codes.append(key_decided(LegStep(site.step, site.bob), "distrust", key, "operator")))
    site.wait(60)
    assert codes == ["ok"]
    assert phone.shown == ["one", "two"]
    assert stolen.shown == ["one"]
    assert site.sent(RECEIPT) != []
    site.close()
