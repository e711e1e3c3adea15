"""What comes of the stanzas of sessions: negotiations that go on, sessions that begin and end, what they carry."""

from client.events import SessionRefused, SessionStarted
from client.exchange import shown
from client.stanzas import Stanza, mac_of, read_content, receipt_content, sealed_part
from client.starting import Starting
from client.store import Store
from client.surroundings import ContactSettings, Surroundings
from client.talks import OLDER_KEPT, Talk
from crypto.esession import conversation as esession
from crypto.esession.associations import Verdict, assess, remember
from crypto.esession.conversation import Event, Outcome
from crypto.esession.identities import PublicIdentity
from crypto.xml import Element

_REASONS = {
    Event.ENDED: "ended",
    Event.ENDED_UNAUTHENTICATED: "unauthenticated",
    Event.BROKEN: "broken",
    Event.LOST: "lost",
}
MAX_SINGLE = 4
"""Acknowledgements of messages sealed alone that may be under way."""
_OPENED = frozenset({Event.CONTENT, Event.REPEATED, Event.ENDED})
_NOT_OPENED = b'<error type="cancel"><not-acceptable xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error>'


class Sessions(Starting):
    """The sessions with one contact, as they come and go."""

    def __init__(self, jid: str, store: Store, around: Surroundings, settings: ContactSettings) -> None:
        super().__init__(jid, store, around, settings)
        self._errors = settings.errors

    # ------------------------------------------------------------ messages
    def _esession(self, stanza: Element, sender: str) -> None:
        thread = esession.thread_of(stanza) or ""
        talk = self._talks.get(thread)
        outcome = esession.receive(
            None if talk is None else talk.conversation,
            stanza,
            terms=self._terms(talk),
            retained=self._retained(),
            draw=self._around.draw,
            judge=self._judge(talk),
        )
        self._took(talk, sender, thread, outcome, stanza)

    def _took(self, talk: Talk | None, sender: str, thread: str, outcome: Outcome, stanza: Element) -> None:
        """Remember and send what came of a stanza."""
        if outcome.retained is not None:
            self._keep(outcome.retained)
        if outcome.event in (Event.IGNORED, Event.UNKNOWN):
            self._ignored(sender, thread, outcome)
        elif outcome.conversation is None:
            self._closed(talk, sender, thread, outcome, stanza)
        else:
            if talk is None:
                talk = Talk(outcome.conversation, sender, self._around.now())
                self._crossing(talk)
            talk.conversation = outcome.conversation
            if outcome.event is not Event.REPEATED:
                talk.peer = sender
            self._continued(talk, outcome, stanza)

    def _continued(self, talk: Talk, outcome: Outcome, stanza: Element) -> None:
        """The conversation goes on."""
        match outcome.event:
            case Event.OFFERED | Event.ANSWERED | Event.PROVED:
                self._underway(talk, outcome)
            case Event.ESTABLISHED:
                self._established(talk, outcome)
                if outcome.content:
                    self._content(talk, read_content(outcome.content), stanza)
            case Event.CONTENT:
                if self._delivery.alive():
                    self._transmit_again()
                self._counts(talk)
                self._heard(talk, outcome, stanza)
            case Event.REPEATED:
                self._repetition(talk, stanza)
            case _:
                self._reply(talk.peer, talk.conversation.thread, outcome)

    def _heard(self, talk: Talk, outcome: Outcome, stanza: Element) -> None:
        """What an authentic stanza held."""
        kind = stanza.attribute("type") or ""
        if stanza.name == "message":
            self._content(talk, read_content(outcome.content), stanza)
        elif stanza.name == "presence":
            if outcome.content and not kind:
                self._heard_presence(talk, outcome.content)
        elif kind in ("get", "set"):
            self._heard_query(talk, stanza, outcome.content)
        else:
            content = outcome.content if kind == "result" else outcome.within_error
            self._heard_answer(stanza.attribute("id"), kind, content)

    def _established(self, talk: Talk, outcome: Outcome) -> None:
        session = talk.conversation.session
        assert session is not None
        talk.deadline_s = None
        known = self._store.profile(self.jid)
        # Who only repeated the hashes of our secrets does not say how the contact's end reads the specifications.
        self._store.established(self.jid, str(session.profile if session.proved else known or session.profile))
        self._reply(talk.peer, talk.conversation.thread, outcome)
        self._recognised(talk, outcome)
        self._wanted, self._quiet = False, False
        self._pause, self._patience = self._pause.reset(), self._patience.reset()
        if self._yields(talk):
            talk.deadline_s, talk.yielded = self._around.now() + self._settings.older_s, True
            self._talks.keep(talk)
            return
        if (previous := self._talks.current) is not None and previous is not talk:
            previous.deadline_s = self._around.now() + self._settings.older_s
        self._talks.promote(talk)
        for older in self._talks.older()[:-OLDER_KEPT]:
            self._end(older, "replaced")
        self._left()
        self._around.notify(SessionStarted(self.jid, self.view()))
        self._warn(talk)
        self._greet(talk)

    def _closed(self, talk: Talk | None, sender: str, thread: str, outcome: Outcome, stanza: Element) -> None:
        """The conversation is over, one way or another."""
        self._reply(sender, thread, outcome)
        if outcome.event is Event.CONTENT_ONCE:
            self._talks.drop(thread)
            self._once(outcome, stanza, sender)
            return
        if outcome.content and stanza.name == "message":
            self._acknowledged(read_content(outcome.content))
        if talk is not None and talk.single:
            self._talks.drop(thread)
            return
        match outcome.event:
            case Event.FAILED if outcome.retry is not None and self._store.profile(self.jid) is None:
                self._talks.drop(thread)
                self._initiate(sender, outcome.retry, 1)
            case Event.FAILED | Event.DECLINED:
                ours = talk is not None and talk.negotiating
                self._talks.drop(thread)
                if ours:
                    self._later()
                    condition = outcome.condition or "not-acceptable"
                    self._around.notify(SessionRefused(self.jid, condition, str(outcome.event)))
            case _ if talk is not None:
                self._wanted = self._wanted or outcome.event in (Event.BROKEN, Event.LOST)
                self._over(talk, _REASONS.get(outcome.event, "ended"))

    def _ignored(self, sender: str, thread: str, outcome: Outcome) -> None:
        """It fits nowhere: an answer at most now and then, because anyone can send such stanzas."""
        if not outcome.replies:
            return
        self._errors = self._errors.at(self._around.now())
        if not self._errors.empty:
            self._errors = self._errors.used()
            self._reply(sender, thread, outcome)

    def _expired(self, talk: Talk) -> None:
        if talk.single:
            self._talks.drop(talk.conversation.thread)
        elif talk.closing:
            self._over(talk, "ended")
        elif talk.active:
            self._end(talk, "replaced")
        else:
            self._end(talk, "ended")
            if self._pause.attempts == 0:
                self._around.notify(SessionRefused(self.jid, "remote-server-timeout", "there was no answer"))
            self._later()

    # ------------------------------------------------------------ presence and iq
    def _other_stanza(self, stanza: Element, sender: str) -> bool:
        """They have no thread: of the sessions with that resource it is the one whose authentication code fits.

        When it fits none, the newest has missed something, or is shown what its other end did not send: it ends.
        """
        stanza_id, kind = stanza.attribute("id"), stanza.attribute("type")
        if sealed_part(stanza) is None:
            return kind == "error" and self._returned(stanza_id)
        if kind == "error" and mac_of(stanza) in self._sent_macs:
            self._returned(stanza_id)
            return True
        talks = [talk for talk in reversed(list(self._talks)) if talk.active and talk.peer == sender]
        attempts = [(talk, self._attempt(talk, stanza)) for talk in talks]
        found = next((pair for pair in attempts if pair[1].event in _OPENED), None)
        if found is None:
            found = next((pair for pair in attempts if pair[1].event is Event.BROKEN), None)
            self._not_opened(stanza, sender)
        if found is not None:
            talk, outcome = found
            self._took(talk, sender, talk.conversation.thread, outcome, stanza)
        return True

    def _returned(self, stanza_id: str | None) -> bool:
        """An error in the clear about a stanza of ours: if a server sent it back, it is missing at the other end."""
        answered = self._heard_answer(stanza_id, "error", ())
        lost = self._sent_by_us(stanza_id)
        if lost:
            self._delivery.bounced(self._around.now())
        return answered or lost

    def _attempt(self, talk: Talk, stanza: Element) -> Outcome:
        return esession.receive(
            talk.conversation, stanza, terms=self._terms(), retained=self._retained(), draw=self._around.draw
        )

    def _not_opened(self, stanza: Element, sender: str) -> None:
        """A question that cannot be read gets an error in the clear, now and then."""
        stanza_id = stanza.attribute("id")
        if stanza.name != "iq" or stanza.attribute("type") not in ("get", "set") or not stanza_id:
            return
        self._errors = self._errors.at(self._around.now())
        if not self._errors.empty:
            self._errors = self._errors.used()
            self._around.transmit(Stanza(sender, "error", stanza_id, "", _NOT_OPENED, "iq"))

    # ------------------------------------------------------------ single messages
    def _once(self, outcome: Outcome, stanza: Element, sender: str) -> None:
        """A message that was sealed alone: nothing links it to earlier sessions but its sender's key."""
        content, public = read_content(outcome.content), outcome.identity
        if public is None or not content.speaks or content.origin_id is None:
            return
        assessment = assess(self._known(), self.jid, public)
        good = Verdict.SAME in assessment.verdicts or Verdict.NEW in assessment.verdicts
        if not good or (self._retained().demands_verified and not assessment.validated):
            error = b'<error type="auth"><not-authorized xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error>'
            thread = esession.thread_of(stanza) or ""
            self._around.transmit(Stanza(sender, "error", content.origin_id, thread, error))
            return
        self._keep_known(remember(self._known(), self.jid, public))
        thread = esession.thread_of(stanza) or ""
        if not self._store.seen(self.jid, content.origin_id):
            self._around.notify(shown(self.jid, content.origin_id, content, sender, thread))
            self._store.see(self.jid, content.origin_id)
        self._acknowledge_single(sender, public, content.origin_id, thread)

    def _acknowledge_single(self, sender: str, public: PublicIdentity, message_id: str, thread: str) -> None:
        """Sealed in the same way, to the same key; in plain where we have no key to show."""
        receipt = receipt_content(message_id)
        if not self._settings.terms.identities:
            self._around.transmit(Stanza(sender, "chat", self._around.new_id("receipt"), thread, receipt))
        elif sum(talk.single for talk in self._talks) < MAX_SINGLE:
            terms = self._terms(Talk(esession.Conversation(""), sender, 0.0, single=True))
            outcome = esession.initiate(self._around.new_id("thread"), terms, self._around.draw, once=receipt)
            assert outcome.conversation is not None
            talk = Talk(outcome.conversation, sender, self._around.now(), ours=True, single=True, public=public)
            self._underway(talk, outcome)
