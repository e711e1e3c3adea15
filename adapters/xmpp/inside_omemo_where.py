"""From which resource each of the user's OMEMO devices wrote last. The server says so: nothing secret goes by it.

`omemo-where`   Where   for the whole account
"""

from dataclasses import dataclass

from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_state import mark_of

MAX_WHERE = 64


@dataclass(frozen=True, slots=True)
class Where:
    """Ids of devices, each with the mark of the resource that it wrote from last."""

    pairs: tuple[tuple[int, str], ...] = ()


def where_in(at: LegStep) -> Where:
    """What is known."""
    return at.step.records.get("omemo-where", Where) or Where()


def wrote_from(at: LegStep, device_id: int, peer: str) -> None:
    """A device wrote, from that resource."""
    known, pair = where_in(at), (device_id, mark_of(peer))
    if pair not in known.pairs:
        others = tuple(p for p in known.pairs if p[0] != device_id and p[1] != pair[1])
        at.step.records.put("omemo-where", Where((*others, pair)[-MAX_WHERE:]))


def device_at(at: LegStep, mark: str) -> int | None:
    """The device that wrote from the resource of that mark."""
    return next((id_ for id_, known in where_in(at).pairs if known == mark), None)
