"""Messages within sessions: sent, received, acknowledged, repeated, refused."""

import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from client.events import (
    ContactRead,
    ContactTyping,
    Happening,
    MessageCopied,
    MessageDelivered,
    MessageFailed,
    MessageHeld,
    MessageReceived,
    PlainReceived,
    Reacted,
    Retracted,
)
from client.stanzas import (
    Content,
    Copy,
    ErrorCondition,
    Meaning,
    Stanza,
    mac_in,
    mac_of,
    read_content,
    receipt_content,
    text_content,
)
from client.store import Store
from client.surroundings import ContactSettings, Surroundings
from client.talks import Talk
from client.trust import Trust
from crypto.esession import conversation as esession
from crypto.esession.conversation import Outcome
from crypto.esession.profiles import Profile
from crypto.esession.session import Exhausted
from crypto.xml import Element

SENT_MACS = 512
"""Of our own stanzas, of whatever session: a server may put the whole stanza into the error that sends it back."""


def shown(jid: str, message_id: str, content: Content, peer: str, thread: str) -> Happening:
    """What a message of the contact's is to the program."""
    said = content.said
    if said.retracts is not None:
        return Retracted(jid, message_id, said.retracts, peer)
    if said.reacts_to is not None:
        return Reacted(jid, message_id, said.reacts_to, said.emojis, peer)
    return MessageReceived(jid, message_id, content.body or "", peer, thread, said)


class Exchange(Trust):
    """What is said in the sessions with one contact."""

    def __init__(self, jid: str, store: Store, around: Surroundings, settings: ContactSettings) -> None:
        super().__init__(jid, store, around, settings)
        self._repeated_at_s = float("-inf")
        self._told: frozenset[str] = frozenset()
        self._sent_macs: deque[str] = deque(maxlen=SENT_MACS)
        self._seals_receipts = store.seals_receipts(jid)
        self._said_at_s: float | None = None
        self._told_typing: tuple[bool, float] | None = None

    def _send_waiting(self, talk: Talk) -> None:
        if self._delivery.unsent() is not None:
            self._said_at_s, self._told_typing = self._around.now(), None
        while self._talks.current is talk and (message := self._delivery.unsent()) is not None:
            # Who does not keep to the letter knows nothing but texts.
            more = message.more if talk.letter else b""
            content = text_content(message.body, message.id, more, markable=talk.letter)
            self._send(talk, content, message.id)

    # ------------------------------------------------------------ content
    def _content(self, talk: Talk, content: Content, stanza: Element) -> None:
        if content.received and not self._seals_receipts:
            self._seals_receipts = True
            self._store.sealed_receipt(self.jid)
        self._acknowledged(content)
        if content.error is not None:
            if not self._refused(content.origin_id or stanza.attribute("id"), content.error):
                self._put_off(content.origin_id, content.error)
        elif content.copy is not None:
            self._copied(talk, content.copy)
        elif content.speaks:
            self._typing = False
            self._message(talk, content, stanza)
        elif content.said.displayed is not None:
            self._around.notify(ContactRead(self.jid, content.said.displayed, talk.peer))
        if content.state is not None and content.body is None:
            self._typing = content.state == "composing"
            self._around.notify(ContactTyping(self.jid, content.state))

    def _copied(self, talk: Talk, copy: Copy) -> None:
        """What another client of ours wrote to this contact; nothing else may be shown as ours."""
        own, to = copy.sender.partition("/")[0], copy.to.partition("/")[0]
        if (own, to) != (self._around.own_jid(), self.jid) or self._delivery.holds(copy.id):
            return
        name = f"own {copy.id}"
        if not self._store.seen(self.jid, name):
            self._around.notify(MessageCopied(self.jid, copy.id, copy.body, copy.sender, talk.peer, copy.said))
            self._store.see(self.jid, name)

    def _message(self, talk: Talk, content: Content, stanza: Element) -> None:
        if (mac := mac_of(stanza)) is not None:
            talk.message_macs.append(mac)
        message_id = content.origin_id or stanza.attribute("id") or self._around.new_id("message")
        # Only an authentic id tells doubles apart; what stands outside the encryption may be anybody's.
        if content.origin_id is None or not self._store.seen(self.jid, content.origin_id):
            self._around.notify(shown(self.jid, message_id, content, talk.peer, talk.conversation.thread))
            if content.origin_id is not None:
                self._store.see(self.jid, content.origin_id)
        if content.receipt_wanted:
            sending = self._talks.current
            if sending is None and talk.active:
                self._talks.promote(talk)
                talk.deadline_s, talk.yielded, sending = None, False, talk
            if sending is not None:
                self._send(sending, receipt_content(message_id), None)

    def _send(
        self, talk: Talk, content: bytes, message_id: str | None, like: Stanza | None = None, *, error: bool = False
    ) -> bool:
        """Encrypt and send; `like`: a stanza that is no message, without its payload. False: the session ended."""
        kind = "message" if like is None else like.name
        draw, now_ms = self._around.draw, self._now_ms()
        try:
            if error:
                outcome = esession.send_error(
                    talk.conversation,
                    content,
                    condition="undefined-condition",
                    error_type="cancel",
                    draw=draw,
                    now_ms=now_ms,
                )
            else:
                outcome = esession.send(
                    talk.conversation, content, kind=kind, draw=draw, now_ms=now_ms, policy=self._settings.rekey
                )
        except Exhausted:
            # XEP-0200, "Maximum Key Life": new keys come from a new negotiation.
            self._end(talk, "replaced")
            return False
        self._out(talk, outcome, message_id, like)
        return True

    def _out(self, talk: Talk, outcome: Outcome, message_id: str | None, like: Stanza | None) -> None:
        """Put what was sealed on its way, and remember it: no stanza of a session may be missing."""
        assert outcome.conversation is not None
        talk.conversation = outcome.conversation
        for reply in outcome.replies:
            stanza = self._stanza(talk.peer, talk.conversation.thread, reply.kind, reply.payload, message_id)
            if like is not None:
                stanza = replace(like, to=talk.peer, thread=stanza.thread, payload=reply.payload)
            if (mac := mac_in(reply.payload)) is not None:
                self._sent_macs.append(mac)
            if self._talks.is_current(talk.conversation.thread):
                self._delivery.sent(stanza, message_id, self._around.now())
            self._around.transmit(stanza)

    def _refresh(self) -> None:
        """New keys for sessions that fell silent; values that waited long enough are destroyed (XEP-0200)."""
        for talk in self._talks:
            outcome = None
            with contextlib.suppress(Exhausted):
                outcome = esession.refresh(
                    talk.conversation, draw=self._around.draw, now_ms=self._now_ms(), policy=self._settings.rekey
                )
            if outcome is not None:
                self._out(talk, outcome, None, Stanza("", "chat", self._around.new_id("stanza"), "", b"", passing=True))

    def _refresh_due_s(self) -> list[float]:
        """When `_refresh` has something to do."""
        due = (esession.refresh_due_ms(talk.conversation, self._settings.rekey) for talk in self._talks)
        return [ms / 1000 for ms in due if ms is not None]

    def _repetition(self, talk: Talk, stanza: Element) -> None:
        """The other end repeats itself: if it repeats a message, our receipt for it may have been lost."""
        if self._talks.is_current(talk.conversation.thread) and mac_of(stanza) in talk.message_macs:
            self._repeat_tail()

    def _repeat_tail(self) -> None:
        now = self._around.now()
        if now - self._repeated_at_s >= 1:
            self._transmit_again()

    def _transmit_again(self, stanzas: Sequence[Stanza] | None = None) -> None:
        """The ciphertext itself, octet for octet, in order: nothing new is encrypted, no counter moves."""
        if self._talks.current is None or self._online_at_s is None:
            return
        self._repeated_at_s = self._around.now()
        for stanza in self._delivery.tail() if stanzas is None else stanzas:
            self._around.transmit(stanza)

    def _sent_by_us(self, stanza_id: str | None) -> bool:
        """Whether a stanza of this id was sent in the current session and is not acknowledged."""
        return stanza_id is not None and (
            self._delivery.holds(stanza_id) or any(stanza.id == stanza_id for stanza in self._delivery.tail())
        )

    def _acknowledged(self, content: Content) -> None:
        for received in content.received:
            if self._delivery.acknowledged(received, self._around.now()):
                self._store.settle(self.jid, received)
                self._around.notify(MessageDelivered(self.jid, received))

    def _refused(self, message_id: str | None, error: ErrorCondition) -> bool:
        if message_id is None or error.meaning is not Meaning.FINAL:
            return False
        if not self._delivery.failed(message_id, self._around.now()):
            return False
        self._store.settle(self.jid, message_id)
        self._around.notify(MessageFailed(self.jid, message_id, error.condition, error.text))
        return True

    def _put_off(self, message_id: str | None, error: ErrorCondition) -> None:
        """It is not taken now; said inside the encryption, so the other end says so and not somebody on the way."""
        if message_id is None or error.meaning is not Meaning.PASSING or message_id in self._told:
            return
        if self._delivery.holds(message_id):
            self._told = self._told.intersection(self._delivery.waiting) | {message_id}
            self._around.notify(MessageHeld(self.jid, message_id, error.condition, error.text))

    def _plain(self, stanza: Element, sender: str) -> bool:
        """Text is never taken in plain; receipts only of a client that never sent an encrypted one.

        Deployed clients send them in plain; from others that is a forgery, to make a lost message look delivered.
        """
        content = read_content(stanza.elements)
        if not self._seals_receipts and self._store.profile(self.jid) == Profile.DEPLOYED:
            self._acknowledged(content)
        if content.body is None or not self._store.had_session(self.jid):
            return bool(content.received)
        self._around.notify(PlainReceived(self.jid, sender))
        return False
