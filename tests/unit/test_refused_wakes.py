"""A wake that was refused leaves the old state: what it was to arm is armed all the same when something comes."""

import pytest

from adapters.companion import inside_peer
from adapters.companion.inside_state import Timer as CompanionTimer
from adapters.xmpp.inside_leg import LATE_MS, TIMER, arm
from adapters.xmpp.inside_state import Timer
from tests.unit.xmpp_site import Site


def _wakes(site: Site) -> int | None:
    return site.step.wakes.get(TIMER)


def test_messages_are_sent_again_though_a_wake_was_refused() -> None:
    site = Site().established()
    site.lost = lambda _: True
    site.message("one", "$1")
    site.run()
    assert _wakes(site) is not None
    del site.step.wakes[TIMER]  # it became an input, and was refused: the records are as before
    site.step.now += 10 * LATE_MS
    site.lost = lambda _: False
    site.message("two", "$2")
    assert TIMER in site.step.wakes
    site.wait(120)
    assert site.alice.shown == ["one", "two"]


def test_a_wake_that_is_only_a_little_late_is_waited_for() -> None:
    site = Site().established()
    site.step.wakes.clear()
    site.records.put("timer", Timer(site.step.now))
    site.step.now += LATE_MS
    arm(site.step, site.step.now + 5)
    assert _wakes(site) is None
    site.step.now += 1
    arm(site.step, 0)
    assert _wakes(site) == site.step.now


@pytest.mark.parametrize("due_ms", [0, 1 << 50])
def test_the_companion_wakes_after_a_refused_wake_too(due_ms: int) -> None:
    site = Site()
    site.step.wakes.clear()
    site.records.put("timer", CompanionTimer(site.step.now - inside_peer.LATE_MS - 1))
    inside_peer.arm(site.step, due_ms)
    assert _wakes(site) == site.step.now
