"""A slixmpp plugin for Encrypted Sessions: XEP-0116 negotiation, XEP-0200 stanza encryption, delivery that is sure.

    xmpp.register_plugin("xep_0116", {"store": "~/.bot/esessions"}, module=client.plugin)
    xmpp.plugin["xep_0116"].send("bob@matrix.example.org", "hello")

See docs/client.md for the events, the Python interface and an example.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, ClassVar

from slixmpp import JID
from slixmpp.plugins.base import BasePlugin, register_plugin

from client.content import MAX_ID, Saying, correction, reactions, reply, retraction
from client.events import SessionView
from client.queries import QUESTIONS
from client.stanzas import MAX_BODY_OCTETS
from client.store import KeptMessage
from client.stream import Stream
from client.surroundings import ContactSettings
from crypto.xml import Element, sanitise_text


def _id(message_id: str) -> str:
    """An id that may stand in a stanza. ValueError for one that may not."""
    if not 0 < len(message_id) <= MAX_ID or sanitise_text(message_id) != message_id:
        raise ValueError(f"an id has 1 to {MAX_ID} characters")
    return message_id


class QueryFailed(Exception):
    """A question got no answer. `reason`: `no-session`, `timeout`, `lost`, `error`; `content`: of an error."""

    def __init__(self, reason: str, content: tuple[Element, ...] = ()) -> None:
        super().__init__(f"the question was not answered: {reason}")
        self.reason, self.content = reason, content


class XEP_0116(Stream):  # noqa: N801 - slixmpp's way of naming plugins
    """Encrypted Sessions with any number of contacts.

    Configuration: `store`, a path (the file is made for its owner only), a `Store`, or None for one that is forgotten
    with the process; `settings`, a `ContactSettings`; `settings_of`, a function that gives those
    of a bare JID (for passwords and keys that differ); `transparent`, whether decrypted messages are handed to handlers
    of `message` as well, and plain messages of the program to contacts with sessions are encrypted (else refused).
    """

    name = "xep_0116"
    description = "XEP-0116: Encrypted Session Negotiation"
    dependencies: ClassVar[set[str]] = {"xep_0030", "xep_0115", "xep_0200"}
    default_config: ClassVar[dict[str, Any]] = {
        "store": None,
        "settings": ContactSettings(),
        "settings_of": None,
        "transparent": False,
    }

    # ------------------------------------------------------------ what programs use
    def send(self, jid: str | JID, text: str, message_id: str | None = None) -> str:
        """Send a message to the contact, encrypted, or keep it until that is possible. Returns its id.

        It is in the store when this returns. `esession_delivered` or `esession_failed` will name the id. Characters
        that XML cannot express become U+FFFD. ValueError: the text is empty or beyond `MAX_BODY_OCTETS`, or a
        message of this id is waiting already.
        """
        return self._say(jid, Saying(text), message_id)

    def _say(self, jid: str | JID, saying: Saying, message_id: str | None) -> str:
        body = sanitise_text(saying.body)
        if not body or len(body.encode()) + len(saying.more) > MAX_BODY_OCTETS:
            raise ValueError(f"a message must have a text of at most {MAX_BODY_OCTETS} octets")
        message = KeptMessage(message_id or self.new_id("message"), body, saying.more)
        self._contact(jid).queue(message)
        self._again()
        return message.id

    def correct(self, jid: str | JID, old: str, text: str, message_id: str | None = None) -> str:
        """Send another wording of a message of one's own (XEP-0308); as `send`."""
        return self._say(jid, correction(_id(old), text), message_id)

    def reply(
        self, jid: str | JID, to: str, text: str, message_id: str | None = None, *, quoted: str = "", own: bool = False
    ) -> str:
        """Answer a message (XEP-0461); as `send`. `quoted`: its text; `own`: it is the user's own."""
        author = self.own_jid() if own else str(JID(jid).bare)
        return self._say(jid, reply(_id(to), author, sanitise_text(text), quoted), message_id)

    def react(self, jid: str | JID, to: str, emojis: Sequence[str], message_id: str | None = None) -> str:
        """Say all that one now feels about a message (XEP-0444): these emoji, none to take them back; as `send`."""
        return self._say(jid, reactions(_id(to), emojis), message_id)

    def retract(self, jid: str | JID, old: str, message_id: str | None = None) -> str:
        """Take a message of one's own back (XEP-0424); as `send`."""
        return self._say(jid, retraction(_id(old)), message_id)

    def displayed(self, jid: str | JID, message_id: str) -> bool:
        """Tell the contact that the user was shown all up to this message (XEP-0333). False: there is no session."""
        done = self._contact(jid).displayed(_id(message_id))
        self._again()
        return done

    async def flush(self, jid: str | JID, timeout: float | None = None) -> int:  # noqa: ASYNC109
        """Wait until every message to the contact is acknowledged, or failed; returns how many still wait."""
        contact = self._contact(jid)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._until(lambda: not contact.waiting)
        return contact.waiting

    def start(self, jid: str | JID) -> None:
        """Negotiate a session with the contact as soon as it is there."""
        self._contact(jid).start()
        self._again()

    async def end(self, jid: str | JID) -> None:
        """End the session; returns when the other end confirmed it, or did not in time. Waiting messages stay."""
        contact = self._contact(jid)
        contact.end()
        self._again()
        await self._until(lambda: not contact.ending)

    def session(self, jid: str | JID) -> SessionView:
        """How things stand with the contact."""
        return self._contact(jid).view()

    def verify(self, jid: str | JID, *, weak_string: bool = False) -> bool:
        """The user compared the short authentication string with the contact, and it was the same.

        Holds for this session and all that descend from it by retained secrets. False when no session is active, and
        for a string that proves little (`SessionView.weak_string`) unless `weak_string` says that the user knows.
        """
        done = self._contact(jid).verify(weak_string=weak_string)
        self._again()
        return done

    def unverify(self, jid: str | JID) -> bool:
        """Take that back, for all sessions and keys of the contact. False when there was nothing to take back."""
        done = self._contact(jid).unverify()
        self._again()
        return done

    def contacts(self) -> list[str]:
        """Bare JIDs there ever was a session with, or for whom messages wait."""
        return sorted({*self._store.contacts(), *self._contacts})

    # ------------------------------------------------------------ for `xep_0200`
    def typing(self, jid: str | JID, active: bool) -> bool:
        """See `XEP_0200.typing`."""
        done = self._contact(jid).typing(active)
        self._again()
        return done

    def show(self, jid: str | JID, show: str, status: str = "") -> bool:
        """See `XEP_0200.show`."""
        done = self._contact(jid).show(show, status)
        self._again()
        return done

    async def ask(self, jid: str | JID, what: str, *, kind: str = "get", within_s: float = 30.0) -> tuple[Element, ...]:
        """See `XEP_0200.ask`."""
        asked = self._contact(jid).ask(QUESTIONS.get(what, what).encode(), kind)
        self._again()
        if asked is None:
            raise QueryFailed("no-session")
        self._answers[asked] = future = self.xmpp.loop.create_future()
        found = None
        with contextlib.suppress(TimeoutError):
            found = await asyncio.wait_for(future, within_s)
        self._answers.pop(asked, None)
        if found is None or found.kind != "result":
            raise QueryFailed("timeout" if found is None else found.kind, () if found is None else found.content)
        return tuple(found.content)


def sessions_of(xmpp: Any) -> XEP_0116:
    """The plugin of a connection that has registered it. LookupError when it has not."""
    found = xmpp.plugin.get("xep_0116", None)
    if not isinstance(found, XEP_0116):
        raise LookupError("the plugin xep_0116 is not registered")
    return found


class XEP_0200(BasePlugin):  # noqa: N801 - slixmpp's way of naming plugins
    """Stanza Encryption: what is encrypted beside messages. It comes with `xep_0116`, which keeps the sessions."""

    name = "xep_0200"
    description = "XEP-0200: Stanza Encryption"
    dependencies: ClassVar[set[str]] = {"xep_0116"}

    @property
    def _sessions(self) -> XEP_0116:
        return sessions_of(self.xmpp)

    def encrypts(self, jid: str | JID) -> tuple[str, ...]:
        """The kinds of stanzas that the session with the contact encrypts: of `message`, `presence`, `iq`."""
        return self._sessions.session(jid).stanzas

    def typing(self, jid: str | JID, active: bool) -> bool:
        """Tell the contact that the user writes, or stopped (XEP-0085, encrypted).

        Call it as often as keys are pressed; it is sent at most every ten seconds. False: there is no session.
        """
        return self._sessions.typing(jid, active)

    def show(self, jid: str | JID, show: str, status: str = "") -> bool:
        """Tell the contact, encrypted, that the user is `available`, `chat`, `away`, `xa` or `dnd`, and a sentence.

        It is told again in each new session. False: no session is there that encrypts presence. ValueError: no such.
        """
        return self._sessions.show(jid, show, status)

    async def ask(self, jid: str | JID, what: str, *, kind: str = "get", within_s: float = 30.0) -> tuple[Element, ...]:
        """Ask the contact's end, encrypted: `info`, `ping`, `time`, `version`, `last`, `vcard`, or the XML of a query.

        Returns what the answer holds. Raises QueryFailed.
        """
        return await self._sessions.ask(jid, what, kind=kind, within_s=within_s)


xep_0116, xep_0200 = XEP_0116, XEP_0200
register_plugin(XEP_0116)
register_plugin(XEP_0200)
