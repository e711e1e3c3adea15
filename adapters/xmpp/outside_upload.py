"""HTTP File Upload (XEP-0363): the upload service of a user's server, and places for files there."""

import asyncio
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import quoteattr

from adapters.outside_api import Outcome
from adapters.xmpp.outside_asks import Asks
from adapters.xmpp.outside_disco import NS_INFO, NS_ITEMS
from bridge.wire.files import FILE_TOO_LARGE, UPLOAD_NO_SERVICE, UPLOAD_REFUSED

NS_UPLOAD = "urn:xmpp:http:upload:0"
NS_FORM = "jabber:x:data"
KNOWN_S = 600.0
MOST_ITEMS = 64
HEADERS = frozenset({"authorization", "cookie", "expires"})
"""What a service may have us say besides (XEP-0363, section 5)."""
_FINAL = frozenset(
    {"forbidden", "not-allowed", "not-authorized", "not-acceptable", "resource-constraint", "bad-request"}
)
_AGAIN = Outcome("upload-unavailable", retry=True)


@dataclass(frozen=True, slots=True)
class Service:
    """An upload service. `most`: octets of the largest file, None when it does not say."""

    jid: str
    most: int | None


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one file."""

    put: str
    get: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(slots=True)
class Uploads:
    """Upload services by the domain of the user."""

    asks: Asks
    _known: dict[str, tuple[float, Service]] = field(default_factory=dict)

    async def slot(self, sender: str, domain: str, size: int, ending: str | None) -> Slot | Outcome:
        """A place for a file of that size, or why there is none."""
        service = await self.service(sender, domain)
        if isinstance(service, Outcome):
            return service
        if service.most is not None and size > service.most:
            return Outcome(FILE_TOO_LARGE)
        name = quoteattr(f"file.{ending or 'bin'}")
        request = (
            f"<request xmlns='{NS_UPLOAD}' filename={name} size='{size}' content-type='application/octet-stream'/>"
        )
        answer = await self.asks.ask(sender, service.jid, request)
        if answer is None:
            return _AGAIN
        if answer.get("type") == "error":
            self._known.pop(domain, None)
            return _refusal(answer)
        return _slot(answer) or Outcome(UPLOAD_REFUSED)

    async def service(self, sender: str, domain: str) -> Service | Outcome:
        """The upload service that a server names (XEP-0030), or why none is known."""
        known = self._known.get(domain)
        if known is not None and time.monotonic() - known[0] < KNOWN_S:
            return known[1]
        items = await self.asks.ask(sender, domain, f"<query xmlns='{NS_ITEMS}'/>")
        if items is None:
            return _AGAIN
        found = await self._first(sender, (domain, *_listed(items)))
        if isinstance(found, Service):
            self._known[domain] = (time.monotonic(), found)
        return found

    async def _first(self, sender: str, jids: Sequence[str]) -> Service | Outcome:
        """The first that says it is one. All are asked at once: some may be listed and not be there."""
        silent = False
        asking = [asyncio.create_task(self._asked(sender, jid)) for jid in jids]
        try:
            for answered in asyncio.as_completed(asking):
                jid, info = await answered
                service = None if info is None else _service(jid, info)
                if service is not None:
                    return service
                silent = silent or info is None
        finally:
            for task in asking:
                task.cancel()
        return _AGAIN if silent else Outcome(UPLOAD_NO_SERVICE)

    async def _asked(self, sender: str, jid: str) -> tuple[str, ET.Element | None]:
        return jid, await self.asks.ask(sender, jid, f"<query xmlns='{NS_INFO}'/>", within_s=10.0)


def _listed(items: ET.Element) -> list[str]:
    found = [item.get("jid", "") for item in items.iter(f"{{{NS_ITEMS}}}item") if not item.get("node")]
    return [jid for jid in found if jid][:MOST_ITEMS]


def _service(jid: str, info: ET.Element) -> Service | None:
    features = {feature.get("var") for feature in info.iter(f"{{{NS_INFO}}}feature")}
    if info.get("type") != "result" or NS_UPLOAD not in features:
        return None
    for form in info.iter(f"{{{NS_FORM}}}x"):
        said = {f.get("var"): (f.findtext(f"{{{NS_FORM}}}value") or "").strip() for f in form}
        most = said.get("max-file-size", "")
        if said.get("FORM_TYPE") == NS_UPLOAD and most.isascii() and most.isdigit() and len(most) < 20:
            return Service(jid, int(most))
    return Service(jid, None)


def _slot(answer: ET.Element) -> Slot | None:
    slot = answer.find(f"{{{NS_UPLOAD}}}slot")
    put = None if slot is None else slot.find(f"{{{NS_UPLOAD}}}put")
    get = None if slot is None else slot.find(f"{{{NS_UPLOAD}}}get")
    if put is None or get is None:
        return None
    headers = tuple(
        (header.get("name", ""), "".join((header.text or "").splitlines()))
        for header in put.findall(f"{{{NS_UPLOAD}}}header")
        if header.get("name", "").lower() in HEADERS
    )
    return Slot(put.get("url", ""), get.get("url", ""), headers)


def _refusal(answer: ET.Element) -> Outcome:
    if next(answer.iter(f"{{{NS_UPLOAD}}}file-too-large"), None) is not None:
        return Outcome(FILE_TOO_LARGE)
    errors = [child for child in answer if child.tag.rpartition("}")[2] == "error"]
    conditions = {each.tag.partition("}")[2] for error in errors for each in error}
    return Outcome(UPLOAD_REFUSED) if conditions & _FINAL else _AGAIN
