"""A contact's public name and picture, as its JID publishes them (XEP-0172, XEP-0084).

Both are public on the other network, and are so here: the component serves them to the account's user, unencrypted.
"""

import base64
import hashlib
from dataclasses import dataclass, field

from adapters.inside_api import AnyValue
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.names import address_of
from adapters.xmpp.pep.names import (
    AVATAR_DATA,
    AVATAR_METADATA,
    NICK,
    NS_AVATAR_DATA,
    NS_AVATAR_METADATA,
    NS_NICK,
    PUBLISH,
    RETRACT,
)
from bridge.wire.values import Code, Opaque, Public
from crypto.content import ContentPolicy
from crypto.message import Profile
from crypto.xml import escape_text, sanitise_text

MAX_NAME = 128
MAX_PICTURE = 64 << 10
"""Octets of a picture; a larger one is left out."""
CURRENT = "current"
_KINDS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


@dataclass(frozen=True, slots=True)
class Told:
    """What was published last."""

    name: str = field(default="", repr=False)
    picture: str = ""
    """SHA-1 of it, hexadecimal; empty: none."""


def show_profile(at: LegStep, profile: Profile) -> None:
    """Publish what has changed."""
    if not ContentPolicy.of(at.contact.options).profile:
        return
    told = told_of(at)
    name = one_line(profile.name)
    kind = _kind_of(profile.picture)
    picture = hashlib.sha1(profile.picture).hexdigest() if kind else ""  # noqa: S324 - XEP-0084's choice
    if name != told.name:
        _publish(at, NICK, CURRENT, f'<nick xmlns="{NS_NICK}">{escape_text(name)}</nick>' if name else None)
    if picture != told.picture:
        _publish_picture(at, profile.picture, picture, kind)
    if (name, picture) != (told.name, told.picture):
        at.step.records.put(_record(at), Told(name, picture))
        at.report("profile-published")


def withdraw_profile(at: LegStep) -> None:
    """Take back what was published, where the operator does not want it any more."""
    if ContentPolicy.of(at.contact.options).profile or told_of(at) == Told():
        return
    _publish(at, NICK, CURRENT, None)
    _publish_picture(at, b"", "", "")
    at.step.records.delete(_record(at))


def told_of(at: LegStep) -> Told:
    """The contact's name and picture, as far as they were told."""
    return at.step.records.get(_record(at), Told) or Told()


def one_line(name: str) -> str:
    """A name as it can be shown: one line, not too long."""
    kept = "".join(c if c.isprintable() else " " for c in sanitise_text(name))
    return " ".join(kept.split())[:MAX_NAME]


def _kind_of(picture: bytes) -> str:
    """The media type, by its first octets: what a network claims it to be proves nothing. Empty: none that is shown."""
    if len(picture) > MAX_PICTURE:
        return ""
    if picture[:4] == b"RIFF" and picture[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _KINDS if picture.startswith(start)), "")


def _publish_picture(at: LegStep, octets: bytes, picture: str, kind: str) -> None:
    if not kind:
        _publish(at, AVATAR_METADATA, CURRENT, f'<metadata xmlns="{NS_AVATAR_METADATA}"/>')
        _publish(at, AVATAR_DATA, CURRENT, None)
        return
    data = base64.b64encode(octets).decode()
    _publish(at, AVATAR_DATA, picture, f'<data xmlns="{NS_AVATAR_DATA}">{data}</data>')
    info = f'<info bytes="{len(octets)}" id="{picture}" type="{kind}"/>'
    _publish(at, AVATAR_METADATA, picture, f'<metadata xmlns="{NS_AVATAR_METADATA}">{info}</metadata>')


def _publish(at: LegStep, node: str, item: str, content: str | None) -> None:
    values: dict[str, AnyValue] = {"from": address_of(at.contact.alias), "node": Code(v=node)}
    lane = f"profile/{at.contact.id}"
    if content is None:
        at.step.carry(RETRACT, values, lane=lane)
    else:
        at.step.carry(PUBLISH, {**values, "item": Opaque(v=item), "content": Public(v=content.encode())}, lane=lane)


def _record(at: LegStep) -> str:
    return f"profile/{at.contact.id}"
