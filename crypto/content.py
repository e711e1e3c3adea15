"""What a message may hold beside its text, whatever the network: marks, replies, reactions, files; and who may what.

Other messages are referred to by `Message.id`, the id that the half gave which handed the message over first. Each
half keeps the map between such ids and those of its own network for the messages that it sent out itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

PART_OCTETS = 256 << 10
"""Octets of a file that are in the enclave at one time: what one `Part` holds at most."""
MIB = 1 << 20


class Style(StrEnum):
    """What a mark says of the text it covers."""

    STRONG = "strong"
    EMPHASIS = "emphasis"
    UNDERLINE = "underline"
    DELETED = "deleted"
    CODE = "code"
    LINK = "link"
    """`value`: the address; only http, https, mailto, xmpp, matrix and geo. Text and address may differ: show both."""
    CODE_BLOCK = "code-block"
    """Whole lines. `value`: the language, if one was named."""
    QUOTE = "quote"
    """Whole lines."""
    ITEM = "item"
    """Whole lines: one entry of a list. `value`: its number as text; empty in a list without numbers."""
    HEADING = "heading"
    """Whole lines. `value`: 1 to 6."""
    SPOILER = "spoiler"
    """`value`: why it is hidden, if that was said."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A stretch of a body, in code points, the end not included: `0 <= start < end <= len(body)`."""

    start: int
    end: int
    style: Style
    value: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a message answers. `quoted`, `by_user`: for a far side that does not know the message (any more)."""

    to: str
    quoted: str = field(default="", repr=False)
    by_user: bool | None = None
    """Whether our own user wrote what is answered (else the contact did), None when that is not known."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """All that the sender now feels about a message: these, each a short text, usually one emoji. Empty: nothing."""

    to: str
    emojis: tuple[str, ...] = field(default=(), repr=False)


class FileKind(StrEnum):
    """How a file is to be shown."""

    FILE = "file"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    VOICE = "voice"
    STICKER = "sticker"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that comes with a message. Its content is asked for in parts (`Step.pull`), by whoever wants it."""

    name: str = field(repr=False)
    media_type: str = "application/octet-stream"
    size: int = 0
    """Octets, as the sender claims; 0: not said."""
    kind: FileKind = FileKind.FILE
    width: int | None = None
    height: int | None = None
    duration_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a file: `octets` from `offset` on, at most PART_OCTETS; `last`: all was there, and is authentic.

    Until then nothing of it is authentic: whoever hands it on must not name its key before. `code` other than `ok`:
    there is no (more of the) file, and why.
    """

    offset: int
    octets: bytes = field(default=b"", repr=False)
    last: bool = False
    code: str = "ok"


@dataclass(frozen=True, slots=True)
class ContentPolicy:
    """What may pass beside text, for one contact. The operator's, from the options of the contact's policy."""

    reactions: bool = False
    """Reactions to and from networks that carry them unencrypted."""
    retractions: bool = True
    receipts: bool = True
    """Whether the contact is told what the user has read, and the user what the contact has."""
    typing: bool = False
    """Whether the contact's network is told (unencrypted) that the user is writing."""
    presence: bool = False
    """Whether it is told that the user is there."""
    profile: bool = True
    """Whether the contact's public name and picture are shown to the user."""
    file_octets: int = 100 * MIB
    """Size of the largest file; 0: none."""

    @classmethod
    def of(cls, options: Mapping[str, str]) -> "ContentPolicy":
        """The policy in a contact's options; what is not said or not readable is as by default."""
        plain = cls()

        def switch(name: str, default: bool) -> bool:
            return {"yes": True, "no": False}.get(options.get(f"content-{name}", ""), default)

        size = options.get("content-file-octets", "")
        return cls(
            reactions=switch("reactions", plain.reactions),
            retractions=switch("retractions", plain.retractions),
            receipts=switch("receipts", plain.receipts),
            typing=switch("typing", plain.typing),
            presence=switch("presence", plain.presence),
            profile=switch("profile", plain.profile),
            file_octets=int(size) if size.isascii() and size.isdigit() and len(size) < 16 else plain.file_octets,
        )
