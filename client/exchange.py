"""Messages within sessions: sent, received, acknowledged, repeated, refused."""

from collections import deque
from collections.abc import Sequence

from client.events import MessageDelivered, MessageFailed, MessageHeld, MessageReceived, PlainReceived
from client.machine import Machine
from client.stanzas import (
    Content,
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
from crypto.esession import conversation as esession
from crypto.esession.profiles import Profile
from crypto.esession.session import Exhausted
from crypto.xml import Element

SENT_MACS = 512
"""Of our own stanzas, of whatever session: a server may put the whole stanza into the error that sends it back."""


class Exchange(Machine):
    """What is said in the sessions with one contact."""

    def __init__(self, jid: str, store: Store, around: Surroundings, settings: ContactSettings) -> None:
        super().__init__(jid, store, around, settings)
        self._repeated_at_s = float("-inf")
        self._told: frozenset[str] = frozenset()
        self._sent_macs: deque[str] = deque(maxlen=SENT_MACS)
        self._seals_receipts = store.seals_receipts(jid)

    def _send_waiting(self, talk: Talk) -> None:
        while self._talks.current is talk and (message := self._delivery.unsent()) is not None:
            self._send(talk, text_content(message.body, message.id), message.id)

    # ------------------------------------------------------------ content
    def _content(self, talk: Talk, content: Content, stanza: Element) -> None:
        if content.received and not self._seals_receipts:
            self._seals_receipts = True
            self._store.sealed_receipt(self.jid)
        self._acknowledged(content)
        if content.error is not None:
            if not self._refused(content.origin_id or stanza.attribute("id"), content.error):
                self._put_off(content.origin_id, content.error)
        elif content.body is not None:
            self._message(talk, content, stanza)

    def _message(self, talk: Talk, content: Content, stanza: Element) -> None:
        if (mac := mac_of(stanza)) is not None:
            talk.message_macs.append(mac)
        message_id = content.origin_id or stanza.attribute("id") or self._around.new_id("message")
        # Only an authentic id tells doubles apart; what stands outside the encryption may be anybody's.
        if content.origin_id is None or not self._store.seen(self.jid, content.origin_id):
            self._around.notify(
                MessageReceived(self.jid, message_id, content.body or "", talk.peer, talk.conversation.thread)
            )
            if content.origin_id is not None:
                self._store.see(self.jid, content.origin_id)
        if content.receipt_wanted:
            sending = self._talks.current
            if sending is None and talk.active:
                self._talks.promote(talk)
                talk.deadline_s, sending = None, talk
            if sending is not None:
                self._send(sending, receipt_content(message_id), None)

    def _send(self, talk: Talk, content: bytes, message_id: str | None) -> None:
        try:
            outcome = esession.send(talk.conversation, content)
        except Exhausted:
            # XEP-0200, "Maximum Key Life": new keys come from a new negotiation.
            self._end(talk, "replaced")
            return
        assert outcome.conversation is not None
        talk.conversation = outcome.conversation
        for reply in outcome.replies:
            stanza = self._stanza(talk.peer, talk.conversation.thread, reply.kind, reply.payload, message_id)
            if (mac := mac_in(reply.payload)) is not None:
                self._sent_macs.append(mac)
            self._delivery.sent(stanza, message_id, self._around.now())
            self._around.transmit(stanza)

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
