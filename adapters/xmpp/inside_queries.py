"""What clients ask of a contact inside a session, answered inside it (XEP-0200; docs/decisions/0098)."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from adapters.xmpp.inside_commands import NS_COMMANDS, NS_FORM, NS_ITEMS, described, executed, listed
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_profile import told_of
from adapters.xmpp.inside_signals import last_there_ms
from adapters.xmpp.names import (
    CONTENT_FEATURES,
    NS_CARBONS,
    NS_CHAT_STATES,
    NS_ESESSION,
    NS_RECEIPTS,
    NS_STANZA_ENCRYPTION,
    NS_STANZA_ID,
    NS_STANZAS,
)
from adapters.xmpp.sentences import explanation
from bridge.wire.values import CONTROL
from crypto.message import Standing
from crypto.xml import Element, escape_attribute, escape_text

NS_INFO = "http://jabber.org/protocol/disco#info"
NS_VCARD = "vcard-temp"
NS_LAST = "jabber:iq:last"
NS_PING = "urn:xmpp:ping"
NS_TIME = "urn:xmpp:time"
_FEATURES = (
    NS_INFO,
    NS_VCARD,
    NS_LAST,
    NS_PING,
    NS_TIME,
    NS_CARBONS,
    NS_CHAT_STATES,
    NS_ESESSION,
    NS_RECEIPTS,
    NS_STANZA_ENCRYPTION,
    NS_STANZA_ID,
    *CONTENT_FEATURES,
)


def answered(
    at: LegStep, kind: str, content: tuple[Element, ...], standing: Standing = Standing.ENCRYPTED
) -> tuple[str, bytes]:
    """Type and content of the answer to a question (an iq of type `get` or `set`). `standing`: of who asks."""
    inner = None
    if kind == "get" and len(content) == 1:
        query = content[0]
        answer = _ANSWERS.get((query.namespace or "", query.name))
        inner = None if answer is None else answer(at, query)
    elif kind == "set" and len(content) == 1 and at.contact.network == CONTROL:
        command = content[0]
        ours = (command.namespace, command.name) == (NS_COMMANDS, "command")
        inner = executed(at, command, standing) if ours else None
    return ("error", refusal("no-such-query")) if inner is None else ("result", inner.encode())


def refusal(code: str) -> bytes:
    """What an `<error/>` holds, as content."""
    about = explanation(code)
    text = f'<text xmlns="{NS_STANZAS}" xml:lang="en">{escape_text(about.sentence)}</text>'
    return f'<{about.condition} xmlns="{NS_STANZAS}"/>{text}'.encode()


def _info(at: LegStep, query: Element) -> str | None:
    if node := query.attribute("node"):
        return described(at, node) if at.contact.network == CONTROL else None
    if at.contact.network == CONTROL:
        rows = "".join(f'<feature var="{f}"/>' for f in sorted((*_FEATURES, NS_COMMANDS, NS_FORM)))
        identity = '<identity category="gateway" type="matrix" name="Lockgate"/>'
        return f'<query xmlns="{NS_INFO}">{identity}{rows}</query>'
    name = escape_attribute(at.contact.id)
    rows = "".join(f'<feature var="{f}"/>' for f in sorted(_FEATURES))
    return f'<query xmlns="{NS_INFO}"><identity category="account" type="registered" name="{name}"/>{rows}</query>'


def _items(at: LegStep, query: Element) -> str | None:
    return listed(at, query) if at.contact.network == CONTROL else None


def _vcard(at: LegStep, _: Element) -> str:
    """Name and addresses: the contact's public name, else what the operator's map says; the user knows all of it."""
    name = escape_text(told_of(at).name or at.contact.id)
    far = escape_text(f"{at.contact.network}: {at.contact.address}")
    jid = escape_text(at.contact.alias)
    return f'<vCard xmlns="{NS_VCARD}"><FN>{name}</FN><NICKNAME>{name}</NICKNAME><JABBERID>{jid}</JABBERID>' + (
        f"<DESC>{far}</DESC></vCard>"
    )


def _last(at: LegStep, _: Element) -> str | None:
    there = last_there_ms(at)
    if not there:
        return None
    return f'<query xmlns="{NS_LAST}" seconds="{max(0, at.step.now_ms() - there) // 1000}"/>'


def _ping(_: LegStep, __: Element) -> str:
    # The result of a ping is empty; the content of an encrypted stanza cannot be.
    return f'<ping xmlns="{NS_PING}"/>'


def _time(at: LegStep, _: Element) -> str:
    utc = datetime.fromtimestamp(at.step.now_ms() // 1000, UTC).isoformat().removesuffix("+00:00") + "Z"
    return f'<time xmlns="{NS_TIME}"><tzo>+00:00</tzo><utc>{utc}</utc></time>'


_ANSWERS: Mapping[tuple[str, str], Callable[[LegStep, Element], str | None]] = {
    (NS_INFO, "query"): _info,
    (NS_ITEMS, "query"): _items,
    (NS_VCARD, "vCard"): _vcard,
    (NS_LAST, "query"): _last,
    (NS_PING, "ping"): _ping,
    (NS_TIME, "time"): _time,
}
