"""What is no message inside sessions: presence, chat states, questions and answers (XEP-0200, any stanza)."""

from collections.abc import Sequence

from client.content import displayed_content
from client.events import Answered, ContactPresence
from client.exchange import Exchange
from client.queries import UNKNOWN, About, answer
from client.stanzas import Stanza, state_content
from client.store import Store
from client.surroundings import ContactSettings, Surroundings
from client.talks import Talk
from crypto.xml import CLIENT, Element, escape_text, sanitise_text

SHOWS = ("available", "chat", "away", "xa", "dnd")
TYPING_AGAIN_S = 10.0
"""The same chat state is not sent again before."""
MAX_STATUS = 512
MAX_ID = 255


class Within(Exchange):
    """Presence, typing and questions, both ways, with one contact."""

    def __init__(self, jid: str, store: Store, around: Surroundings, settings: ContactSettings) -> None:
        super().__init__(jid, store, around, settings)
        self._asked: set[str] = set()
        self._own_presence: bytes | None = None

    # ------------------------------------------------------------ the program's side
    def typing(self, active: bool) -> bool:
        """Tell the contact that the user writes, or stopped; false when there is no session that can say so."""
        talk = self._talks.current
        if talk is None or not talk.letter:
            return False
        told, now = self._told_typing, self._around.now()
        same = told is not None and told[0] is active and (not active or now < told[1] + TYPING_AGAIN_S)
        if same or (told is None and not active):
            return True
        self._told_typing = active, now
        like = Stanza("", "chat", self._around.new_id("stanza"), "", b"", passing=True)
        return self._send(talk, state_content("composing" if active else "paused"), None, like)

    def displayed(self, message_id: str) -> bool:
        """Tell the contact that the user was shown all up to this message; false when there is no session for it."""
        talk = self._talks.current
        if talk is None or not talk.letter:
            return False
        like = Stanza("", "chat", self._around.new_id("stanza"), "", b"", passing=True)
        return self._send(talk, displayed_content(message_id), None, like)

    def show(self, show: str, status: str = "") -> bool:
        """Tell the contact the user's presence, now and in each new session. ValueError for one that is not known.

        False when the session that there is encrypts no presence, or there is none.
        """
        if show not in SHOWS:
            raise ValueError(f"a presence is one of {', '.join(SHOWS)}")
        status = sanitise_text(status)[:MAX_STATUS]
        parts = [f"<show>{show}</show>" if show != "available" else ""]
        parts.append(f"<status>{escape_text(status)}</status>" if status else "")
        # A content is never empty: who is simply there has the priority that is usual.
        self._own_presence = ("".join(parts) or "<priority>0</priority>").encode()
        return self._greet(self._talks.current)

    def ask(self, content: bytes, kind: str = "get") -> str | None:
        """Ask the contact's end something (the content of an iq); its id, for `Answered`. None: no session can."""
        talk = self._talks.current
        if talk is None or not talk.encrypts("iq"):
            return None
        like = Stanza("", kind, self._around.new_id("query"), "", b"", "iq")
        self._asked.add(like.id)
        if not self._send(talk, content, None, like):
            self._asked.discard(like.id)
            return None
        return like.id

    def _greet(self, talk: Talk | None) -> bool:
        """The user's presence, if it was ever told."""
        if talk is None or self._own_presence is None or not talk.encrypts("presence"):
            return False
        return self._send(
            talk, self._own_presence, None, Stanza("", None, self._around.new_id("stanza"), "", b"", "presence")
        )

    # ------------------------------------------------------------ the contact's side
    def _heard_presence(self, talk: Talk, content: Sequence[Element]) -> None:
        show = _text(content, "show")
        self._presence = show if show in SHOWS else "available"
        self._status = sanitise_text(_text(content, "status"))[:MAX_STATUS]
        self._around.notify(ContactPresence(self.jid, self._presence, self._status, talk.peer))

    def _heard_query(self, talk: Talk, stanza: Element, content: tuple[Element, ...]) -> None:
        """A question is answered in the session that it came in."""
        stanza_id, kind = stanza.attribute("id") or "", stanza.attribute("type") or ""
        if not 0 < len(stanza_id) <= MAX_ID:
            return
        now, said = self._around.now(), self._said_at_s
        about = About(
            self._settings.answers,
            self._settings.software,
            self._around.date_s(),
            None if said is None else now - said,
        )
        found = answer(kind, content, about)
        like = Stanza("", "error" if found is None else "result", stanza_id, "", b"", "iq")
        self._send(talk, UNKNOWN if found is None else found, None, like, error=found is None)

    def _heard_answer(self, stanza_id: str | None, kind: str, content: tuple[Element, ...]) -> bool:
        """An answer to a question of ours; false when there was no such question."""
        if stanza_id not in self._asked or stanza_id is None:
            return False
        self._asked.discard(stanza_id)
        self._around.notify(Answered(self.jid, stanza_id, kind, content))
        return True

    def _left(self) -> None:
        super()._left()
        self._told_typing = None
        for stanza_id in sorted(self._asked):
            self._heard_answer(stanza_id, "lost", ())


def _text(content: Sequence[Element], name: str) -> str:
    return next((e.text for e in content if (e.namespace, e.name) == (CLIENT, name)), "")
