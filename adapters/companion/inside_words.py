"""What the local contact says to the user. It goes to the user's own client only."""

import unicodedata

from crypto.esession.conversation import Conversation
from crypto.esession.profiles import Profile
from crypto.esession.retained import Chain
from crypto.esession.session import Session

HELP = """\
Lockgate encrypts your chats with contacts that have ESessions. Write to me:
status - who is encrypted, and how
verify NAME STRING - NAME told you their five characters: compare them with ours
encrypt NAME - start an encrypted session, or go back to encryption after `plain`
end NAME - end the session; the next message starts another
plain NAME - send to NAME unencrypted from now on
NAME is an address, or the part before the @."""
UNKNOWN = "I do not know that command."
NO_NAME = "Say also whom you mean, for example: end bob"
NO_STRING = "Say also the string that they see, for example: verify bob abcde"
NOT_FOUND = "I have no contact with ESessions of that name. Write the whole address."
AMBIGUOUS = "There are several contacts of that name. Write the whole address."
NOBODY = "There is no contact with ESessions yet."


def described(conversation: Conversation | None, *, held: bool) -> str:
    """The session that stands now, in a line."""
    session = None if conversation is None else conversation.session
    if session is None:
        return "no session"
    return f"{_state(session, held=held)}, string {_string(session)}, {_kind(session)}"


def started(name: str, session: Session, *, held: bool) -> str:
    """A session began. The string is asked for only when nothing vouches for it."""
    first = f"{name}: encrypted from now on ({_kind(session)})."
    if session.disclosure != "never":
        first += " The other end may pass messages on unencrypted."
    if held:
        return (
            f"{name}: WARNING. A session began that is not linked to the one you verified: another client of theirs,"
            f" lost data, or somebody in between. Nothing is sent or shown in it before you compare the string:"
            f" {_string(session)}."
            f" If theirs is the same, write: verify {name} {session.sas}"
        )
    if session.verified:
        return f"{first} Verified. The string is {_string(session)}."
    if session.chain is Chain.BROKEN:
        first += (
            " It is NOT linked to your earlier sessions: another client of theirs, lost data, or somebody in between."
        )
    elif session.chain is Chain.CONTINUED:
        return f"{first} The same client as before, not verified yet. The string is {_string(session)}."
    return (
        f"{first} Compare the string with theirs, once: {_string(session)}."
        f" If it is the same, write: verify {name} STRING"
    )


def _string(session: Session) -> str:
    return f"{session.sas} (an old kind, which can be forged)" if session.weak_string else session.sas


def _state(session: Session, *, held: bool) -> str:
    if held:
        return "HELD, not linked to the verified session"
    return "verified" if session.verified else "encrypted, not verified"


def _kind(session: Session) -> str:
    quantum = "also against quantum computers" if getattr(session.agreed, "hybrid", False) else "classical key exchange"
    return quantum if session.profile is Profile.LETTER else f"{quantum}, as old clients do it"


def ended(name: str, why: str) -> str:
    """A session is over."""
    return f"{name}: {_ENDS.get(why, _ENDS['ended'])}"


_ENDS = {
    "ended": "the encrypted session has ended.",
    "ended-unauthenticated": "the encrypted session was ended from outside. Messages wait for the next one.",
    "broken": "WARNING. A stanza was changed, removed, inserted or reordered on the way. The session has ended; nothing"
    " of it was shown.",
    "lost": "the other end has lost the session. Messages wait for the next one.",
    "gone": "the other client has gone.",
    "replaced": "the session was ended because no receipts came. Messages are sent again in the next one.",
}


def waiting(name: str, count: int) -> str:
    """Messages wait and there is no session."""
    told = f"{count} messages wait" if count > 1 else "a message waits"
    return f"{name}: {told}: there is no encrypted session. To send without encryption, write: plain {name}"


def held_back(name: str, condition: str) -> str:
    """The peer does not take a message yet."""
    return f"{name}: the other end does not take your message yet ({condition}). It is kept and sent again."


UNCERTAIN = "It was sent encrypted and no receipt came. It is not sent again without encryption."
NO_TEXT = "(not a text)"


def unencrypted(name: str, text: str) -> str:
    """Somebody wrote unencrypted in the name of a contact that encrypts."""
    return f"{name}: NOT encrypted, so this may be from anybody: {_quoted(text)}"


def sent_elsewhere(name: str, text: str) -> str:
    """The server says that another client of the user's wrote to a contact that encrypts."""
    return f"{name}: your server says that another client of yours wrote this, NOT encrypted: {_quoted(text)}"


def _quoted(text: str) -> str:
    """Foreign text, each of its lines marked as such: none may look like one of ours, or change how one reads."""
    lines = "".join(c for c in text if unicodedata.bidirectional(c) not in _TURNING).splitlines()
    return "".join(lines) if len(lines) < 2 else "".join(f"\n> {line}" for line in lines)


_TURNING = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


def differs(name: str) -> str:
    """The strings are not the same."""
    return (
        f"{name}: the strings differ. Somebody may be in between, or one of you looked at another session. Nothing was"
        f" verified. To end the session, write: end {name}"
    )


ANYWAY = "anyway"


def weak_string(name: str, string: str) -> str:
    """The strings are the same, but could have been made so."""
    return (
        f"{name}: WARNING. The strings are the same, but they are of the old kind: somebody in between can make them"
        f" so within seconds. Nothing was verified. To count it nevertheless, write: verify {name} {string} {ANYWAY}"
    )


def verified(name: str) -> str:
    """The strings are the same."""
    return f"{name}: verified. Later sessions are linked to this one; you need not compare again."


def no_session(name: str) -> str:
    """There is nothing to verify or to end."""
    return f"{name}: there is no session."


def plain_now(name: str) -> str:
    """The user's choice."""
    return f"{name}: your messages go out UNENCRYPTED from now on, until you write: encrypt {name}"


def encrypting(name: str) -> str:
    """The user's choice."""
    return f"{name}: messages are encrypted; a session is being negotiated."


def too_many(name: str) -> str:
    """The queue is full."""
    return f"{name}: too many messages wait already."
