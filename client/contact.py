"""One contact at an endpoint: starts sessions when there is something to say, keeps messages until acknowledged.

No input or output of its own: everything it does goes through `Surroundings`, so that a test can play the network,
the clock and the dice. Times are seconds of a clock that does not run backwards.
"""

from dataclasses import replace

from client.delivery import Verdict
from client.events import SessionRefused
from client.sessions import Sessions
from client.stanzas import ErrorCondition, Meaning, mac_of, read_error
from client.store import KeptMessage
from client.talks import Talk
from crypto.esession import conversation as esession
from crypto.esession.conversation import Payload
from crypto.esession.profiles import Profile
from crypto.xml import CLIENT, Element


class Contact(Sessions):
    """Everything between this endpoint and one bare JID."""

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
        """A stanza from `sender` (full JID): any message; presence and iq that concern sessions. False: not ours."""
        if stanza.name != "message":
            ours = self._other_stanza(stanza, sender)
        elif stanza.attribute("type") == "error":
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
        times = self._talks.deadlines() + self._refresh_due_s()
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
        self._refresh()
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
