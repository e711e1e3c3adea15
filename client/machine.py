"""What all of a contact's machine shares: its sessions, its messages, how stanzas go out, how sessions end."""

from dataclasses import replace

import msgspec

from client.delivery import Delivery
from client.events import SessionChanged, SessionEnded, SessionView
from client.stanzas import Stanza
from client.store import Store
from client.surroundings import ContactSettings, Surroundings
from client.talks import Talk, Talks
from crypto.esession import conversation as esession
from crypto.esession.conversation import Kind, Outcome
from crypto.esession.profiles import Profile
from crypto.esession.retained import Retained
from crypto.esession.session import Session

_TYPES = {Kind.NEGOTIATION: None, Kind.ENCRYPTED: "chat", Kind.ERROR: "error"}


class Machine:
    """The state of one contact and the small steps that everything else is made of."""

    def __init__(self, jid: str, store: Store, around: Surroundings, settings: ContactSettings) -> None:
        self.jid = jid
        self._store = store
        self._around = around
        self._settings = settings
        self._talks = Talks()
        self._delivery: Delivery[Stanza] = Delivery(store.waiting(jid), settings.delivery)
        self._resources: dict[str, Profile | None] = {}
        self._online_at_s: float | None = None
        self._shown: SessionView | None = None
        self._typing, self._presence, self._status = False, "", ""

    @property
    def waiting(self) -> int:
        """Messages that are not acknowledged."""
        return len(self._delivery.waiting)

    def view(self) -> SessionView:
        """How things stand."""
        shown = SessionView(self.jid, "none", waiting=self.waiting, online=bool(self._resources))
        talk = self._talks.current
        if talk is not None and talk.conversation.session is not None:
            return self._session_view(shown, talk, talk.conversation.session)
        if pending := self._talks.negotiating():
            return replace(shown, state="negotiating", peer=pending[-1].peer, thread=pending[-1].conversation.thread)
        return shown

    def _session_view(self, shown: SessionView, talk: Talk, session: Session) -> SessionView:
        agreed, rekeying = session.agreed, session.rekeying
        suite = agreed.suite
        names = (suite.cipher, suite.hash, f"group {suite.group}", *((suite.kem,) if suite.kem else ()))
        return replace(
            shown,
            state="active",
            peer=talk.peer,
            thread=talk.conversation.thread,
            role=str(session.role),
            sas=session.sas or None,
            weak_string=session.weak_string,
            verified=session.verified,
            chain=str(session.chain),
            profile=str(session.profile),
            disclosure=session.disclosure,
            logging=session.logging,
            post_quantum=agreed.hybrid,
            suite=" ".join(names),
            rekeyed=rekeying.sent + rekeying.received if rekeying else 0,
            fingerprint=None if talk.public is None else talk.public.fingerprint().hex(),
            key=talk.key,
            weaker=talk.weaker,
            password=agreed.password,
            stanzas=agreed.stanzas,
            typing=self._typing,
            presence=self._presence or None,
            status=self._status,
        )

    # ------------------------------------------------------------ ends
    def _end(self, talk: Talk, reason: str) -> None:
        """End one session or negotiation, and say so."""
        thread = talk.conversation.thread
        if talk.closing:
            return
        outcome = esession.end(talk.conversation)
        self._reply(talk.peer, thread, outcome)
        was_active = talk.active and not talk.yielded
        if outcome.conversation is None:
            self._over(talk, reason)
            return
        talk.conversation = outcome.conversation
        talk.deadline_s = self._around.now() + self._settings.ending_s
        if self._talks.drop(thread):
            self._left()
        self._talks.keep(talk)
        if was_active:
            self._around.notify(SessionEnded(self.jid, reason, thread))

    def _over(self, talk: Talk, reason: str) -> None:
        """Forget a talk."""
        thread = talk.conversation.thread
        told = talk.active and not talk.yielded
        if self._talks.drop(thread):
            self._left()
        elif reason == "ended" and self._talks.current is not None:
            reason = "replaced"  # the one that is sent on is still there
        if told:
            self._around.notify(SessionEnded(self.jid, reason, thread))

    def _left(self) -> None:
        """The session that was sent on is over."""
        self._delivery.session_over()
        self._typing, self._presence, self._status = False, "", ""

    # ------------------------------------------------------------ small things
    def _now_ms(self) -> int:
        return round(self._around.now() * 1000)

    def _retained(self) -> Retained:
        kept = self._store.retained(self.jid)
        return Retained() if kept is None else msgspec.msgpack.decode(kept, type=Retained)

    def _keep(self, retained: Retained) -> None:
        self._store.keep_retained(self.jid, msgspec.msgpack.encode(retained))

    def _reply(self, to: str, thread: str, outcome: Outcome, talk: Talk | None = None) -> None:
        for reply in outcome.replies:
            stanza = self._stanza(to, thread, reply.kind, reply.payload, None)
            if talk is not None:
                talk.ids.add(stanza.id)
            self._around.transmit(stanza)

    def _stanza(self, to: str, thread: str, kind: Kind, payload: bytes, message_id: str | None) -> Stanza:
        return Stanza(to, _TYPES[kind], message_id or self._around.new_id("stanza"), thread, payload)

    def _changed(self) -> None:
        """Tell of a change; how many messages wait is told by their own events."""
        view = self.view()
        shown = replace(view, waiting=0)
        if shown != self._shown:
            self._shown = shown
            self._around.notify(SessionChanged(self.jid, view))
