"""What contacts ask of the user's own PEP nodes (XEP-0163, 0060), and offline stanzas as they go out (XEP-0187)."""

import asyncio
import re
import secrets
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape

from adapters.xmpp.names import NS_EME, NS_HINTS, NS_STANZA_ENCRYPTION, NS_STANZAS, bare, jid_of
from adapters.xmpp.outside_stanzas import attribute, iq_get
from adapters.xmpp.pep.names import (
    DEVICE_LISTS,
    FETCH,
    FORBIDDEN,
    MAX_ITEM,
    MAX_ITEMS,
    NONE,
    NS_AMP,
    NS_PUBSUB,
    OFFLINE,
    PEP_ITEMS,
    PEP_REQUESTS,
    UNAVAILABLE,
    Items,
    node_of,
)
from adapters.xmpp.sentences import ENCRYPTED_BODY
from bridge.wire.values import Address, Code, Number, Opaque, Public, Sealed, Value

NS_EVENT = "http://jabber.org/protocol/pubsub#event"
FETCH_TIMEOUT_S = 15.0
_DEVICE_ID = re.compile("[0-9]{1,10}")
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
    number: int | None
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
        code, number, item = values["node"], values.get("number"), values.get("item")
        assert isinstance(code, Code)
        assert number is None or isinstance(number, Number)
        assert item is None or isinstance(item, Opaque)
        node = node_of(code.v, None if number is None else number.v)
        if node is None or (item is not None and not (_DEVICE_ID.fullmatch(item.v) and int(item.v) < 1 << 32)):
            return None
        about = int(item.v) if item is not None else None if number is None else number.v
        same = account, contact, code.v, about
        for id_ in [i for i, f in self._under_way.items() if (f.account, f.contact, f.node, f.number) == same]:
            self._under_way.pop(id_).timeout.cancel()
        id_ = f"pep-{secrets.token_hex(8)}"
        timeout = asyncio.get_running_loop().call_later(self.timeout_s, self._done, id_, False, (), UNAVAILABLE)
        self._under_way[id_] = _Fetch(account, contact, user, code.v, about, timeout)
        wanted = "" if item is None else f"<item id='{attribute(item.v)}'/>"
        newest = " max_items='1'" if node in DEVICE_LISTS else ""
        items = f"<items node='{attribute(node)}'{newest}>{wanted}</items>"
        return iq_get(contact, user, id_, f"<pubsub xmlns='{NS_PUBSUB}'>{items}</pubsub>")

    def answered(self, iq: ET.Element) -> bool:
        """An iq of type result or error came in; whether it was an answer to one of these."""
        id_ = iq.get("id", "")
        fetch = self._under_way.get(id_)
        if fetch is None or bare(iq.get("from", "")) != bare(fetch.user) or "/" in iq.get("from", ""):
            return False
        if iq.get("type") == "result":
            self._done(id_, True, _contents(iq))
        else:
            self._done(id_, False, (), _why(iq))
        return True

    def forget(self) -> None:
        """The stream was lost: no answers will come."""
        for id_ in list(self._under_way):
            self._done(id_, False, (), UNAVAILABLE)

    def close(self) -> None:
        """Nobody wants to know any more."""
        for fetch in self._under_way.values():
            fetch.timeout.cancel()
        self._under_way.clear()

    def _done(self, id_: str, found: bool, items: tuple[str, ...], why: str = "") -> None:
        fetch = self._under_way.pop(id_, None)
        if fetch is not None:
            fetch.timeout.cancel()
            body = Items(fetch.contact, fetch.node, found, items, fetch.number, why)
            self.arrived(fetch.account, PEP_ITEMS, body.encode())


def event_of(message: ET.Element) -> bytes | None:
    """The body of a `pep-event`, if the message says what a node that contacts follow holds now; else None.

    Only the user's own server speaks for the user's nodes: from the bare JID, to one contact.
    """
    sender = message.get("from", "")
    items = message.find(f"{{{NS_EVENT}}}event/{{{NS_EVENT}}}items")
    code = DEVICE_LISTS.get(items.get("node", "")) if items is not None else None
    if items is None or code is None or "/" in sender or message.get("type") == "error":
        return None
    contents = _contents_of(items, NS_EVENT)
    if not contents and items.find(f"{{{NS_EVENT}}}item") is not None:  # without its content: it has to be asked for
        return Items(message.get("to", ""), code, False, (), None, UNAVAILABLE).encode()
    return Items(message.get("to", ""), code, True, contents).encode()


def _why(iq: ET.Element) -> str:
    """Why there are no items: there is no such node or item, or it is not for us, or something else."""
    conditions = {child.tag for error in iq.findall("{*}error") for child in error}
    if f"{{{NS_STANZAS}}}item-not-found" in conditions:
        return NONE
    closed = {f"{{{NS_STANZAS}}}{name}" for name in ("not-authorized", "forbidden", "not-allowed")}
    return FORBIDDEN if conditions & closed else UNAVAILABLE


def _contents(iq: ET.Element) -> tuple[str, ...]:
    """What the items hold, each as XML by itself; what is too large, or too many, is left out."""
    items = iq.find(f"{{{NS_PUBSUB}}}pubsub/{{{NS_PUBSUB}}}items")
    return () if items is None else _contents_of(items, NS_PUBSUB)


def _contents_of(items: ET.Element, namespace: str) -> tuple[str, ...]:
    rows = items.findall(f"{{{namespace}}}item")
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
