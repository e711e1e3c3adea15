"""What a message becomes in the room: one event or several, encrypted or, where Matrix has no other way, in clear.

Reactions and retractions are in clear for the homeservers. Where the policy does not allow that, and where the message
that is meant is not known (any more), the contact is told in words, encrypted.
"""

from dataclasses import dataclass, field

import msgspec
from vodozemac import GroupSession

from adapters.inside_api import AnyValue, ContactPolicy, Step
from adapters.matrix import inside_known, inside_reactions, inside_received
from adapters.matrix.inside_content import room_message
from adapters.matrix.inside_html import one_line
from adapters.matrix.inside_relations import EVENT_ID, REPLACE, THREAD, Relation, event_id_of, relates_to
from adapters.matrix.inside_state import Queued, Sent
from adapters.matrix.names import ROOM_REACT, ROOM_REDACT, ROOM_SEND
from bridge.wire.link import Input
from bridge.wire.values import Address, Public, Sealed
from crypto.content import ContentPolicy, Reaction, Reply
from crypto.message import Kind
from crypto.olm.canonical import decoded
from crypto.olm.device import Device
from crypto.olm.errors import OlmError
from crypto.olm.group import encrypted_event

MAX_QUOTE = 300
MAX_FALLBACK = 1_000
"""Characters of a new wording that stand in it a second time, for clients that know no new wordings."""
Content = dict[str, object]


@dataclass(frozen=True, slots=True)
class Written:
    """An encrypted `m.room.message`. `first`: the event it is a new wording of."""

    content: Content = field(repr=False)
    relation: Relation | None = None
    first: str = ""
    aside: bool = False
    """It tells what another event would have, and is no message of its own."""


@dataclass(frozen=True, slots=True)
class Reacted:
    """An `m.reaction` in clear."""

    target: str
    emoji: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Redacted:
    """An `m.room.redaction`, in clear and without content."""

    event_id: str


Act = Written | Reacted | Redacted
Request = tuple[Sent, str, dict[str, AnyValue]]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a message is sent, and who gets it."""

    step: Step
    contact: ContactPolicy
    room_id: str
    policy: ContentPolicy

    def event_of(self, message_id: str) -> str:
        """The event of any message: the user's own, or the contact's."""
        ours = inside_known.event_of(self.step, self.contact, self.room_id, message_id)
        return ours or (message_id if EVENT_ID.fullmatch(message_id) else "")


# ---------------------------------------------------------------- before
def waits(step: Step, contact: ContactPolicy, message: Queued) -> bool:
    """Whether it means a message whose event id, or reactions whose ids, the server has yet to tell us."""
    beside = message.beside
    if beside is None:
        return False
    reply, reaction = beside.reply, beside.reaction
    meant = {beside.replaces, beside.retracts, reply.to if reply else None, reaction.to if reaction else None} - {None}
    if not meant:
        return False
    under_way = (step.records.get(name, Sent) for name in list(step.records.names("sent/")))
    mine = [sent for sent in under_way if sent is not None and sent.contact == contact.id]
    if any(sent.message_id in meant and not sent.notice for sent in mine):
        return True
    return reaction is not None and any(sent.emoji for sent in mine)


def planned(step: Step, contact: ContactPolicy, room_id: str, message: Queued) -> tuple[Act, ...]:
    """What is to be sent, in order; nothing when all is as it should be already."""
    if message.beside is None:
        return (Written(room_message(message)),)
    at = _Place(step, contact, room_id, ContentPolicy.of(contact.options))
    beside = message.beside
    if beside.retracts is not None:
        return _retraction(at, beside.retracts)
    if beside.reaction is not None:
        return _reaction(at, beside.reaction)
    content = room_message(message)
    if beside.replaces is not None:
        return (_edit(at, beside.replaces, content),)
    if beside.reply is not None:
        return (_answer(at, beside.reply, content),)
    return (Written(content),)


def _retraction(at: _Place, retracted: str) -> tuple[Act, ...]:
    event_id = inside_known.event_of(at.step, at.contact, at.room_id, retracted)
    if not event_id:
        return (_words("took back an earlier message, which cannot be removed here", ""),)
    if not at.policy.retractions:
        return (_words("took back this message", event_id),)
    events = inside_known.events_of(at.step, at.contact, at.room_id, event_id)
    return tuple(Redacted(event) for event in events)  # the first one first: it takes the whole away


def _reaction(at: _Place, reaction: Reaction) -> tuple[Act, ...]:
    target = at.event_of(reaction.to)
    given = reaction.emojis[: inside_reactions.MOST_EMOJIS]
    wanted = list(dict.fromkeys(map(inside_reactions.emoji_of, given)))
    if not at.policy.reactions or not target or "" in wanted:
        done = f"reacted {' '.join(map(one_line, given))}" if given else "took the reaction back"
        return (_words(done if target else f"{done} (to an earlier message)", target),)
    known = inside_reactions.ours(at.step, at.contact, target)
    gone = [event for emoji, event in known if emoji not in wanted]
    left = tuple(pair for pair in known if pair[0] in wanted)
    if gone:
        inside_reactions.set_ours(at.step, at.contact, target, left)
    present = inside_reactions.emojis_of(left)
    new = [Reacted(target, emoji) for emoji in wanted if emoji not in present]
    return (*(Redacted(event) for event in gone), *new)


def _edit(at: _Place, replaced: str, content: Content) -> Act:
    first = inside_known.event_of(at.step, at.contact, at.room_id, replaced)
    if not first:
        return Written({**content, "body": f"* {content.get('body', '')}"})
    shortened = f"* {content.get('body', '')}"[:MAX_FALLBACK]
    fallback = {"msgtype": content.get("msgtype", "m.text"), "body": shortened}
    return Written({**fallback, "m.new_content": content}, Relation(REPLACE, first), first)


def _answer(at: _Place, reply: Reply, content: Content) -> Act:
    target = at.event_of(reply.to)
    if target:
        root = inside_received.thread_of(at.step, at.contact, target)
        return Written(content, Relation(THREAD, root, target) if root else Relation(reply_to=target))
    if not reply.quoted or "formatted_body" in content:
        return Written(content)
    quoted = "\n".join(f"> {line}" for line in reply.quoted[:MAX_QUOTE].split("\n"))
    return Written({**content, "body": f"{quoted}\n\n{content.get('body', '')}"})


def _words(text: str, answered: str) -> Written:
    content = room_message(Queued("", Kind.NOTICE, 0, True, text))
    return Written(content, Relation(reply_to=answered) if answered else None, aside=True)


# ---------------------------------------------------------------- requests
def requests(
    step: Step, contact: ContactPolicy, own: Device, out: tuple[str, GroupSession], message: Queued
) -> list[Request]:
    """The requests for a message, in order, each with what is kept of it until it is answered.

    The last one stands for the message. `out`: the room, and its session, which has changed. Raises OlmError.
    """
    room_id, session = out
    found: list[Request] = []
    acts = planned(step, contact, room_id, message)
    for number, act in enumerate(acts):
        last = number == len(acts) - 1
        sent = _sent(contact, room_id, message, act, last=last)
        room = Address(v=room_id)
        if isinstance(act, Written):
            content = encrypted_event(session, own, room_id, "m.room.message", act.content)
            if act.relation is not None:  # beside the ciphertext (spec: Event relationships)
                content = content[:-1] + b',"m.relates_to":' + msgspec.json.encode(relates_to(act.relation)) + b"}"
            found.append((sent, ROOM_SEND, {"room": room, "content": Sealed(v=content)}))
        elif isinstance(act, Reacted):
            emoji = Public(v=act.emoji.encode())
            found.append((sent, ROOM_REACT, {"room": room, "event": Address(v=act.target), "emoji": emoji}))
        else:
            found.append((sent, ROOM_REDACT, {"room": room, "event": Address(v=act.event_id)}))
    return found


def _sent(contact: ContactPolicy, room_id: str, message: Queued, act: Act, *, last: bool) -> Sent:
    return Sent(
        contact.id,
        message.message_id,
        message.notice or not last,
        message.position if last else 0,
        room_id=room_id,
        first=act.first if isinstance(act, Written) else "",
        target=act.target if isinstance(act, Reacted) else "",
        emoji=act.emoji if isinstance(act, Reacted) else "",
        shows=isinstance(act, Written) and not act.aside and not message.notice,
    )


def noted(step: Step, contact: ContactPolicy, sent: Sent, answer: Input) -> None:
    """The server has the event: remember which it is."""
    if answer.code != "ok":
        return
    event_id = _event_id(answer.body)
    if not event_id:
        step.report("event-id-missing", contact.id)
        return
    entry = (sent.message_id if sent.shows else "", event_id, sent.first)
    inside_known.note(step, contact, sent.room_id, entry)
    if sent.emoji:
        known = inside_reactions.ours(step, contact, sent.target)
        inside_reactions.set_ours(step, contact, sent.target, (*known, (sent.emoji, event_id)))


def _event_id(body: bytes) -> str:
    try:
        return event_id_of(decoded(body, dict[str, object]).get("event_id"))
    except OlmError:
        return ""
