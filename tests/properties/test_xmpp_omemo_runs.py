"""Whatever is lost, doubled, delayed or restarted: in the end both sides have everything, once, in one order each."""

import random
from dataclasses import dataclass

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapters.xmpp.inside_omemo_sending import MAX_TRIES
from tests.unit.omemo_site import AXOLOTL, OMEMO_2, OmemoSite

ACTS = ("to", "from", "restart", "resumed", "lose", "double", "wait", "run")


@dataclass
class _Run:
    site: OmemoSite
    chance: random.Random
    to: int = 0
    by: int = 0
    bad: bool = False
    losses: int = 0
    """Fewer than a message has tries."""

    def act(self, act: str) -> None:
        site = self.site
        match act:
            case "to":
                self.to += 1
                site.message(f"to {self.to}", f"${self.to}")
            case "from":
                self.by += 1
                site.devices[0].say(f"from {self.by}", f"a{self.by}")
            case "restart" | "resumed":
                site.start(resumed=act == "resumed")
            case "lose":
                self.bad = True
            case "double":
                again = [c for c in site.carried if c.request == "omemo"][-3:]
                for one in again:  # the gateway did not know that it had written them
                    site.deliver(one)
            case "wait":
                site.wait(30)
            case _:
                site.run()

    def lost(self) -> bool:
        lost = self.bad and self.losses < MAX_TRIES - 1 and self.chance.random() < 0.4
        self.losses += lost
        return lost


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    acts=st.lists(st.sampled_from(ACTS), max_size=14),
    seed=st.integers(0, 1 << 16),
    form=st.sampled_from([AXOLOTL, OMEMO_2]),
)
@example(acts=["restart", "to", "from"], seed=0, form=OMEMO_2)
@example(acts=["restart", "to", "from", "from", "to"], seed=0, form=AXOLOTL)
@example(acts=["lose", "to", "to", "restart", "to", "to", "run"], seed=1, form=AXOLOTL)
@example(acts=["lose", "to", "to", "to", "restart", "from", "to", "restart", "to", "run"], seed=2, form=OMEMO_2)
def test_both_sides_have_everything_once(acts: list[str], seed: int, form: tuple[object, ...]) -> None:
    site = OmemoSite(AXOLOTL if form == AXOLOTL else OMEMO_2)
    try:
        site.resources(site.devices[0].jid, able=False)
        run = _Run(site, random.Random(seed))
        for act in ("to", "from", "run", *acts):
            # On the way to her: the server has taken it, and her stream breaks. What comes from her is confirmed.
            site.unheard = run.lost
            run.act(act)
        run.bad = False
        site.wait(1200)
        device = site.devices[0]
        assert sorted(device.shown) == sorted(f"to {n + 1}" for n in range(run.to))
        assert site.bodies() == [f"from {n + 1}" for n in range(run.by)]
        assert device.undecryptable == 0
        assert len(site.step.done) == len(set(site.step.done)) == run.to
        assert not [n for n in site.records.held if n.startswith(("queue/", "omemo-out/"))]
    finally:
        site.close()
