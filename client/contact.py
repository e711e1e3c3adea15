"""One contact at an endpoint: starts sessions when there is something to say, keeps messages until acknowledged.

No input or output of its own: everything it does goes through `Surroundings`, so that a test can play the network,
the clock and the dice. Times are seconds of a clock that does not run backwards.
"""

from dataclasses import replace

from client.delivery import Verdict
from client.events import SessionRefused, SessionStarted
from client.stanzas import ErrorCondition, Meaning, mac_of, read_content, read_error
from client.starting import Starting
from client.store import KeptMessage, Store
from client.surroundings import ContactSettings, Surroundings
from client.talks import OLDER_KEPT, Talk
from crypto.esession import conversation as esession
from crypto.esession.conversation import Event, Outcome, Payload
from crypto.esession.profiles import Profile
from crypto.xml import CLIENT, Element

_REASONS = {
    Event.ENDED: "ended",
    Event.ENDED_UNAUTHENTICATED: "unauthenticated",
    Event.BROKEN: "broken",
    Event.LOST: "lost",
}


class Contact(Starting):
    """Everything between this endpoint and one bare JID."""

    def __init__(self, jid: str, store: Store, around: Surroundings, settings: ContactSettings) -> None:
        super().__init__(jid, store, around, settings)
        self._errors = settings.errors

    # ------------------------------------------------------------ the program's side
    def queue(self, message: KeptMessage) -> None:
        """Keep a message and send it as soon as possible. ValueError when its id is waiting already."""
        self._store.queue(self.jid, message)
        self._delivery.add(message)
        self._quiet = False
        self.pump()

    def start(self) -> None:
        """Negotiate a session now, unless one is active."""
        self._wanted, self._quiet, self._start_at_s = True, False, 0.0
        self.pump()

    def end(self) -> None:
        """End all sessions. Messages that wait stay until the next `queue` or `start`."""
        self._quiet, self._wanted = True, False
        for talk in self._talks:
            self._end(talk, "ended")
        self._changed()

    def verify(self) -> bool:
        """The user compared the SAS and it was the same; false when no session is active."""
        talk = self._talks.current
        if talk is None:
            return False
        talk.conversation, retained = esession.confirm(talk.conversation, self._retained())
        self._keep(retained)
        self._changed()
        return True

    @property
    def ending(self) -> bool:
        """Whether an acknowledgement of a termination is awaited."""
        return any(talk.closing for talk in self._talks)

    # ------------------------------------------------------------ the network's side
    def online(self) -> None:
        """The stream to our server is there."""
        self._online_at_s = self._around.now()
        self._presence_seen = False
        self._start_at_s = 0.0
        self.pump()

    def offline(self) -> None:
        """The stream is gone: forget all sessions with their keys, keep the messages."""
        self._online_at_s = None
        self._resources.clear()
        for talk in self._talks:
            self._over(talk, "offline")
        self._changed()

    def appeared(self, peer: str, profile: Profile | None = None) -> None:
        """A resource that announces ESessions is available, or said so again (it may have been restarted).

        `profile`: how it seems to read the specifications, by what else it announces; None: no telling.
        """
        self._resources.pop(peer, None)
        self._resources[peer] = profile
        self._pause, self._start_at_s = self._pause.reset(), 0.0
        now = self._around.now()
        for talk in self._talks.negotiating():
            if now - talk.begun_at_s > 1:
                self._talks.drop(talk.conversation.thread)
        if self._delivery.alive():
            self._transmit_again()
        else:
            self._repeat_tail()
        self.pump()

    def reachable(self) -> None:
        """The other end answered a probe."""
        if self._delivery.alive():
            self._transmit_again()
        self.pump()

    def present(self) -> None:
        """The contact's presence can be seen: there is no need to ask the bare JID."""
        self._presence_seen = True

    def disappeared(self, peer: str) -> None:
        """A resource became unavailable: sessions with it are of no use any more."""
        self._resources.pop(peer, None)
        for talk in self._talks:
            if talk.peer == peer:
                self._over(talk, "gone")
        self.pump()

    def received(self, stanza: Element, sender: str) -> bool:
        """A message stanza from `sender` (full JID). False when it is none of ours."""
        if stanza.attribute("type") == "error":
            ours = self._error(stanza, sender)
        elif (kind := esession.kind_of(stanza)) is None:
            ours = self._plain(stanza, sender)
        else:
            ours = True
            if kind is not Payload.REQUEST or self._may_answer():
                self._esession(stanza, sender)
        self.pump()
        return ours

    # ------------------------------------------------------------ time
    def deadline(self) -> float | None:
        """When `tick` should be called next; None: nothing is awaited."""
        times = self._talks.deadlines()
        if self._online_at_s is not None:
            if self._talks.current is not None and self._delivery.deadline is not None:
                times.append(self._delivery.deadline)
            if self._wants_session() and not self._talks.negotiating():
                times.append(self._start_at_s)
        return min(times, default=None)

    def tick(self) -> None:
        """Do what the time calls for."""
        now = self._around.now()
        for talk in self._talks:
            if talk.deadline_s is not None and talk.deadline_s <= now:
                self._expired(talk)
        current = self._talks.current
        if current is not None and self._online_at_s is not None:
            verdict = self._delivery.verdict(now)
            if verdict is Verdict.PROBE:
                self._around.probe(current.peer)
            elif verdict is Verdict.REPEAT:
                self._transmit_again(self._delivery.repetition())
            elif verdict is Verdict.RENEW:
                self._wanted = True
                self._end(current, "lost")
        self.pump()

    def pump(self) -> None:
        """Send what may be sent; start a session when one is needed."""
        current = self._talks.current
        if self._online_at_s is not None:
            if current is not None:
                self._send_waiting(current)
            elif self._wants_session() and not self._talks.negotiating():
                self._negotiate()
        self._changed()

    # ------------------------------------------------------------ outcomes of the protocol
    def _esession(self, stanza: Element, sender: str) -> None:
        thread = esession.thread_of(stanza) or ""
        talk = self._talks.get(thread)
        outcome = esession.receive(
            None if talk is None else talk.conversation,
            stanza,
            terms=self._settings.terms,
            retained=self._retained(),
            draw=self._around.draw,
        )
        if outcome.retained is not None:
            self._keep(outcome.retained)
        if outcome.event in (Event.IGNORED, Event.UNKNOWN):
            self._ignored(sender, thread, outcome)
        elif outcome.conversation is None:
            self._closed(talk, sender, thread, outcome)
        else:
            talk = talk or Talk(outcome.conversation, sender, self._around.now())
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
                self._content(talk, read_content(outcome.content), stanza)
            case Event.REPEATED:
                self._repetition(talk, stanza)
            case _:
                self._reply(talk.peer, talk.conversation.thread, outcome)

    def _established(self, talk: Talk, outcome: Outcome) -> None:
        session = talk.conversation.session
        assert session is not None
        talk.deadline_s = None
        self._store.established(self.jid, str(session.profile))
        self._reply(talk.peer, talk.conversation.thread, outcome)
        if (previous := self._talks.current) is not None and previous is not talk:
            previous.deadline_s = self._around.now() + self._settings.older_s
        self._talks.promote(talk)
        for older in self._talks.older()[:-OLDER_KEPT]:
            self._end(older, "replaced")
        self._delivery.session_over()
        self._wanted, self._quiet = False, False
        self._pause, self._patience = self._pause.reset(), self._patience.reset()
        self._around.notify(SessionStarted(self.jid, self.view()))

    def _closed(self, talk: Talk | None, sender: str, thread: str, outcome: Outcome) -> None:
        """The conversation is over, one way or another."""
        self._reply(sender, thread, outcome)
        if outcome.content:
            self._acknowledged(read_content(outcome.content))
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
        if talk.closing:
            self._over(talk, "ended")
        elif talk.active:
            self._end(talk, "replaced")
        else:
            self._end(talk, "ended")
            if self._pause.attempts == 0:
                self._around.notify(SessionRefused(self.jid, "remote-server-timeout", "there was no answer"))
            self._later()

    # ------------------------------------------------------------ errors, plain messages
    def _error(self, stanza: Element, sender: str) -> bool:
        """An error stanza: from the other end, or from a server that could not deliver."""
        stanza_id, thread = stanza.attribute("id"), esession.thread_of(stanza) or None
        talk = self._talks.get(thread) or self._talks.by_stanza(stanza_id)
        error = read_error(stanza.child(CLIENT, "error"))
        if talk is not None and talk.negotiating:
            self._negotiation_error(talk, stanza, sender, error)
            return True
        if (mac := mac_of(stanza)) is not None:
            if mac not in self._sent_macs:
                self._esession(stanza, sender)
                self._refused(stanza_id, error)
                return True
            # It came back whole: a server on the way sent it back, and what it calls the reason says nothing about
            # the other end. ejabberd says forbidden when a component is away and it may not ask other servers.
            error = replace(error, meaning=Meaning.PASSING)
        if thread is None:
            talk = self._talks.current if self._sent_by_us(stanza_id) else None
        if talk is None or talk is not self._talks.current:
            # Of a session that is over, or of something that was not sent by this plugin.
            return talk is not None or mac is not None
        self._session_error(talk, stanza_id, error)
        return True

    def _session_error(self, talk: Talk, stanza_id: str | None, error: ErrorCondition) -> None:
        """A plain error about the current session. Anybody may have made it up: it never leads to plain text."""
        match error.meaning:
            case Meaning.SESSION_LOST:
                self._wanted = True
                self._over(talk, "lost")
            case Meaning.FINAL:
                self._refused(stanza_id, error)
            case Meaning.PASSING:
                self._delivery.bounced(self._around.now())

    def _negotiation_error(self, talk: Talk, stanza: Element, sender: str, error: ErrorCondition) -> None:
        passing = error.meaning is Meaning.PASSING
        if not passing and esession.thread_of(stanza):
            self._esession(stanza, sender)
            return
        self._talks.drop(talk.conversation.thread)
        if not passing and self._pause.attempts == 0:
            self._around.notify(SessionRefused(self.jid, error.condition, error.text))
        self._later()
