"""What senders call their files, made harmless: names without paths, media types that are such."""

import re

MAX_NAME = 200
OCTETS = "application/octet-stream"
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,62}/[a-z0-9][a-z0-9!#$&^_.+-]{0,62}")


def file_name(text: object) -> str:
    """The last part of a name as one printable line, `file` when there is none."""
    if not isinstance(text, str):
        return "file"
    last = re.split(r"[/\\]", text)[-1]
    name = "".join(c for c in last if c.isprintable()).strip().lstrip(".")[:MAX_NAME]
    return name or "file"


def media_type(text: object) -> str:
    """A media type without parameters, in small letters; that of any octets when it is none."""
    plain = text.partition(";")[0].strip().lower() if isinstance(text, str) else ""
    return plain if _MEDIA_TYPE.fullmatch(plain) else OCTETS
