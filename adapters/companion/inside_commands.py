"""What the user writes to the local contact, and what is answered."""

import hmac
from collections.abc import Callable, Mapping
from types import MappingProxyType

from adapters.companion import inside_words as words
from adapters.companion.inside_peer import PeerStep
from adapters.companion.inside_sessions import adopted, end_talk, judge_again, proceed
from adapters.companion.inside_stanzas import from_local
from adapters.companion.inside_state import Own, Peer
from adapters.companion.names import TO_CLIENT, bare
from adapters.inside_api import Step
from bridge.wire.values import Public
from crypto.esession.conversation import confirm
from crypto.esession.profiles import Profile
from crypto.xml import CLIENT, Element

Act = Callable[[PeerStep, str], str | None]


def commanded(step: Step, stanza: Element) -> None:
    """A message to the local contact: carry the command out, answer."""
    body = stanza.child(CLIENT, "body")
    if body is None or stanza.attribute("type") == "error":
        return
    asked = body.text.split()
    word = asked[0].lower().strip("/") if asked else "help"
    if word == "status":
        answer(step, _status(step))
    elif word in COMMANDS:
        _about_peer(step, word, asked[1:])
    else:
        answer(step, words.HELP if word == "help" else f"{words.UNKNOWN}\n{words.HELP}")


def answer(step: Step, text: str) -> None:
    """Say something as the local contact."""
    own = step.records.get("own", Own)
    to = own.jid if own is not None and own.jid else step.account.near_address
    stanza = from_local(to, f"lg-{step.draw('stanza-id', 8).hex()}", text)
    step.carry(TO_CLIENT, {"stanza": Public(v=stanza)}, lane="stream")


def peers(step: Step) -> list[str]:
    """Bare JIDs that are known to have ESessions, or were."""
    names = [name.removeprefix("peer/") for name in step.records.names("peer/")]
    found = ((jid, step.records.get(f"peer/{jid}", Peer)) for jid in names)
    return [jid for jid, peer in found if peer is not None and (peer.encrypts or peer.plain)]


def _about_peer(step: Step, word: str, rest: list[str]) -> None:
    if not rest:
        answer(step, words.NO_NAME)
        return
    wanted = bare(rest[0])
    matching = [jid for jid in peers(step) if wanted in (jid, jid.partition("@")[0])]
    if "@" in wanted and not matching and word in ("plain", "encrypt"):
        matching = [wanted]
    if len(matching) != 1:
        answer(step, words.AMBIGUOUS if matching else words.NOT_FOUND)
        return
    at = PeerStep(step, matching[0])
    said = COMMANDS[word](at, " ".join(rest[1:]))
    if said is not None:
        at.tell(said)
    proceed(at)
    at.finish()


def _status(step: Step) -> str:
    lines = []
    for jid in peers(step):
        at = PeerStep(step, jid)
        talk = at.peer.held or at.peer.current
        state = words.described(
            None if talk is None else at.conversation(talk.thread), held=talk is not None and talk.held
        )
        if at.peer.plain:
            state = "UNENCRYPTED, as you said"
        elif talk is None and at.peer.negotiating is not None:
            state = "negotiating"
        waiting = f", {at.peer.line.waiting} waiting" if at.peer.line.waiting else ""
        lines.append(f"{jid}: {state}{waiting}")
    return "\n".join(lines) or words.NOBODY


def _verify(at: PeerStep, said: str) -> str:
    """Compare the string of the session that waits for it, else of the one in use (docs/decisions/0037).

    One that somebody between can try out counts when the user says `anyway` after it (docs/decisions/0089).
    """
    string, _, consent = said.partition(" ")
    talk = at.peer.held or at.peer.current
    conversation = None if talk is None else at.conversation(talk.thread)
    if talk is None or conversation is None or conversation.session is None:
        return words.no_session(at.name)
    if not string or not conversation.session.sas:
        return words.NO_STRING
    if not hmac.compare_digest(conversation.session.sas.encode(), string.strip().lower().encode()):
        return words.differs(at.name)
    if conversation.session.weak_string and consent.strip().lower() != words.ANYWAY:
        return words.weak_string(at.name, conversation.session.sas)
    conversation, retained = confirm(conversation, at.retained)
    at.keep(conversation)
    at.keep_retained(retained)
    judge_again(at)
    if talk.held and conversation.session is not None:
        letter = conversation.session.profile is Profile.LETTER
        at.update(profile=conversation.session.profile)
        adopted(at, letter=letter)
        if talk.refused and letter:
            # The other end keeps what was refused, and sends it again in a session that is new: this makes it one.
            end_talk(at, talk)
            at.update(wanted=True)
    return words.verified(at.name)


def _end(at: PeerStep, _rest: str) -> str:
    had = bool(at.peer.talks)
    for talk in at.peer.talks:
        if not talk.closing:
            end_talk(at, talk)
    at.update(quiet=True, wanted=False)
    return words.ended(at.name, "ended") if had else words.no_session(at.name)


def _plain(at: PeerStep, _rest: str) -> str:
    _end(at, "")
    at.update(plain=True)
    return words.plain_now(at.name)


def _encrypt(at: PeerStep, _rest: str) -> str | None:
    at.update(plain=False, quiet=False, encrypts=True, wanted=True, start_at_ms=0, failures=0)
    return None if at.peer.current is not None else words.encrypting(at.name)


COMMANDS: Mapping[str, Act] = MappingProxyType({"verify": _verify, "end": _end, "plain": _plain, "encrypt": _encrypt})
