"""Messages that the user's server sent back, when there is no device (any more) that they could go to."""

from collections.abc import Iterator

import pytest

from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_arrivals import key_decided
from adapters.xmpp.inside_omemo_trust import keys_in
from bridge.wire.values import Code
from crypto.omemo.fingerprints import fingerprint
from crypto.omemo.names import Namespace
from tests.unit.omemo_site import AXOLOTL, OMEMO_2, OmemoSite
from tests.unit.test_attack_omemo_restart import met, send_back


@pytest.fixture(params=[AXOLOTL, OMEMO_2], ids=["axolotl", "omemo-2"])
def site(request: pytest.FixtureRequest) -> Iterator[OmemoSite]:
    """The second message came back, and its device was distrusted since."""
    made = met(request.param)
    made.unheard = lambda: True
    made.message("two", "$2")
    made.run()
    send_back(made, made.stanza_ids("omemo")[-1])
    made.unheard = lambda: False
    decide(made, "distrust")
    yield made
    made.close()


def decide(site: OmemoSite, decision: str) -> None:
    """The operator decided about the device that was met first."""
    key = fingerprint(keys_in(site.records).known[0].identity)
    codes: list[str] = []
    site.do(lambda: codes.append(key_decided(LegStep(site.step, site.bob), decision, key, "operator")))
    assert codes == ["ok"]
    site.run()


def told(site: OmemoSite) -> list[str]:
    """Codes of the sentences that she was told."""
    return [code.v for one in site.sent("notice") if isinstance(code := one.values["code"], Code)]


def test_she_is_told_why_it_waits(site: OmemoSite) -> None:
    site.wait(60)
    assert told(site) == ["omemo-not-verified"]
    assert site.devices[0].shown == ["one"]


def test_it_waits_without_being_looked_at_every_few_seconds(site: OmemoSite) -> None:
    site.wait(60)
    times: set[int] = set()
    site.lost = lambda _: False
    for _ in range(360):
        site.wait(10)
        times.add(site.step.wakes.get("tick", 0))
    assert len(times) < 60


def test_it_goes_in_its_place_once_the_device_is_trusted(site: OmemoSite) -> None:
    site.wait(60)
    site.message("three", "$3")
    site.wait(60)
    decide(site, "verify")
    site.wait(60)
    assert site.devices[0].shown == ["one", "two", "three"]
    assert len(site.step.done) == 3


def test_a_client_with_sessions_that_comes_is_asked_for_one(site: OmemoSite) -> None:
    site.wait(60)
    site.resources(site.alice.jid)
    site.wait(60)
    assert site.alice.shown == ["two"]


@pytest.mark.parametrize("form", [AXOLOTL, OMEMO_2], ids=["axolotl", "omemo-2"])
def test_one_that_comes_back_while_a_session_is_in_use_goes_in_it(form: tuple[Namespace, ...]) -> None:
    site = met(form)
    site.unheard = lambda: True
    site.message("two", "$2")
    site.run()
    site.unheard = lambda: False
    late = site.stanza_ids("omemo")[-1]
    site.established()
    site.message("three", "$3")
    site.run()
    decide(site, "distrust")
    send_back(site, late)
    site.wait(60)
    site.message("four", "$4")
    site.wait(60)
    assert site.alice.shown == ["three", "two", "four"]
    assert len(site.step.done) == 4
    site.close()
