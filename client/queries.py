"""What a contact may ask inside a session, and the answers; what may be asked of it. Content of iq stanzas."""

from dataclasses import dataclass
from datetime import UTC, datetime

from client.stanzas import (
    NS_CARBONS,
    NS_CHAT_STATES,
    NS_ESESSION,
    NS_RECEIPTS,
    NS_STANZA_ENCRYPTION,
    NS_STANZA_ID,
    NS_STANZAS,
)
from crypto.xml import Element, escape_text

NS_INFO = "http://jabber.org/protocol/disco#info"
NS_LAST = "jabber:iq:last"
NS_PING = "urn:xmpp:ping"
NS_TIME = "urn:xmpp:time"
NS_VERSION = "jabber:iq:version"
NS_VCARD = "vcard-temp"

ANSWERS = frozenset({"info", "ping", "time", "version", "last"})
QUESTIONS = {
    "info": f'<query xmlns="{NS_INFO}"/>',
    "ping": f'<ping xmlns="{NS_PING}"/>',
    "time": f'<time xmlns="{NS_TIME}"/>',
    "version": f'<query xmlns="{NS_VERSION}"/>',
    "last": f'<query xmlns="{NS_LAST}"/>',
    "vcard": f'<vCard xmlns="{NS_VCARD}"/>',
}
"""What is asked by a name; anything else may be asked by its XML."""
_NAMES = {
    (NS_INFO, "query"): "info",
    (NS_PING, "ping"): "ping",
    (NS_TIME, "time"): "time",
    (NS_VERSION, "query"): "version",
    (NS_LAST, "query"): "last",
}
_FEATURES = (NS_CARBONS, NS_CHAT_STATES, NS_ESESSION, NS_RECEIPTS, NS_STANZA_ENCRYPTION, NS_STANZA_ID)
_OF_ANSWERS = {"info": NS_INFO, "ping": NS_PING, "time": NS_TIME, "version": NS_VERSION, "last": NS_LAST}
UNKNOWN = f'<feature-not-implemented xmlns="{NS_STANZAS}"/>'.encode()
"""What an `<error/>` holds, inside the encryption."""


@dataclass(frozen=True, slots=True)
class About:
    """What answers are made of."""

    answers: frozenset[str]
    software: str
    unix_s: float
    idle_s: float | None
    """Since the user last wrote to this contact; None: never."""


def answer(kind: str, content: tuple[Element, ...], about: About) -> bytes | None:
    """The content of the result; None: it is not answered, which is said with `UNKNOWN`.

    Nothing is told that the contact does not see anyway: the time is UTC, and idle is who does not write to it.
    """
    if kind != "get" or len(content) != 1:
        return None
    query = content[0]
    name = _NAMES.get((query.namespace or "", query.name))
    if name is None or name not in about.answers:
        return None
    text = _answer(name, query, about)
    return None if text is None else text.encode()


def _answer(name: str, query: Element, about: About) -> str | None:
    match name:
        case "info" if not query.attribute("node"):
            features = sorted({*_FEATURES, *(_OF_ANSWERS[each] for each in about.answers)})
            rows = "".join(f'<feature var="{feature}"/>' for feature in features)
            return f'<query xmlns="{NS_INFO}"><identity category="client" type="pc"/>{rows}</query>'
        case "ping":
            # The result of a ping is empty; the content of an encrypted stanza cannot be.
            return QUESTIONS["ping"]
        case "time":
            utc = datetime.fromtimestamp(int(about.unix_s), UTC).isoformat().removesuffix("+00:00") + "Z"
            return f'<time xmlns="{NS_TIME}"><tzo>+00:00</tzo><utc>{utc}</utc></time>'
        case "version":
            return f'<query xmlns="{NS_VERSION}"><name>{escape_text(about.software)}</name></query>'
        case "last" if about.idle_s is not None:
            return f'<query xmlns="{NS_LAST}" seconds="{int(about.idle_s)}"/>'
    return None
