"""What we do of ourselves in an active session: send, refresh its keys, end it."""

from crypto.errors import Misuse
from crypto.esession import payloads
from crypto.esession.exchanging import sealed_termination
from crypto.esession.outcome import Closing, Conversation, Draw, Event, Kind, Outcome, Reply, declining
from crypto.esession.rekeying import is_old, may_rekey, without_expired
from crypto.esession.rekeying_state import POLICY, RekeyPolicy
from crypto.esession.sealing import seal, seal_empty
from crypto.esession.session import Session
from crypto.esession.stanzas import MESSAGE, error_with


def send(
    conversation: Conversation,
    content: bytes,
    *,
    kind: str = MESSAGE,
    draw: Draw | None = None,
    now_ms: int = 0,
    policy: RekeyPolicy = POLICY,
) -> Outcome:
    """Encrypt the serialised content of a stanza: `stanzas.divided` says what belongs into it.

    `kind`: the stanza it is for, `message`, `presence` or `iq`; it must be one of `session.agreed.stanzas`. `draw`,
    `now_ms`, `policy`: for new keys when they are due; without `draw` the old ones go on.
    Raises Misuse when no session is active or the kind was not agreed, Exhausted.
    """
    session, payload = seal(_active(conversation, kind), content, draw=draw, now_ms=now_ms, policy=policy)
    return _sent(conversation, session, Reply(Kind.ENCRYPTED, payload))


def send_error(
    conversation: Conversation,
    within: bytes,
    *,
    condition: str,
    error_type: str,
    content: bytes = b"",
    kind: str = "iq",
    draw: Draw | None = None,
    now_ms: int = 0,
) -> Outcome:
    """A stanza of type `error`: the defined condition in clear, `within` encrypted inside `<error/>`.

    `content`: what else the stanza holds, in a `<c/>` of its own before `<error/>`. Raises as `send` does.
    """
    session, own = _active(conversation, kind), b""
    if content:
        session, own = seal(session, content, draw=draw, now_ms=now_ms)
    session, inside = seal(session, within, draw=draw, now_ms=now_ms)
    return _sent(conversation, session, Reply(Kind.ERROR, own + error_with(condition, error_type, inside)))


def refresh(conversation: Conversation, *, draw: Draw, now_ms: int, policy: RekeyPolicy = POLICY) -> Outcome | None:
    """To be called from time to time: destroys values that waited too long, makes new keys when the old ones are old.

    Both happen with `send` too; this is for sessions that have fallen silent. An outcome may hold a stanza without
    content: a new key, or the news that the peer's was received, which lets it destroy its old one. None: nothing to
    do. Raises Exhausted.
    """
    session = conversation.session
    if session is None or session.rekeying is None:
        return None
    kept = without_expired(session, now_ms, policy)
    assert kept.rekeying is not None
    due = may_rekey(kept.rekeying, policy) and is_old(kept.rekeying, now_ms, policy)
    if due or kept.rekeying.untold:
        after, payload = seal_empty(kept, draw=draw if due else None, now_ms=now_ms)
        return _sent(conversation, after, Reply(Kind.ENCRYPTED, payload))
    return None if kept is session else _sent(conversation, kept)


def refresh_due_ms(conversation: Conversation, policy: RekeyPolicy = POLICY) -> int | None:
    """When `refresh` will have something to do, as far as is known now; None: not before the next stanza."""
    state = None if conversation.session is None else conversation.session.rekeying
    if state is None:
        return None
    times = [each.sent_ms + policy.grace_ms for each in state.newer if each.sent_ms]
    if state.since_ms and (state.untold or (state.contents and may_rekey(state, policy))):
        times.append(state.since_ms + policy.interval_ms)
    return min(times, default=None)


def end(conversation: Conversation) -> Outcome:
    """End it from our side: decline a negotiation, terminate a session (encrypted, then plain).

    After ENDING the conversation only waits for the acknowledgement, which the deployed implementation never sends:
    forget it after a minute.
    """
    session = conversation.session
    if session is None:
        replies: tuple[Reply, ...] = () if conversation.closing else (declining(conversation),)
        return Outcome(Event.ENDED, None, replies)
    last = (*sealed_termination(session), Reply(Kind.NEGOTIATION, payloads.termination()))
    closing = Closing(session.receiving, session.accepted, session.rekeying, session.agreed.suite)
    return Outcome(Event.ENDING, Conversation(conversation.thread, closing=closing), last)


def _active(conversation: Conversation, kind: str) -> Session:
    if conversation.session is None:
        raise Misuse("there is no active session to send in")
    if kind not in conversation.session.agreed.stanzas:
        raise Misuse("the session does not encrypt stanzas of this kind")
    return conversation.session


def _sent(conversation: Conversation, session: Session, *replies: Reply) -> Outcome:
    after = Conversation(conversation.thread, answered=conversation.answered, session=session)
    return Outcome(Event.CONTENT, after, replies)
