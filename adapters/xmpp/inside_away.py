"""Offline sessions of one contact, as its policy has them (XEP-0187): whose keys count, and when what is done."""

from adapters.xmpp.inside_content import taken
from adapters.xmpp.inside_identities import known_of
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_offline import (
    OfflinePolicy,
    Published,
    has_offline,
    is_offline,
    offline_due_ms,
    receive_more,
    receive_offline,
    renew,
)
from adapters.xmpp.inside_offline_sending import send_offline, sending_due_ms
from adapters.xmpp.inside_stanzas import read_content
from adapters.xmpp.names import bare
from crypto.esession.conversation import thread_of
from crypto.esession.offline_options import Offer
from crypto.esession.payloads import encrypted
from crypto.xml import Element

AWAY = ("offline", "offline-own", "offline-user")
"""Records of one contact that offline sessions need."""
_NO_POLICY = OfflinePolicy()


def policy_for(at: LegStep) -> OfflinePolicy:
    """The keys that offline sessions go by. Only keys that were compared, pinned or vouched for count."""
    policy = at.policy
    if not policy.offline or policy.closed or not at.identities:
        return _NO_POLICY
    jid = bare(at.step.account.near_address)
    trusted = tuple(k.public for k in known_of(at.step.records).keys if k.validated and jid in k.jids)
    terms = at.terms
    usual = Offer()
    chosen = tuple(str(g) for g in policy.groups)
    groups = usual.groups if not at.contact.options.get("groups") else chosen
    offer = Offer(
        ciphers=terms.ciphers,
        hashes=terms.hashes,
        groups=groups,
        kems=terms.kems,
        disclosure=terms.disclosure,
        logging=terms.logging,
        require_hybrid=terms.require_hybrid,
    )
    return OfflinePolicy(at.identities[0], trusted, offer, others=tuple(at.identities[1:]))


def tend(at: LegStep, *, resumed: bool = True) -> None:
    """Publish, renew and destroy what is due; cheap when there is nothing to do."""
    if at.policy.offline or at.step.records.get(f"offline-own/{at.contact.id}", Published) is not None:
        renew(at, policy_for(at), resumed=resumed)
        at.arm_refresh(away_due_ms(at))


def away_due_ms(at: LegStep) -> int:
    """When something is to be done for offline sessions; 0: never."""
    times = (offline_due_ms(at), sending_due_ms(at))
    return min((t for t in times if t), default=0)


def send_away(at: LegStep) -> bool:
    """The user is not there: seal what waits to the options that the user's client published, if there are any."""
    if not at.policy.offline:
        return False
    done = send_offline(at, policy_for(at))
    at.arm_refresh(away_due_ms(at))
    return done


def received_away(at: LegStep, stanza: Element, peer: str) -> bool:
    """Take a stanza of an offline session; whether it was one.

    Its text is not held by the rules of chains: the sender's key was proved, and is one that counts.
    """
    thread = thread_of(stanza)
    known = at.leg.talk(thread)
    if known is not None and known.active:  # the way of nearly all stanzas
        return False
    if is_offline(stanza):
        got = receive_offline(at, stanza, peer, policy_for(at))
    elif has_offline(at, thread) and encrypted(stanza) is not None:
        got = receive_more(at, stanza, peer)
    else:
        return False
    if got is not None:
        taken(at, read_content(got.content), stanza, got.thread, peer)
    return True
