"""Files in XMPP messages: stateless file sharing (XEP-0447) with encrypted sources (XEP-0448) and metadata (XEP-0446).

Read and written as children of a message's content; all of it is only ever written inside encryption.
"""

import base64
import binascii
from dataclasses import dataclass, field

from crypto.errors import Malformed
from crypto.files.addresses import is_fetchable
from crypto.files.digests import SHA256, Digest
from crypto.files.streams import Lock, Made, Method
from crypto.xml import Element, escape_attribute, escape_text

NS_SHARING = "urn:xmpp:sfs:0"
NS_ENCRYPTED = "urn:xmpp:esfs:0"
NS_METADATA = "urn:xmpp:file:metadata:0"
NS_HASHES = "urn:xmpp:hashes:2"
NS_URL_DATA = "http://jabber.org/protocol/url-data"
NS_OOB = "jabber:x:oob"
NS_FALLBACK = "urn:xmpp:fallback:0"
GCM_256 = "urn:xmpp:ciphers:aes-256-gcm-nopadding:0"
_CIPHERS = {
    GCM_256: (Method.GCM, 32),
    "urn:xmpp:ciphers:aes-128-gcm-nopadding:0": (Method.GCM, 16),
    "urn:xmpp:ciphers:aes-256-cbc-pkcs7:0": (Method.CBC, 32),
}
_MOST_SIZE = 1 << 50
_MOST_HASHES = 8


class NotAFile(Malformed):
    """The element does not describe a file that could be fetched and opened."""

    def __init__(self) -> None:
        super().__init__("the description of a shared file cannot be read")


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is said of a file beside its content. `size` in octets, `length_ms` of sound and film; 0: not said."""

    name: str = field(default="", repr=False)
    media_type: str = ""
    size: int = 0
    description: str = field(default="", repr=False)
    width: int = 0
    height: int = 0
    length_ms: int = 0


@dataclass(frozen=True, slots=True)
class SharedFile:
    """A file, where its ciphertext is, and what opens it."""

    metadata: Metadata
    url: str
    lock: Lock


def shared_file(sharing: Element) -> SharedFile:
    """Read a `<file-sharing/>`: the first of its encrypted sources that is usable. Raises NotAFile."""
    about, sources = sharing.child(NS_METADATA, "file"), sharing.child(NS_SHARING, "sources")
    if sharing.namespace != NS_SHARING or sharing.name != "file-sharing" or about is None or sources is None:
        raise NotAFile
    metadata, plain = _metadata(about), _digests(about)
    for source in sources.elements:
        if (source.namespace, source.name) != (NS_ENCRYPTED, "encrypted"):
            continue
        lock, url = _lock(source, metadata.size, plain), _url(source)
        if lock is not None and url is not None:
            return SharedFile(metadata, url, lock)
    raise NotAFile


def sharing_content(metadata: Metadata, url: str, made: Made) -> str:
    """The `<file-sharing/>` of a file that we made and that stands at this URL."""
    source = (
        f'<encrypted xmlns="{NS_ENCRYPTED}" cipher="{GCM_256}">'
        f"<key>{_base64(made.key)}</key><iv>{_base64(made.iv)}</iv>{_hash(made.sealed_sha256)}"
        f'<sources xmlns="{NS_SHARING}"><url-data xmlns="{NS_URL_DATA}" target="{escape_attribute(url)}"/></sources>'
        f"</encrypted>"
    )
    about = "".join(
        f"<{name}>{escape_text(str(value))}</{name}>"
        for name, value in (
            ("media-type", metadata.media_type),
            ("name", metadata.name),
            ("size", made.size),
            ("width", metadata.width or ""),
            ("height", metadata.height or ""),
            ("length", metadata.length_ms or ""),
            ("desc", metadata.description),
        )
        if value != ""
    )
    file = f'<file xmlns="{NS_METADATA}">{about}{_hash(made.sha256)}</file>'
    shown = "inline" if metadata.media_type.partition("/")[0] in ("image", "audio", "video") else "attachment"
    return f'<file-sharing xmlns="{NS_SHARING}" disposition="{shown}">{file}<sources>{source}</sources></file-sharing>'


def _lock(source: Element, size: int, plain: tuple[Digest, ...]) -> Lock | None:
    method, length = _CIPHERS.get(source.attribute("cipher") or "", (None, 0))
    key, iv = _octets(source.child(NS_ENCRYPTED, "key")), _octets(source.child(NS_ENCRYPTED, "iv"))
    if method is None or key is None or iv is None or len(key) != length:
        return None
    lock = Lock(method, key, iv, size, plain, _digests(source))
    usable = True
    try:
        lock.require_usable()
    except Malformed:
        usable = False
    return lock if usable else None


def _url(source: Element) -> str | None:
    inner = source.child(NS_SHARING, "sources")
    if inner is None:
        return None
    targets = [e.attribute("target") for e in inner.elements if (e.namespace, e.name) == (NS_URL_DATA, "url-data")]
    return next((target for target in targets if target is not None and is_fetchable(target)), None)


def _metadata(about: Element) -> Metadata:
    def text(name: str, most: int) -> str:
        found = about.child(NS_METADATA, name)
        return "" if found is None else found.text.strip()[:most]

    def number(name: str) -> int:
        found = text(name, 20)
        return int(found) if found.isascii() and found.isdigit() and int(found) < _MOST_SIZE else 0

    return Metadata(
        text("name", 255),
        text("media-type", 127),
        number("size"),
        text("desc", 65_536),
        number("width"),
        number("height"),
        number("length"),
    )


def _digests(parent: Element) -> tuple[Digest, ...]:
    found: list[Digest] = []
    for element in parent.elements:
        if (element.namespace, element.name) == (NS_HASHES, "hash") and len(found) < _MOST_HASHES:
            value = _octets(element)
            found.append(Digest(element.attribute("algo") or "", value or b""))
    return tuple(found)


def _octets(element: Element | None) -> bytes | None:
    """Base64 with padding. A stated hash that cannot be read is one that no file has."""
    if element is None or len(element.text) > 1024:
        return None
    try:
        return base64.b64decode("".join(element.text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None


def _hash(value: bytes) -> str:
    return f'<hash xmlns="{NS_HASHES}" algo="{SHA256}">{_base64(value)}</hash>'


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
