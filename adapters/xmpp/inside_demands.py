"""Whether only sessions count that are linked to something which was compared (decisions 0037, 0194)."""

from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_own import omemo_on
from adapters.xmpp.inside_omemo_trust import keys_in


def demands_verified(at: LegStep) -> bool:
    """Once the user compared a session or a device, nobody who is linked to neither comes between by the other way."""
    return at.demands_verified or (omemo_on(at.contact) and keys_in(at.step.records).closed)
