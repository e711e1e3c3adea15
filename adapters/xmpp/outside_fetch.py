"""What contacts ask of the user's own PEP nodes (XEP-0163, 0060), and offline stanzas as they go out (XEP-0187)."""

import asyncio
import secrets
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape

from adapters.xmpp.names import NS_EME, NS_HINTS, NS_STANZA_ENCRYPTION, bare, jid_of
from adapters.xmpp.outside_stanzas import attribute, iq_get
from adapters.xmpp.pep.names import (
    FETCH,
    MAX_ITEM,
    MAX_ITEMS,
    NS_AMP,
    NS_PUBSUB,
    OFFLINE,
    PEP_ITEMS,
    PEP_REQUESTS,
    Items,
    node_of,
)
from adapters.xmpp.sentences import ENCRYPTED_BODY
from bridge.wire.values import Address, Code, Number, Opaque, Public, Sealed, Value

FETCH_TIMEOUT_S = 15.0
_EXACT = f"<amp xmlns='{NS_AMP}'><rule action='error' condition='match-resource' value='exact'/></amp>"
_AFTER = (
    f"<body>{escape(ENCRYPTED_BODY)}</body>"
    f"<encryption xmlns='{NS_EME}' namespace='{NS_STANZA_ENCRYPTION}' name='ESession'/>"
    f"<store xmlns='{NS_HINTS}'/></message>"
)


@dataclass(frozen=True, slots=True)
class _Fetch:
    account: str
    contact: str
    user: str
    node: str
    """The code of the node."""
    timeout: asyncio.TimerHandle


@dataclass(slots=True)
class Fetches:
    """Questions under way. Each ends in one `pep-items` arrival, also when nobody answers."""

    arrived: Callable[[str, str, bytes], None]
    """Account, name and body of an arrival."""
    timeout_s: float = FETCH_TIMEOUT_S
    _under_way: dict[str, _Fetch] = field(default_factory=dict)

    def begin(self, account: str, values: Mapping[str, Value]) -> bytes | None:
        """The iq to write for a `fetch` request; None for one that is not of its shape. A repetition replaces it."""
        if not PEP_REQUESTS[FETCH].fits(values):
            return None
        contact, user = _jid(values, "from"), _jid(values, "to")
        code, number = values["node"], values.get("number")
        assert isinstance(code, Code)
        assert number is None or isinstance(number, Number)
        node = node_of(code.v, None if number is None else number.v)
        if node is None:
            return None
        for id_ in [
            i for i, f in self._under_way.items() if (f.account, f.contact, f.node) == (account, contact, code.v)
        ]:
            self._under_way.pop(id_).timeout.cancel()
        id_ = f"pep-{secrets.token_hex(8)}"
        timeout = asyncio.get_running_loop().call_later(self.timeout_s, self._done, id_, False, ())
        self._under_way[id_] = _Fetch(account, contact, user, code.v, timeout)
        inner = f"<pubsub xmlns='{NS_PUBSUB}'><items node='{attribute(node)}'/></pubsub>"
        return iq_get(contact, user, id_, inner)

    def answered(self, iq: ET.Element) -> bool:
        """An iq of type result or error came in; whether it was an answer to one of these."""
        id_ = iq.get("id", "")
        fetch = self._under_way.get(id_)
        if fetch is None or bare(iq.get("from", "")) != bare(fetch.user) or "/" in iq.get("from", ""):
            return False
        if iq.get("type") == "result":
            self._done(id_, True, _contents(iq))
        else:
            self._done(id_, False, ())
        return True

    def forget(self) -> None:
        """The stream was lost: no answers will come."""
        for id_ in list(self._under_way):
            self._done(id_, False, ())

    def close(self) -> None:
        """Nobody wants to know any more."""
        for fetch in self._under_way.values():
            fetch.timeout.cancel()
        self._under_way.clear()

    def _done(self, id_: str, found: bool, items: tuple[str, ...]) -> None:
        fetch = self._under_way.pop(id_, None)
        if fetch is not None:
            fetch.timeout.cancel()
            self.arrived(fetch.account, PEP_ITEMS, Items(fetch.contact, fetch.node, found, items).encode())


def _contents(iq: ET.Element) -> tuple[str, ...]:
    """What the items hold, each as XML by itself; what is too large, or too many, is left out."""
    rows = iq.findall(f"{{{NS_PUBSUB}}}pubsub/{{{NS_PUBSUB}}}items/{{{NS_PUBSUB}}}item")
    contents = [ET.tostring(row[0], encoding="unicode").strip() for row in rows[-MAX_ITEMS:] if len(row) == 1]
    return tuple(content for content in contents if len(content) <= MAX_ITEM)


def offline_stanza(values: Mapping[str, Value]) -> bytes:
    """The stanza of an `offline` request. ValueError when it is not of its shape.

    Unlike those of online sessions it is to be stored: the user is not there.
    """
    if not PEP_REQUESTS[OFFLINE].fits(values):
        raise ValueError("a request of an unknown shape")
    id_, thread, form, content = (values[name] for name in ("id", "thread", "form", "content"))
    assert isinstance(id_, Opaque)
    assert isinstance(thread, Opaque)
    assert isinstance(form, Public)
    assert isinstance(content, Sealed)
    kind = values.get("kind")
    ends = f"from='{attribute(_jid(values, 'from'))}' to='{attribute(_jid(values, 'to'))}'"
    head = f"<message {ends} type='chat' id='{attribute(id_.v)}'><thread>{escape(thread.v)}</thread>"
    exact = _EXACT if isinstance(kind, Code) and kind.v == "exact" else ""
    return head.encode() + form.v + content.v + (exact + _AFTER).encode()


def _jid(values: Mapping[str, Value], name: str) -> str:
    value = values[name]
    assert isinstance(value, Address)
    return jid_of(value)
