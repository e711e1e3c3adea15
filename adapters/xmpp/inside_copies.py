"""What one of the user's clients wrote, shown to the others: copies inside their sessions (decision 0096)."""

from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_stanzas import MAX_BODY, Content, sent_content
from adapters.xmpp.inside_state import Talk

COPIED = 4096
"""Octets of a copy beside what is copied."""


def copy_sent(at: LegStep, peer: str, content: Content, stanza_id: str) -> None:
    """Show the user's other resources what `peer` sent, whole. Who does not know copies is not troubled with them."""
    writer = at.leg.of_peer(peer)
    for talk in at.leg.audience(writer):
        if talk.letter and talk.peer != peer:
            _copy(at, talk, peer, content, stanza_id)


def _copy(at: LegStep, talk: Talk, peer: str, content: Content, stanza_id: str) -> None:
    conversation = at.conversation(talk.thread)
    copied = sent_content(content, stanza_id, sender=peer, to=at.contact.alias)
    if conversation is None or not conversation.active or len(copied) > MAX_BODY + COPIED:
        at.report("copy-omitted")
        return
    sealed = at.seal(conversation, copied)
    if sealed is None:  # it ends when the next message is to go out in it
        at.report("copy-omitted")
    else:
        at.encrypted(talk.thread, talk.peer, f"s-{at.step.draw('stanza-id', 8).hex()}", sealed)
