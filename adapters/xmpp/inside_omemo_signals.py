"""Signals for the user's OMEMO devices: what the contact has read. Only envelopes have a place for them."""

from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_choice import forms_of
from adapters.xmpp.inside_omemo_devices import recipients
from adapters.xmpp.inside_omemo_healing import aside
from adapters.xmpp.inside_omemo_outbox import speaks_omemo
from adapters.xmpp.inside_omemo_sending import sealed_for
from crypto.omemo.names import Namespace


def read_by_omemo(at: LegStep, content: bytes) -> None:
    """Tell the devices that have a session for it, where messages go by OMEMO; no session is begun for that."""
    if at.current is not None or not speaks_omemo(at.step.records, at.contact):
        return
    if Namespace.OMEMO_2 not in forms_of(at.contact):
        return
    found = recipients(at).ready
    ready = tuple(each for each in found if each.peer.namespace is Namespace.OMEMO_2 and each.bundle is None)
    made = sealed_for(at, ready, {Namespace.OMEMO_2: content}) if ready else None
    if made is not None:
        aside(at, made[0])
