"""Settings of encrypted sessions with an account's user, for the account or for one contact of it.

Shapes, and what they become for the enclave: flat texts under short names (`options`). What was not written is not
among them; the inside half knows the defaults.
"""

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from bridge.config.base import Closed, ConfigPath, mistake
from bridge.config.wording import nearest, shown

GROUPS = ("14", "15", "16", "17", "18", "5", "x25519")
"""Diffie-Hellman groups that may be asked for; 1 and 2 never."""
CIPHERS = ("aes128-ctr", "aes192-ctr", "aes256-ctr")
HASHES = ("sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512")
STANZAS = ("message", "presence", "iq")
PUBLIC_KEYS = ("none", "hash", "key")
MAX_PINNED = 16
MAX_MESSAGES = 1 << 31
MAX_MINUTES = 525_600
FILES = ("password_file", "ca_file", "certificate_file", "openpgp_file")
"""Keys that name a file; its octets are the option of the same name without `_file`."""
VOUCHING = ("pinned", "ca_file", "certificate_file", "openpgp_file", "allow_dsa")
"""Keys that only matter where public keys are shown."""
SHORT = ("three_message", "one_shot")
"""Keys for negotiations of three messages."""

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


def words_of(what: str, choices: Sequence[str]) -> Callable[[object], tuple[str, ...]]:
    """A list of different words of `choices`, in the operator's order; numbers count as words."""

    def checked(value: object) -> tuple[str, ...]:
        example = f"Write a list, for example [{', '.join(choices[:2])}]. Choices: {', '.join(choices)}."
        if not isinstance(value, list):
            raise mistake("not-a-list", "{shown} is not a list", example)
        if not value:
            raise mistake("empty-list", f"the list of {what} is empty", f"{example} Or leave the key out.")
        found = [_word(entry, what, choices) for entry in value]
        for word in found:
            if found.count(word) > 1:
                raise mistake("repeated", f"{shown(word)} is in the list twice", "Write each once, the best first.")
        return tuple(found)

    return checked


def _word(entry: object, what: str, choices: Sequence[str]) -> str:
    text = str(entry) if isinstance(entry, str | int) and not isinstance(entry, bool) else ""
    if text in choices:
        return text
    guess = nearest(text, list(choices)) if not text.isdecimal() else None
    hint = f"Did you mean “{guess}”? " if guess else ""
    raise mistake("not-a-choice", f"{shown(entry)} is none of the {what}", f"{hint}Choices: {', '.join(choices)}.")


def _fingerprints(value: object) -> tuple[str, ...]:
    """SHA-256 fingerprints as 64 small hexadecimal digits; colons, spaces and capitals do not count."""
    remedy = "Write a list of SHA-256 fingerprints, each in quotes: 64 hexadecimal digits, with or without colons."
    if not isinstance(value, list) or len(value) > MAX_PINNED:
        raise mistake("fingerprint", f"{{shown}} is not a list of at most {MAX_PINNED} fingerprints", remedy)
    plain = tuple(re.sub(r"[: ]", "", entry).lower() if isinstance(entry, str) else "" for entry in value)
    for entry, digits in zip(value, plain, strict=True):
        if not _FINGERPRINT.fullmatch(digits):
            raise mistake("fingerprint", f"{shown(entry)} is not a SHA-256 fingerprint", remedy)
    return plain


Groups = Annotated[tuple[str, ...], BeforeValidator(words_of("groups", GROUPS))]
Ciphers = Annotated[tuple[str, ...], BeforeValidator(words_of("ciphers", CIPHERS))]
Hashes = Annotated[tuple[str, ...], BeforeValidator(words_of("hashes", HASHES))]
Stanzas = Annotated[tuple[str, ...], BeforeValidator(words_of("kinds of stanzas", STANZAS))]
PublicKeys = Annotated[tuple[str, ...], BeforeValidator(words_of("kinds of public keys", PUBLIC_KEYS))]
Fingerprints = Annotated[tuple[str, ...], BeforeValidator(_fingerprints)]


class Rekey(Closed):
    """When a session makes new keys by itself (XEP-0200)."""

    messages: Annotated[int, Field(ge=1, le=MAX_MESSAGES)] | None = None
    minutes: Annotated[int, Field(ge=1, le=MAX_MINUTES)] | None = None


class ESession(Closed):
    """How sessions are negotiated, who the user's keys are taken from, and when keys are renewed."""

    groups: Groups | None = None
    ciphers: Ciphers | None = None
    hashes: Hashes | None = None
    stanzas: Stanzas | None = None
    post_quantum: Literal["prefer", "require", "off"] | None = None
    password_file: ConfigPath | None = None
    public_keys: PublicKeys | None = None
    own_key: Literal["none", "hash", "key"] | None = None
    pinned: Fingerprints | None = None
    ca_file: ConfigPath | None = None
    certificate_file: ConfigPath | None = None
    openpgp_file: ConfigPath | None = None
    allow_dsa: bool | None = None
    rekey: Rekey | None = None
    three_message: Literal["accept", "off"] | None = None
    one_shot: Literal["accept", "send", "off"] | None = None
    shield: Literal["initiator", "responder"] | None = None
    offline: Literal["on", "off"] | None = None
    require_verified: bool | None = None
    weak_string: Literal["accept", "refuse"] | None = None


def contradictions(settings: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """What settings (as written, of whatever shape) say against each other: the key, what was found, what is right."""
    if settings.get("public_keys") == ["none"]:
        for key in VOUCHING:
            if settings.get(key):
                found = f"“{key}” is about a public key, but public_keys: [none] lets nobody show one"
                yield key, found, "Write public_keys: [hash, key]."
        for key in SHORT:
            if settings.get(key) in ("accept", "send"):
                found = f"“{key}” needs the user's public key, but public_keys: [none] lets nobody show one"
                yield key, found, "Write public_keys: [key, hash, none]."
    if settings.get("shield") == "initiator":
        if settings.get("own_key") not in ("key", "hash") and not any(
            settings.get(key) in ("accept", "send") for key in SHORT
        ):
            found = "shield: initiator means three messages, for which the contact must show a key of its own"
            yield "shield", found, "Write own_key: key as well."
        if settings.get("password_file"):
            found = "shield: initiator means three messages, which cannot use a password"
            yield "shield", found, "Leave out one of shield and password_file."


def options(settings: ESession, files: Mapping[str, bytes]) -> dict[str, str]:
    """The settings that were written, as the enclave takes them; `files` holds the octets by the key that names them.

    Words of a list are separated by spaces, truth is `yes` or `no`, a binary file is base64.
    """
    return dict(_options(settings, files))


def _options(settings: ESession, files: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    for name in ESession.model_fields:
        value = getattr(settings, name)
        called = _CALLED.get(name, name.removesuffix("_file").replace("_", "-"))
        if isinstance(value, Rekey):
            yield from ((f"rekey-{unit}", str(n)) for unit, n in value.model_dump(exclude_none=True).items())
        elif name == "openpgp_file" and value is not None:
            yield called, base64.b64encode(files[name]).decode()
        elif name in FILES and value is not None:
            yield called, files[name].decode()
        elif isinstance(value, tuple):
            yield called, " ".join(value)
        elif value is not None:
            yield called, _YES_OR_NO.get(value, str(value)) if name in _SWITCHES else str(value)


_CALLED = {"pinned": "fingerprints", "allow_dsa": "dsa"}
_SWITCHES = ("allow_dsa", "three_message", "one_shot", "offline", "require_verified")
_YES_OR_NO = {True: "yes", "accept": "yes", "on": "yes", False: "no", "off": "no"}
