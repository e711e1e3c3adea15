"""What clients ask of a contact inside a session, answered inside it (XEP-0200; docs/decisions/0098)."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_signals import last_there_ms
from adapters.xmpp.names import (
    NS_CARBONS,
    NS_CHAT_STATES,
    NS_ESESSION,
    NS_RECEIPTS,
    NS_STANZA_ENCRYPTION,
    NS_STANZA_ID,
    NS_STANZAS,
)
from adapters.xmpp.sentences import explanation
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
)


def answered(at: LegStep, kind: str, content: tuple[Element, ...]) -> tuple[str, bytes]:
    """Type and content of the answer to a question (an iq of type `get` or `set`)."""
    if kind == "get" and len(content) == 1:
        query = content[0]
        answer = _ANSWERS.get((query.namespace or "", query.name))
        inner = None if answer is None else answer(at, query)
        if inner is not None:
            return "result", inner.encode()
    return "error", refusal("no-such-query")


def refusal(code: str) -> bytes:
    """What an `<error/>` holds, as content."""
    about = explanation(code)
    text = f'<text xmlns="{NS_STANZAS}" xml:lang="en">{escape_text(about.sentence)}</text>'
    return f'<{about.condition} xmlns="{NS_STANZAS}"/>{text}'.encode()


def _info(at: LegStep, query: Element) -> str | None:
    if query.attribute("node"):
        return None
    name = escape_attribute(at.contact.id)
    rows = "".join(f'<feature var="{f}"/>' for f in sorted(_FEATURES))
    return f'<query xmlns="{NS_INFO}"><identity category="account" type="registered" name="{name}"/>{rows}</query>'


def _vcard(at: LegStep, _: Element) -> str:
    """Name and addresses: what the operator's map says, all of it known to the user."""
    name, far = escape_text(at.contact.id), escape_text(f"{at.contact.network}: {at.contact.address}")
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
    (NS_VCARD, "vCard"): _vcard,
    (NS_LAST, "query"): _last,
    (NS_PING, "ping"): _ping,
    (NS_TIME, "time"): _time,
}
