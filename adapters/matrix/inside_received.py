"""An opened event of a contact's as a message: its relation, its kind, and what of it is remembered.

| record | kind |
|---|---|
| `threads/<mxid>` | Threads: which thread the newest events of threads belong to, so that answers stay in it |
| `edits/<mxid>` | Edits: the newest events that are new wordings |
"""

from dataclasses import dataclass, replace

from adapters.inside_api import ContactPolicy, Step
from adapters.matrix import inside_known, inside_notices, inside_polls, inside_reactions
from adapters.matrix.inside_content import SHOWN, opened_content, quoted_in, received_message, text_in
from adapters.matrix.inside_relations import ANNOTATION, REPLACE, THREAD, Relation, relation_of
from adapters.matrix.names import TOLD_UNSUPPORTED
from crypto.content import Reaction, Reply
from crypto.message import Kind, Message
from crypto.olm.errors import Malformed
from crypto.olm.group import RoomEvent

MOST_IDS = 64
_RELATES = b"m.relates_to"
_CALLS = ("m.call.", "org.matrix.msc3401.call", "m.rtc.", "org.matrix.msc4075.rtc.", "org.matrix.msc4310.rtc.")
_CALL_BEGINS = ("invite", "notification", "notify")
_SILENT = ("m.room.encrypted", "m.dummy", "io.element.effect", "m.beacon", "org.matrix.msc3672.beacon")
"""What says nothing to a person by itself, or again every few seconds."""


@dataclass(frozen=True, slots=True)
class Threads:
    """Event and the first event of its thread, the newest last."""

    roots: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Edits:
    """Event, the event of the first wording, and when it was sent as the server says; as they came."""

    made: tuple[tuple[str, str, int], ...] = ()

    def supersede(self, edit: tuple[str, str, int]) -> bool:
        """Whether there is a newer wording (spec: by time, then by id): one may come late, when its key does."""
        return any(other[1] == edit[1] and (other[2], other[0]) > (edit[2], edit[0]) for other in self.made)


def message_of(step: Step, contact: ContactPolicy, blank: Message, clear: bytes, opened: RoomEvent) -> Message | None:
    """The message that an opened event is; None when it says nothing to a person.

    `blank`: a message with all that is known without the content. `clear`: the content that the event had outside
    the ciphertext, with the relation in it. Raises Malformed.
    """
    relation = relation_of(clear) if _RELATES in clear else None
    if relation is None and _RELATES in opened.content:
        relation = relation_of(opened.content)
        if relation is not None and relation.kind == REPLACE:
            relation = None  # it has to stand outside (spec: Editing encrypted events)
    if relation is None and opened.type == "m.room.message":
        return received_message(opened.type, opened.content, blank)
    relation = relation or Relation()
    if relation.kind == REPLACE:
        return _edit(step, contact, blank, relation, opened)
    return _shown(step, contact, _answering(step, contact, blank, relation, opened), relation, opened)


def target_of(step: Step, contact: ContactPolicy, event_id: str) -> str:
    """The message that an event is: of one of ours the user's own id, of others the event's. Empty: no message."""
    message = inside_known.message_of(step, contact, event_id)
    return event_id if message is None else message


def thread_of(step: Step, contact: ContactPolicy, event_id: str) -> str:
    """The first event of the thread that an event of the contact's belongs to, empty when it is in none."""
    known = step.records.get(f"threads/{contact.address}", Threads) or Threads()
    return dict(known.roots).get(event_id, "")


def edit_taken_back(step: Step, contact: ContactPolicy, event_id: str) -> tuple[str, bool] | None:
    """The event is taken back: the one it was a new wording of (empty: that is gone), and whether it was the last.

    None when it is none of the contact's newest new wordings.
    """
    known = step.records.get(f"edits/{contact.address}", Edits) or Edits()
    edit = next((edit for edit in known.made if edit[0] == event_id), None)
    if edit is None:
        return None
    step.records.put(f"edits/{contact.address}", Edits(tuple(other for other in known.made if other != edit)))
    return edit[1], not known.supersede(edit)


def taken_back(step: Step, contact: ContactPolicy, event_id: str) -> None:
    """The event is gone, and of its new wordings nothing is to be said any more: clients take them back as well."""
    known = step.records.get(f"edits/{contact.address}", Edits) or Edits()
    made = tuple((edit, "" if first == event_id else first, at_ms) for edit, first, at_ms in known.made)
    if made != known.made:
        step.records.put(f"edits/{contact.address}", Edits(made))


# ---------------------------------------------------------------- relations
def _edit(step: Step, contact: ContactPolicy, blank: Message, relation: Relation, opened: RoomEvent) -> Message | None:
    """A new wording. What is none by the rules is shown as it stands: whoever carries it may have made it one."""
    content = opened_content(opened.content)
    ours = inside_known.message_of(step, contact, relation.event_id) is not None
    if content is None or ours or relation.event_id == blank.id:
        step.report("edit-not-valid", contact.id)
        return _shown(step, contact, blank, Relation(), opened)
    known = step.records.get(f"edits/{contact.address}", Edits) or Edits()
    edit = (blank.id, relation.event_id, blank.sent_at_ms or 0)
    step.records.put(f"edits/{contact.address}", Edits((*known.made, edit)[-MOST_IDS:]))
    if known.supersede(edit):
        step.report("edit-superseded", contact.id)
        return None
    again = replace(opened, content=content)
    return _shown(step, contact, replace(blank, replaces=relation.event_id), Relation(), again)


def _answering(step: Step, contact: ContactPolicy, blank: Message, relation: Relation, opened: RoomEvent) -> Message:
    answered = relation.reply_to
    if relation.kind == THREAD:
        known = step.records.get(f"threads/{contact.address}", Threads) or Threads()
        roots = (*known.roots, (blank.id, relation.event_id))[-MOST_IDS:]
        step.records.put(f"threads/{contact.address}", Threads(roots))
        if relation.is_falling_back or not answered:
            answered = relation.event_id
    target = target_of(step, contact, answered) if answered else ""
    if not target:
        return blank
    by_user = True if target != answered else None
    return replace(blank, reply=Reply(target, quoted_in(opened.content), by_user))


# ---------------------------------------------------------------- kinds
def _shown(step: Step, contact: ContactPolicy, blank: Message, relation: Relation, opened: RoomEvent) -> Message | None:
    if opened.type in inside_polls.TYPES:
        return _poll(step, contact, blank, relation, opened)
    if opened.type == "m.reaction":
        return _reaction(step, contact, blank, relation)
    if opened.type in SHOWN:
        return received_message(opened.type, opened.content, blank)
    return _unknown(step, contact, blank, opened)


def _poll(step: Step, contact: ContactPolicy, blank: Message, relation: Relation, opened: RoomEvent) -> Message:
    if opened.type in inside_polls.START:
        poll = inside_polls.poll_of(opened.content)
        inside_polls.keep(step, contact, blank.replaces or blank.id, poll)
        body, marks = inside_polls.asked_in_words(poll)
        return replace(blank, body=body, marks=marks)
    known = inside_polls.kept(step, contact, relation.event_id)
    if opened.type in inside_polls.RESPONSE:
        body = inside_polls.vote_in_words(known, inside_polls.choices_of(opened.content))
    else:
        body = inside_polls.end_in_words(known, opened.content)
    reply = Reply(relation.event_id, by_user=False) if known is not None else None
    return replace(blank, body=body, kind=Kind.NOTICE, reply=reply)


def _reaction(step: Step, contact: ContactPolicy, blank: Message, relation: Relation) -> Message | None:
    emoji = inside_reactions.emoji_of(relation.key)
    if relation.kind != ANNOTATION or not emoji:
        raise Malformed
    return reacted(step, contact, blank, relation.event_id, emoji)


def reacted(step: Step, contact: ContactPolicy, blank: Message, target: str, emoji: str) -> Message | None:
    """The contact's reaction to an event, with all that they feel about it; None when it changes nothing."""
    emojis = inside_reactions.added(step, contact, target, emoji, blank.id)
    message = target_of(step, contact, target)
    if emojis is None or not message:
        return None
    return replace(blank, body="", reaction=Reaction(message, emojis))


def _unknown(step: Step, contact: ContactPolicy, blank: Message, opened: RoomEvent) -> Message | None:
    """In words, if there are any."""
    if opened.type.startswith(_SILENT):
        return None
    if opened.type.startswith(_CALLS):
        begins = opened.type.endswith(_CALL_BEGINS)
        return replace(blank, body="[call]", kind=Kind.NOTICE) if begins else None
    text = text_in(opened.content)
    if text:
        return replace(blank, body=f"[message of an unknown kind: {text}]")
    inside_notices.tell(step, contact, TOLD_UNSUPPORTED)
    return None
