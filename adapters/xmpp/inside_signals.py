"""Typing and presence inside sessions: the contact's shown to the user, the user's handed on (decision 0098)."""

from dataclasses import replace

from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_signals import read_by_omemo
from adapters.xmpp.inside_profile import show_profile
from adapters.xmpp.inside_references import number_of, stanza_of_user, to_far
from adapters.xmpp.inside_stanzas import NS_MARKERS, Content
from adapters.xmpp.inside_state import SECOND_MS, Shown, Talk
from adapters.xmpp.names import NS_CHAT_STATES
from crypto.content import ContentPolicy
from crypto.message import Availability, Presence, Profile, Read, Signal, Typing
from crypto.xml import CLIENT, Element, escape_attribute, escape_text, sanitise_text

TYPING_AGAIN_MS = 10 * SECOND_MS
"""The same typing state is not sent again before."""
MAX_STATUS = 512
_SHOW = {Availability.AVAILABLE: "", Availability.AWAY: "away", Availability.UNAVAILABLE: "xa"}
_AWAY = frozenset({"away", "xa", "dnd"})
_STILL = frozenset({"active", "paused", "inactive", "gone"})


# ---------------------------------------------------------------- to the user
def to_client(at: LegStep, signal: Signal) -> None:
    """Show it in every session that may hold it; where there is none it is lost, as signals are."""
    shown = at.step.records.get(_name(at), Shown) or Shown()
    now = at.step.now_ms()
    match signal:
        case Typing(active):
            if shown.typing is active and (not active or now < shown.typing_at_ms + TYPING_AGAIN_MS):
                return
            at.step.records.put(_name(at), replace(shown, typing=active, typing_at_ms=now, at_ms=now))
            content = chat_state_content(active=active)
            for talk in _talks(at):
                _told(at, talk, content, kind="message")
        case Presence(availability, status):
            status = sanitise_text(status)[:MAX_STATUS]
            if (shown.availability, shown.status) == (availability.value, status):
                return
            there = now if availability is not Availability.UNAVAILABLE else shown.at_ms
            after = replace(shown, availability=availability.value, status=status, at_ms=there)
            at.step.records.put(_name(at), after)
            for talk in _talks(at):
                _told(at, talk, presence_content(availability, status), kind="presence")
        case Read(up_to):
            _read_to_client(at, up_to)
        case Profile():
            show_profile(at, signal)


def _read_to_client(at: LegStep, up_to: str) -> None:
    """The contact has read what the user wrote, up to there (XEP-0333)."""
    own = stanza_of_user(at, up_to) if ContentPolicy.of(at.contact.options).receipts else None
    if own is None:
        at.report("signal-omitted")
        return
    content = f'<displayed xmlns="{NS_MARKERS}" id="{escape_attribute(own)}"/>'.encode()
    for talk in _talks(at):
        if talk.letter:
            _told(at, talk, content, kind="message")
    read_by_omemo(at, content)


def greet(at: LegStep, talk: Talk) -> None:
    """A new session: the contact's presence, if it was ever told."""
    shown = at.step.records.get(_name(at), Shown)
    if shown is not None and shown.availability:
        _told(at, talk, presence_content(Availability(shown.availability), shown.status), kind="presence")


def last_there_ms(at: LegStep) -> int:
    """When the contact last wrote or was there; 0: not known."""
    shown = at.step.records.get(_name(at), Shown)
    return max(at.line.last_ms, shown.at_ms if shown else 0)


def _talks(at: LegStep) -> tuple[Talk, ...]:
    current = at.current
    return () if current is None else (current, *at.leg.audience(current))


def _told(at: LegStep, talk: Talk, content: bytes, *, kind: str) -> None:
    conversation = at.conversation(talk.thread)
    if conversation is None or conversation.session is None or kind not in conversation.session.agreed.stanzas:
        return
    sealed = at.seal(conversation, content, kind)
    if sealed is None:
        at.report("signal-omitted")
    elif kind == "presence":
        at.presence(talk.peer, sealed)
    else:
        at.state(talk.thread, talk.peer, sealed)


def chat_state_content(*, active: bool) -> bytes:
    """XEP-0085 as content."""
    return f'<{"composing" if active else "paused"} xmlns="{NS_CHAT_STATES}"/>'.encode()


def presence_content(availability: Availability, status: str) -> bytes:
    """The children of a presence. Somebody who is away for good is shown as `xa`: only servers say `unavailable`."""
    show = _SHOW[availability]
    parts = [f"<show>{show}</show>" if show else "", f"<status>{escape_text(status)}</status>" if status else ""]
    # A content is never empty: somebody who is simply there has the priority that is usual.
    return ("".join(parts) or "<priority>0</priority>").encode()


# ---------------------------------------------------------------- from the user
def state_taken(at: LegStep, content: Content) -> None:
    """A chat state of the user's, in a session: typing begins or ends."""
    if content.state == "composing":
        _hand_on(at, Typing(True))
    elif content.state in _STILL and not content.body:
        _hand_on(at, Typing(False))


def read_taken(at: LegStep, stanza_id: str | None) -> None:
    """The user has read what the contact wrote, up to the message of that stanza (XEP-0333): it only moves forward."""
    number = number_of(stanza_id or "")
    if stanza_id is None or number is None or not ContentPolicy.of(at.contact.options).receipts:
        return
    shown = at.step.records.get(_name(at), Shown) or Shown()
    message_id = to_far(at, stanza_id)
    if message_id is None or number <= shown.read:
        return
    at.step.records.put(_name(at), replace(shown, read=number))
    _hand_on(at, Read(message_id))


def presence_taken(at: LegStep, content: tuple[Element, ...]) -> None:
    """A presence of the user's, in a session."""
    show = next((e.text for e in content if (e.namespace, e.name) == (CLIENT, "show")), "")
    status = next((e.text for e in content if (e.namespace, e.name) == (CLIENT, "status")), "")
    availability = Availability.AWAY if show in _AWAY else Availability.AVAILABLE
    _hand_on(at, Presence(availability, status[:MAX_STATUS]))


def _hand_on(at: LegStep, signal: Signal) -> None:
    at.later(lambda: at.step.signal(at.contact.id, signal))


def _name(at: LegStep) -> str:
    return f"shown/{at.contact.id}"
