"""`content` of the configuration: what may pass beside text. Checked here; what it means is `crypto.content`'s."""

import re
from typing import Annotated

from pydantic import BeforeValidator

from bridge.config.base import Closed, mistake
from bridge.config.wording import shown

MAX_FILE = 1 << 40
_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE = re.compile(r"([0-9]{1,7}) ?([KMG]i?B?)", re.IGNORECASE)
_REMEDY = "Write a number and KiB, MiB or GiB, for example 100 MiB, or off for no files at all."
SWITCHES = ("reactions", "retractions", "receipts", "typing", "presence", "profile")


def _octets(value: object) -> object:
    """`off`, or a size as a text: the number of octets."""
    if value in ("off", False):
        return 0
    size = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if size is None:
        raise mistake("size", f"{shown(value)} is not a size", _REMEDY)
    number, unit = int(size[1]), f"{size[2][0].upper()}iB"
    if size[2] != unit:
        raise mistake("size", f"{shown(value)} has a unit that means different things", f"Write {number} {unit}.")
    if not 0 < number * _UNITS[unit] <= MAX_FILE:
        raise mistake("size", f"{shown(value)} is out of range", f"{_REMEDY} The largest is 1024 GiB.")
    return number * _UNITS[unit]


Size = Annotated[int, BeforeValidator(_octets)]


class Content(Closed):
    """What may pass between the user and a contact beside text."""

    reactions: bool | None = None
    retractions: bool | None = None
    receipts: bool | None = None
    typing: bool | None = None
    presence: bool | None = None
    profile: bool | None = None
    files: Size | None = None


def content_options(settings: Content | None) -> dict[str, str]:
    """The settings that were written, as the enclave takes them (`crypto.content.ContentPolicy.of`)."""
    if settings is None:
        return {}
    switches = {name: getattr(settings, name) for name in SWITCHES}
    found = {f"content-{name}": "yes" if value else "no" for name, value in switches.items() if value is not None}
    return found if settings.files is None else {**found, "content-file-octets": str(settings.files)}
