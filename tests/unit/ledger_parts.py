"""Building blocks for tests of the ledger, the worker and the edge."""

from bridge.wire.link import Carry, Remember, Report, Stepped, Trace, WakeAt
from bridge.wire.values import Address, Sealed


def carry(
    key: str, *, network: str = "loopback", lane: str = "lane", trace: int | None = None, body: bytes = b"c"
) -> Carry:
    """A request to echo a body."""
    return Carry(
        key=key,
        network=network,
        request="echo",
        lane=lane,
        values={"to": Address(v="bob@example.org"), "body": Sealed(v=body)},
        trace=trace,
    )


def stepped(
    position: int,
    step: int,
    *,
    account: str = "alice",
    carries: tuple[Carry, ...] = (),
    remembers: tuple[Remember, ...] | None = None,
    wakes: tuple[WakeAt, ...] = (),
    traces: tuple[Trace, ...] = (),
    reports: tuple[Report, ...] = (),
    refused: str | None = None,
) -> Stepped:
    """The effects of an input; unless told otherwise it changes the root record, as every step that matters does."""
    if remembers is None:
        remembers = (Remember(name="root", version=step, sealed=b"root %d" % step),)
    return Stepped(
        position=position,
        account=account,
        step=step,
        carries=carries,
        remembers=() if refused else remembers,
        wakes=wakes,
        traces=traces,
        reports=reports,
        refused=refused,
    )
