"""The operator's decisions about the sessions of one contact."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from adapters.inside_api import Proof
from adapters.xmpp.inside_away import tend
from adapters.xmpp.inside_content import OK
from adapters.xmpp.inside_ending import end_talk
from adapters.xmpp.inside_holding import adopted, judge_again
from adapters.xmpp.inside_identities import known_of
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_starting import proceed
from adapters.xmpp.inside_state import Talk
from adapters.xmpp.names import bare
from crypto.esession.associations import Known, accept, by_fingerprint
from crypto.esession.conversation import Conversation, confirm
from crypto.esession.identities import PublicIdentity
from crypto.esession.profiles import Profile
from crypto.esession.retained import Retained
from crypto.esession.session import Session


def shown(at: LegStep) -> Talk | None:
    """The session that a decision is about, and that the status shows: a held one, which waits for it, goes before."""
    return at.leg.held or at.current


def verify(at: LegStep, *, weak_string: bool = False) -> str:
    """The string was compared: this session and those that continue it are verified, others are held.

    `weak_string`: the operator knows what a string of the XEP's own kind is worth (decision 0089).
    """
    talk = shown(at)
    conversation = None if talk is None else at.conversation(talk.thread)
    if talk is None or conversation is None or conversation.session is None:
        return "no-session"
    if not conversation.session.sas:
        return "no-string"
    if conversation.session.weak_string:
        if at.policy.weak_string == "refuse":
            return "weak-string-refused"
        if not weak_string:
            return "weak-string"
    conversation, retained = confirm(conversation, at.retained)
    at.keep(conversation)
    at.keep_retained(retained)
    at.step.records.put(f"proof/{at.contact.id}", Proof("string", "operator", at.step.now_ms()))
    if conversation.session is not None and not conversation.session.weak_string:
        _validate_key(at, conversation)
    judge_again(at)
    tend(at)
    if talk.held and conversation.session is not None:
        _release(at, talk, conversation.session)
        proceed(at)
    return OK


def _validate_key(at: LegStep, conversation: Conversation) -> None:
    """The key that the peer of the compared session proved to hold is the user's: later ones may go by it."""
    session = conversation.session
    fingerprint = None if session is None else session.agreed.peer_fingerprint
    known = known_of(at.step.records)
    public = None if fingerprint is None or session is None else _key(known, fingerprint, session)
    if public is not None:
        at.step.records.put("known", accept(known, bare(at.step.account.near_address), public, validated=True))


def _key(known: Known, fingerprint: bytes, session: Session) -> PublicIdentity | None:
    hashes = ("sha256", session.agreed.suite.hash)
    found = (by_fingerprint(known, fingerprint, hash_name=name) for name in hashes)
    return next((public for public in found if public is not None), None)


def _release(at: LegStep, talk: Talk, session: Session) -> None:
    at.report("session-released")
    adopted(at, talk, session)
    if talk.refused and session.profile is Profile.LETTER:
        # The client keeps what was refused, and sends it again in a session that is new: this makes it one. What is
        # on its way in this one is refused too (`talk` is still held), so that all of it arrives in order.
        end_talk(at, talk)
        at.leg = replace(at.leg, wanted=True)


def distrust(at: LegStep) -> str:
    """End the sessions and forget what linked them to others: the next one counts as the first.

    All of them: somebody may have joined as another of the user's resources, to be shown copies.
    """
    at.keep_retained(Retained())
    at.step.records.delete(f"proof/{at.contact.id}")
    _invalidate_keys(at)
    for talk in at.leg.talks:
        if talk.active:
            end_talk(at, talk)
            if talk.refused:
                at.leg = replace(at.leg, wanted=True)
    proceed(at)
    return OK


DECISIONS: Mapping[str, Callable[[LegStep], str]] = MappingProxyType(
    {
        "verify": verify,
        "verify-weak-string": lambda at: verify(at, weak_string=True),
        "distrust": distrust,
    }
)


def _invalidate_keys(at: LegStep) -> None:
    """A comparison that was wrong made the key of its session the user's: no key counts any more because of one.

    Those that something configured vouches for count again with their next session.
    """
    known = known_of(at.step.records)
    after = Known(tuple(replace(key, validated=False) for key in known.keys))
    if after != known:
        at.step.records.put("known", after)
        tend(at)
