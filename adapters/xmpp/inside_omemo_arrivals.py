"""What comes of the user's OMEMO devices: answers to questions, and what the server tells by itself. All is hostile."""

from adapters.inside_api import Step
from adapters.xmpp.inside_holding import judge_all
from adapters.xmpp.inside_leg import LegStep, arm, enough
from adapters.xmpp.inside_omemo_binding import trust_key
from adapters.xmpp.inside_omemo_finding import (
    again_due_ms,
    bundle_arrived,
    devices_due_ms,
    forget_devices,
    list_arrived,
    tend_devices,
)
from adapters.xmpp.inside_omemo_given_up import sessions_given_up
from adapters.xmpp.inside_omemo_mending import to_heal
from adapters.xmpp.inside_omemo_own import BUNDLES, LISTS, forget_own, omemo_on, store_in, tend_own
from adapters.xmpp.inside_starting import proceed
from adapters.xmpp.inside_state import Line
from adapters.xmpp.names import bare
from adapters.xmpp.pep.names import Items
from crypto.omemo.device import own

PUBLISHED_AT_ONCE = 50
"""Contacts whose keys are made and published in one step: each costs about 26 KB."""
_NODES = frozenset({*LISTS.values(), *BUNDLES.values()})


def omemo_arrived(step: Step, body: bytes, *, pushed: bool = False) -> bool:
    """A `pep-items` or `pep-event` arrival; False: it is not about OMEMO."""
    try:
        found = Items.decode(body)
    except ValueError:
        found = None
    if found is None or found.node not in _NODES:
        if pushed:
            step.report("pep-items-malformed")
        return pushed
    contact = next((c for c in step.account.contacts if bare(c.alias) == bare(found.contact)), None)
    if contact is None:
        step.report("pep-items-malformed")
        return True
    at = LegStep(step, contact)
    is_list = found.node in LISTS.values()
    moved = list_arrived(at, found, pushed=pushed) if is_list else bundle_arrived(at, found)
    at.finish()
    if moved:
        _go_on(step, None if is_list else contact.id)
    return True


def _go_on(step: Step, only: str | None = None) -> None:
    """Send what waited for it: of one contact, or of all."""
    spent = 0
    for contact in step.account.contacts:
        if only not in (None, contact.id) or not omemo_on(contact):
            continue
        line = step.records.get(f"line/{contact.id}", Line)
        at = LegStep(step, contact)
        if (line is not None and line.waiting) or to_heal(at):
            if enough(step, spent):
                return
            proceed(at)
            at.finish()
            spent += at.spent


def omemo_started(step: Step, *, resumed: bool) -> None:
    """See to the contacts' keys. Without `resumed` the state may be old: the user's devices are looked up anew."""
    mapped = {contact.id for contact in step.account.contacts}
    for name in sorted({n.split("/")[1] for kind in ("omemo", "omemo-own") for n in step.records.names(f"{kind}/")}):
        if name not in mapped:
            forget_own(step, name)
            forget_devices(step, name)
    published = 0
    for at in _devices(step):
        published += tend_own(at, resumed=resumed, room=published < PUBLISHED_AT_ONCE)
        if not resumed and omemo_on(at.contact):
            tend_devices(at)
            sessions_given_up(at)
        at.finish()


def omemo_woken(step: Step, spent: int) -> None:
    """Time has passed: keys are looked after, and what waited for an answer that never came goes on.

    `spent`: octets that went out in this step already.
    """
    published = 0
    for at in _devices(step):
        published += tend_own(at, room=published < PUBLISHED_AT_ONCE)
        if omemo_on(at.contact) and at.line.waiting and not devices_due_ms(at) and not enough(step, spent):
            proceed(at)
        at.finish()
        spent += at.spent
        arm(step, devices_due_ms(at))
        arm(step, again_due_ms(at) if omemo_on(at.contact) else 0)


def _devices(step: Step) -> list[LegStep]:
    """The contacts that are OMEMO devices, or were."""
    records = step.records
    return [
        LegStep(step, contact)
        for contact in step.account.contacts
        if omemo_on(contact) or own(store_in(records, contact.id)) is not None
    ]


def key_decided(at: LegStep, decision: str, fingerprint: str, by: str) -> str:
    """A decision about a key of the user's; what waited for it is sent. Returns a code."""
    code = trust_key(at, decision, fingerprint, by)
    at.finish()
    if code == "ok":
        judge_all(at.step)  # sessions that nobody compared are held from now on
        _go_on(at.step)
    return code
