"""Requests of the enclave as stanzas, and the few stanzas the outside half answers by itself. Text in, octets out."""

from collections.abc import Callable, Mapping
from html import escape

from adapters.xmpp.names import (
    ENCRYPTED,
    ENCRYPTED_PRESENCE,
    ERROR,
    IQ,
    NEGOTIATE,
    NOTICE,
    NS_CARBONS,
    NS_EME,
    NS_HINTS,
    NS_RECEIPTS,
    NS_STANZA_ENCRYPTION,
    NS_STANZA_ID,
    NS_STANZAS,
    OMEMO,
    OMEMO_ASIDE,
    PLAIN,
    RECEIPT,
    REQUESTS,
    STATE,
    SUBSCRIBE,
    jid_of,
)
from adapters.xmpp.sentences import ENCRYPTED_BODY, OMEMO_BODY, explanation, notice
from bridge.wire.values import Address, Code, Number, Opaque, Public, Sealed, Value

_AFTER_CONTENT = (
    f"<body>{escape(ENCRYPTED_BODY)}</body>"
    f"<encryption xmlns='{NS_EME}' namespace='{NS_STANZA_ENCRYPTION}' name='ESession'/>"
    f"<private xmlns='{NS_CARBONS}'/><no-permanent-store xmlns='{NS_HINTS}'/><no-copy xmlns='{NS_HINTS}'/>"
).encode()
_NEVER_STORED = (
    f"<private xmlns='{NS_CARBONS}'/><no-store xmlns='{NS_HINTS}'/><no-copy xmlns='{NS_HINTS}'/></message>"
).encode()
IQ_KINDS = ("get", "set", "result", "error")


def rendered(request: str, values: Mapping[str, Value], *, again: bool = False) -> bytes:
    """The stanza of a request. ValueError when it is not one of the declared shape.

    `again`: the user's clients may have it already.
    """
    shape = REQUESTS.get(request)
    if shape is None or not shape.fits(values):
        raise ValueError("a request of an unknown shape")
    if again and "again" in shape.optional:
        values = {**values, "again": Code(v="yes")}
    return _RENDERERS[request](values)


def error_reply(name: str, *, sender: str, to: str, id_: str, code: str) -> bytes:
    """An error stanza that the outside half gives by itself; `name` is message, presence or iq."""
    return _opening(name, sender, to, id_, "error") + _error_element(code) + f"</{name}>".encode()


def attribute(text: str) -> str:
    """A text as the value of an attribute in single quotes."""
    return escape(text, quote=True)


def _opening(name: str, sender: str, to: str, id_: str | None, kind: str | None) -> bytes:
    typed = f" type='{kind}'" if kind else ""
    identified = f" id='{attribute(id_)}'" if id_ else ""
    return f"<{name} from='{attribute(sender)}' to='{attribute(to)}'{typed}{identified}>".encode()


def _message(values: Mapping[str, Value], kind: str | None) -> bytes:
    return _opening("message", _jid(values, "from"), _jid(values, "to"), _opaque(values, "id"), kind)


def _thread(values: Mapping[str, Value]) -> bytes:
    thread = _opaque(values, "thread")
    return f"<thread>{escape(thread)}</thread>".encode() if thread else b""


def _negotiate(values: Mapping[str, Value]) -> bytes:
    # XEP-0155: no type, no body. `thread` after the form, as deployed peers write it.
    kind = values.get("kind")
    typed = "error" if isinstance(kind, Code) and kind.v == "error" else None
    return _message(values, typed) + _octets(values, "form") + _thread(values) + _NEVER_STORED


def _encrypted(values: Mapping[str, Value]) -> bytes:
    content = _octets(values, "content")
    return _message(values, "chat") + _thread(values) + content + _AFTER_CONTENT + b"</message>"


def _state(values: Mapping[str, Value]) -> bytes:
    return _message(values, "chat") + _thread(values) + _octets(values, "content") + _NEVER_STORED


def _encrypted_presence(values: Mapping[str, Value]) -> bytes:
    opening = _opening("presence", _jid(values, "from"), _jid(values, "to"), None, None)
    return opening + _octets(values, "content") + b"</presence>"


def _iq(values: Mapping[str, Value]) -> bytes:
    """What went wrong with an encrypted iq is said inside the encryption; outside stands only that it did."""
    kind, code, content = values["kind"], values.get("code"), _octets(values, "content")
    assert isinstance(kind, Code)
    if kind.v not in IQ_KINDS or (not content and not (kind.v == "error" and isinstance(code, Code))):
        raise ValueError("an iq of an unknown shape")
    inner = content or _error_element(code.v if isinstance(code, Code) else "")
    opening = _opening("iq", _jid(values, "from"), _jid(values, "to"), _opaque(values, "id"), kind.v)
    return opening + inner + b"</iq>"


def _error(values: Mapping[str, Value]) -> bytes:
    code = values["code"]
    assert isinstance(code, Code)
    content = _octets(values, "content")
    return _message(values, "error") + _thread(values) + content + _error_element(code.v) + b"</message>"


def _error_element(code: str) -> bytes:
    about = explanation(code)
    text = f"<text xmlns='{NS_STANZAS}' xml:lang='en'>{escape(about.sentence)}</text>"
    return f"<error type='{about.kind}'><{about.condition} xmlns='{NS_STANZAS}'/>{text}</error>".encode()


def _notice(values: Mapping[str, Value]) -> bytes:
    code = values["code"]
    assert isinstance(code, Code)
    return _message(values, "chat") + f"<body xml:lang='en'>{escape(notice(code.v))}</body></message>".encode()


def _plain(values: Mapping[str, Value]) -> bytes:
    body = escape(_octets(values, "body").decode(), quote=False)
    id_ = attribute(_opaque(values, "id") or "")
    origin = f"<origin-id xmlns='{NS_STANZA_ID}' id='{id_}'/>"
    return _message(values, "chat") + _thread(values) + f"<body>{body}</body>{origin}</message>".encode()


def _receipt(values: Mapping[str, Value]) -> bytes:
    received = attribute(_opaque(values, "received") or "")
    hint = f"<store xmlns='{NS_HINTS}'/>"
    inner = f"<received xmlns='{NS_RECEIPTS}' id='{received}'/>{hint}"
    return _message(values, "chat") + _thread(values) + inner.encode() + b"</message>"


_OMEMO_FORMS: dict[str, tuple[str, ...]] = {
    "omemo-2": ("urn:xmpp:omemo:2",),
    "axolotl": ("eu.siacs.conversations.axolotl",),
}
_OMEMO_FORMS["both"] = (*_OMEMO_FORMS["omemo-2"], *_OMEMO_FORMS["axolotl"])


def _omemo_form(values: Mapping[str, Value]) -> bytes:
    """What introduces the ciphertext to clients that cannot read it (XEP-0380), and its text for them.

    No text the second time: Profanity shows it beside a ciphertext that it has already, as if that were unencrypted.
    """
    form = values["form"]
    assert isinstance(form, Code)
    named = "".join(f"<encryption xmlns='{NS_EME}' namespace='{n}' name='OMEMO'/>" for n in _OMEMO_FORMS[form.v])
    said = "" if "again" in values else f"<body>{escape(OMEMO_BODY)}</body>"
    return f"{said}{named}".encode()


def _omemo(values: Mapping[str, Value]) -> bytes:
    """In the older form the request for a receipt stands beside the ciphertext; in omemo:2 inside."""
    form, id_ = values["form"], attribute(_opaque(values, "id") or "")
    assert isinstance(form, Code)
    beside = f"<origin-id xmlns='{NS_STANZA_ID}' id='{id_}'/><store xmlns='{NS_HINTS}'/>"
    if form.v != "omemo-2":
        beside += f"<request xmlns='{NS_RECEIPTS}'/>" + _relations(values)
    content = _octets(values, "content")
    return _message(values, "chat") + content + _omemo_form(values) + beside.encode() + b"</message>"


def _relations(values: Mapping[str, Value]) -> str:
    """What stands in clear beside the older form where the operator says so: ids, and where a quotation ends."""
    said = "<markable xmlns='urn:xmpp:chat-markers:0'/>" if "markable" in values else ""
    for name, element in _RELATIONS:
        if (id_ := _opaque(values, name)) is not None:
            author = f" to='{attribute(_jid(values, 'author'))}'" if name == "answers" and "author" in values else ""
            said += f"<{element} id='{attribute(id_)}'{author}/>"
    quoted = values.get("quoted")
    if isinstance(quoted, Number):
        lines = f"<body start='0' end='{quoted.v}'/>"
        said += f"<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'>{lines}</fallback>"
    return said


_RELATIONS = (
    ("replaces", "replace xmlns='urn:xmpp:message-correct:0'"),
    ("retracts", "retract xmlns='urn:xmpp:message-retract:1'"),
    ("answers", "reply xmlns='urn:xmpp:reply:0'"),
)


def _omemo_aside(values: Mapping[str, Value]) -> bytes:
    named = _omemo_form(values) if "form" in values else b""
    stored = f"<store xmlns='{NS_HINTS}'/>".encode()
    return _message(values, "chat") + _octets(values, "content") + named + stored + b"</message>"


def _subscribe(values: Mapping[str, Value]) -> bytes:
    return presence(_jid(values, "from"), _jid(values, "to"), "subscribe")


def presence(sender: str, to: str, kind: str | None, inner: str = "") -> bytes:
    """A presence stanza."""
    return _opening("presence", sender, to, None, kind) + inner.encode() + b"</presence>"


def iq_result(sender: str, to: str, id_: str, inner: str = "") -> bytes:
    """The result of an iq."""
    return _opening("iq", sender, to, id_, "result") + inner.encode() + b"</iq>"


def iq_error(sender: str, to: str, id_: str, kind: str, condition: str) -> bytes:
    """An iq refused with a condition and no sentence: machines read it."""
    inner = f"<error type='{kind}'><{condition} xmlns='{NS_STANZAS}'/></error>"
    return _opening("iq", sender, to, id_, "error") + inner.encode() + b"</iq>"


def iq_get(sender: str, to: str, id_: str, inner: str) -> bytes:
    """An iq that asks for something."""
    return _opening("iq", sender, to, id_, "get") + inner.encode() + b"</iq>"


_RENDERERS: Mapping[str, Callable[[Mapping[str, Value]], bytes]] = {
    NEGOTIATE: _negotiate,
    ENCRYPTED: _encrypted,
    STATE: _state,
    ENCRYPTED_PRESENCE: _encrypted_presence,
    IQ: _iq,
    ERROR: _error,
    NOTICE: _notice,
    PLAIN: _plain,
    RECEIPT: _receipt,
    SUBSCRIBE: _subscribe,
    OMEMO: _omemo,
    OMEMO_ASIDE: _omemo_aside,
}


def _jid(values: Mapping[str, Value], name: str) -> str:
    value = values[name]
    assert isinstance(value, Address)
    return jid_of(value)


def _opaque(values: Mapping[str, Value], name: str) -> str | None:
    value = values.get(name)
    assert value is None or isinstance(value, Opaque)
    return None if value is None else value.v


def _octets(values: Mapping[str, Value], name: str) -> bytes:
    value = values.get(name)
    assert value is None or isinstance(value, Public | Sealed)
    return b"" if value is None else value.v
