"""Which of the user's resources is asked for a session."""

from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_own import omemo_on
from adapters.xmpp.names import Resources

UNSEEN_TRIES = 6
"""Negotiations tried with a resource whose presence is not known."""


def target(at: LegStep, resources: Resources | None) -> str | None:
    """The resource to ask: the one last heard from if it is still there, else the most available that is able.

    One whose session is held is not asked for another, which would be held too.
    """
    held = {talk.peer for talk in at.leg.talks if talk.active and talk.held}
    able = [jid for jid, esession in (resources.available if resources else ()) if esession and jid not in held]
    if at.leg.last_peer in able:
        return at.leg.last_peer
    if able:
        return able[0]
    if omemo_on(at.contact):  # who wrote may speak OMEMO and nothing else: only those are asked that announce it
        return None
    # A client that never showed its presence to us may be there all the same: it wrote.
    known = held | ({jid for jid, _ in resources.available} if resources else set())
    return at.leg.last_peer if at.leg.last_peer not in known and at.leg.failures < UNSEEN_TRIES else None
