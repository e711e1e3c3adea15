"""The local contact in the client's roster: item, presence, answers. What it says in chats is the enclave's."""

from collections.abc import Sequence
from html import escape

from adapters.companion.names import LOCAL, bare
from companion.hook import Action, ToClient
from companion.peek import Peek

NS_ROSTER = "jabber:iq:roster"
NS_DISCO = "http://jabber.org/protocol/disco#info"
RESOURCE = "lockgate"
_PUSHED = "lockgate-roster"
_INFO = (
    f"<query xmlns='{NS_DISCO}'><identity category='client' type='bot' name='Lockgate'/>"
    f"<feature var='{NS_DISCO}'/></query>"
).encode()


class LocalContact:
    """Answers for `lockgate.local`, which no server knows."""

    def __init__(self) -> None:
        self._jid = ""
        self._asked: str | None = None

    def begun(self, jid: str) -> None:
        """A session stands."""
        self._jid = jid
        self._asked = None

    def from_client(self, seen: Peek, stanza: bytes) -> Sequence[Action] | None:
        """What becomes of a stanza of the client's; None: it is not about the local contact."""
        if seen.name == "iq" and seen.id == _PUSHED and seen.type in ("result", "error"):
            return []
        roster = seen.child(NS_ROSTER, "query") if seen.name == "iq" else None
        if roster is not None and seen.type == "get":
            self._asked = seen.id
        if roster is not None and seen.type == "set" and any(bare(i.get("jid", "")) == LOCAL for i in roster):
            return [ToClient(seen.result())]
        if not seen.is_to(LOCAL) or seen.name == "message":
            return None
        if seen.name == "presence":
            return self._subscription(seen)
        return self._query(seen)

    def is_meddled_with(self, seen: Peek) -> bool:
        """Whether the server wants to change the contact's place in the roster, of which it knows nothing."""
        roster = seen.child(NS_ROSTER, "query") if seen.name == "iq" and seen.type == "set" else None
        return roster is not None and any(bare(item.get("jid", "")) == LOCAL for item in roster)

    def from_server(self, seen: Peek) -> Sequence[Action]:
        """What follows a stanza of the server's: after the roster, the local contact's place in it."""
        if seen.name != "iq" or self._asked is None or seen.id != self._asked or seen.type != "result":
            return []
        self._asked = None
        item = f"<item jid='{LOCAL}' name='Lockgate' subscription='both'><group>Lockgate</group></item>"
        query = f"<query xmlns='{NS_ROSTER}'>{item}</query>"
        push = ToClient(f"<iq type='set' id='{_PUSHED}' to='{escape(self._jid)}'>{query}</iq>".encode())
        return [push, *self.presence()]  # clients forget the presence of whom they do not know yet

    def presence(self) -> Sequence[Action]:
        """It is there."""
        status = "<status>ESessions. Write: help</status>"
        return [ToClient(f"<presence from='{LOCAL}/{RESOURCE}' to='{escape(self._jid)}'>{status}</presence>".encode())]

    def _subscription(self, seen: Peek) -> Sequence[Action]:
        if seen.type == "subscribe":
            granted = f"<presence from='{LOCAL}' to='{escape(self._jid)}' type='subscribed'/>".encode()
            return [ToClient(granted), *self.presence()]
        return self.presence() if seen.type == "probe" else []

    def _query(self, seen: Peek) -> Sequence[Action]:
        if seen.type not in ("get", "set"):
            return []
        if seen.type == "get" and seen.child(NS_DISCO, "query") is not None:
            return [ToClient(seen.result(_INFO))]
        return [ToClient(seen.error("service-unavailable", "cancel"))]
