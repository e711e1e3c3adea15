"""Sessions whose peer showed a public key: whose it is, and what the user is told of it (decision 0099)."""

from dataclasses import replace

from adapters.xmpp.inside_away import tend
from adapters.xmpp.inside_demands import demands_verified
from adapters.xmpp.inside_identities import associated, is_vouched, known_of, weaker
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_state import mark_of
from crypto.esession.associations import assess
from crypto.esession.conversation import Conversation, Outcome, confirm
from crypto.esession.identities import PublicIdentity


def known_by_key(at: LegStep, conversation: Conversation, outcome: Outcome, peer: str) -> Conversation:
    """An established session, verified when something configured vouches for the key that the peer proved to hold.

    The user is warned of keys that are new, changed or another's, and of what the resource had in its last session.
    """
    vouched = associate(at, outcome.identity, outcome.certificates, peer)
    session = conversation.session
    assert session is not None
    mark = mark_of(peer)
    if weaker(at.step.records, at.contact.id, mark, session, key=outcome.identity is not None):
        at.report("session-weaker")
        at.notice(peer, "identity-weaker")
    elif at.policy.tells_strength:
        at.notice(peer, "session-quantum-safe" if session.agreed.hybrid else "session-classical")
    if vouched:
        tend(at)  # the key is one that offline sessions go by from now on
    if not vouched or session.verified:
        return conversation
    at.report("session-vouched")
    if session.sas:
        conversation, retained = confirm(conversation, at.retained)
        at.keep_retained(retained)
    else:  # 3-message negotiations have no string; the key is what was verified
        conversation = replace(conversation, session=replace(session, agreed=replace(session.agreed, verified=True)))
    at.keep(conversation)
    return conversation


def associate(at: LegStep, public: PublicIdentity | None, certificates: tuple[bytes, ...], peer: str) -> bool:
    """Note whose key it is, and warn; whether something configured vouches for it."""
    step = at.step
    vouched = public is not None and is_vouched(
        at.policy, public, step.account.near_address, step.now_ms(), certificates
    )
    own = tuple(identity.public for identity in at.identities)
    for code in associated(step.records, step.account.near_address, public, own, vouched=vouched):
        at.report(code)
        at.notice(peer, code)
    return vouched


def once_held(at: LegStep, outcome: Outcome) -> bool:
    """Whether a stanza that was sealed alone must not be taken: no chain of secrets links it to anything.

    Its sender proved to hold a key. That is worth as much as what is known of the key.
    """
    if not at.policy.one_shot or outcome.identity is None:
        return True
    if not demands_verified(at):
        return False
    jid = at.step.account.near_address
    if is_vouched(at.policy, outcome.identity, jid, at.step.now_ms(), outcome.certificates):
        return False
    return not assess(known_of(at.step.records), jid, outcome.identity).validated
