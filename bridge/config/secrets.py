"""Secrets by reference: files that hold one secret each, readable by their owner only."""

import base64
import binascii
import os
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bridge.config.appservice import TOKENS
from bridge.config.certificates import KINDS, certificate_octets
from bridge.config.models import Account, Config
from bridge.config.paths import file_path
from bridge.config.reference import BadFile, Reference, octets_of
from bridge.config.wording import Path as Place
from bridge.config.wording import dotted
from bridge.errors import Problem

MAX_SECRET = 4096
"""Octets of a secret's file."""
SEALING_KEY_SIZE = 32
MIN_TOKEN = 32
"""Characters of a token of the application service."""
MAX_PASSWORD = 1024
"""Characters of a password of sessions; it and what may be in it are `crypto.esession.passwords`'."""
_NOT_TYPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
SEALING: Place = ("sealing", "key_file")
APPSERVICE: Place = ("matrix", "appservice")
Read = dict[Place, str | bytes]


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the supervisor reads at its start and hands on, to each process its own part only."""

    component: str = field(repr=False)
    """For the gateway."""
    sealing_key: bytes = field(repr=False)
    """32 octets, for the enclave."""
    accounts: Mapping[str, Mapping[str, Mapping[str, str]]] = field(repr=False)
    """For the gateway: by account and network, `{"password": ...}`, `{"token": ..., "device": ...}` or
    `{"session": PATH}`. What is in a session's file is not read here: the gateway itself renews it."""
    adapters: Mapping[str, Mapping[str, str]] = field(repr=False)
    """For the gateway: by network of `adapters`, the settings that are secret."""
    peers: Mapping[Place, Mapping[str, bytes]] = field(repr=False)
    """For the enclave: by the place of an `esession` group, the octets of the files it names, by their keys."""
    files: int
    """How many files with secrets there are."""
    appservice: Mapping[str, str] = field(repr=False, default_factory=dict)
    """For the gateway: the tokens of the application service, by their keys in its registration."""


def references(document: object, folder: Path) -> dict[Place, "Reference"]:
    """Every secret's file that a document names, also one with mistakes elsewhere."""
    places: list[Place] = [("xmpp", "component", "secret_file"), SEALING, *((*APPSERVICE, key) for key in TOKENS)]
    for adapter in _below(document, ("adapters",)):
        places += _below(document, (*adapter, "secret_files"))
    for account in _below(document, ("accounts",)):
        places += [(*account, "matrix", key) for key in ("password_file", "token_file")]
        for network in _below(document, (*account, "networks")):
            places += _below(document, (*network, "secret_files"))
    places += [(*place, "password_file") for place in _esessions(document)]
    places += [(*place, key) for place in _esessions(document) for key in KINDS]
    written = {place: _at(document, place) for place in places}
    return {
        place: Reference(text, folder)
        for place, text in written.items()
        if isinstance(text, str) and text and file_path(text, folder)
    }


def _esessions(document: object) -> Iterator[Place]:
    """The places where settings of encrypted sessions may stand."""
    for account in _below(document, ("accounts",)):
        yield (*account, "esession")
        yield from ((*contact, "esession") for contact in _below(document, (*account, "contacts")))


def _below(document: object, place: Place) -> list[Place]:
    """The places of a mapping's values."""
    found = _at(document, place)
    return [(*place, str(name)) for name in found] if isinstance(found, dict) else []


def _at(document: object, place: Place) -> object:
    for step in place:
        if not isinstance(document, dict):
            return None
        document = document.get(step)
    return document


def secret_text(reference: Reference) -> str:
    """The one line of a secret's file, without the end of line. Raises `BadFile`."""
    octets, file = _octets(reference), reference.file
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        text = "\0"
    text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise BadFile("secret-empty", f"{file} is empty", "Write the secret into it, on one line.")
    if any(ord(char) < 0x20 for char in text):
        raise BadFile("secret-malformed", f"{file} does not hold one line of text", "Write only the secret into it.")
    return text


def session_password(reference: Reference) -> str:
    """A password that people type at both ends: in characters that every keyboard makes alike. Raises `BadFile`."""
    text = secret_text(reference).strip(" \t\r\n")
    typed = all(unicodedata.category(char) not in _NOT_TYPED for char in unicodedata.normalize("NFC", text))
    if not typed or len(text) > MAX_PASSWORD:
        found = f"{reference.file} holds invisible characters, or more than {MAX_PASSWORD}"
        raise BadFile("secret-malformed", found, "Write a password into it that can be typed at the other end.")
    return text


def appservice_token(reference: Reference) -> str:
    """A token of the application service: one word that an HTTP header can hold. Raises `BadFile`."""
    text = _made_by("Make it, and the registration: lockgate matrix registration", reference)
    if not text.isascii() or " " in text or len(text) < MIN_TOKEN:
        found = f"{reference.file} does not hold a token of at least {MIN_TOKEN} letters and digits"
        raise BadFile("secret-malformed", found, "Remove it, then make another: lockgate matrix registration")
    return text


def sealing_key(reference: Reference) -> bytes:
    """The 32 octets of a sealing key's file, which holds them in base64. Raises `BadFile`."""
    text = _made_by(f"Make a sealing key: lockgate keygen {reference.name or 'FILE'}", reference)
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != SEALING_KEY_SIZE:
        remedy = "Restore the right file from a copy; for a new gateway make another one: lockgate keygen FILE"
        raise BadFile("sealing-key", f"{reference.file} does not hold a sealing key", remedy)
    return key


def _made_by(remedy: str, reference: Reference) -> str:
    """The text of a secret that a command of ours makes: where there is none, that is the remedy. Raises `BadFile`."""
    missing: BadFile
    try:
        return secret_text(reference)
    except BadFile as error:
        if error.code != "secret-missing":
            raise
        missing = error
    raise BadFile(missing.code, missing.found, remedy)


def _octets(reference: Reference) -> bytes:
    file = reference.file
    trouble: BadFile
    try:
        octets = octets_of(reference, MAX_SECRET, _require_private)
    except (OSError, ValueError) as error:
        trouble = _cannot_open(reference, error)
    else:
        if octets is not None:
            return octets
        trouble = BadFile("secret-malformed", f"{file} is larger than a secret", "Check that it is the right file.")
    raise trouble


def _cannot_open(reference: Reference, error: Exception) -> BadFile:
    if isinstance(error, PermissionError):
        remedy = "Make it readable for the user that Lockgate runs as, and for nobody else."
        return BadFile("secret-unreadable", f"{reference.file} may not be read by this user", remedy)
    found = f"there is no file {reference.name}" if reference.name else "it names no file (not shown: is it a secret?)"
    remedy = "Put the secret, on one line, into a file of mode 0600, and name that file here."
    return BadFile("secret-missing", found, remedy)


def _require_private(reference: Reference, status: os.stat_result) -> None:
    file = reference.file
    if not stat.S_ISREG(status.st_mode):
        raise BadFile("secret-malformed", f"{file} is not a file", "Name the file that holds the secret.")
    if status.st_mode & 0o077:
        found = f"{file} is accessible to other users (mode {stat.S_IMODE(status.st_mode):04o})"
        raise BadFile("secret-exposed", found, f"Run: chmod 600 {file}")


def read_secrets(found: Mapping[Place, Reference], line_of: Callable[[Place], int]) -> tuple[Read, list[Problem]]:
    """The secrets that can be used, and the problems of those that cannot."""
    problems: list[Problem] = []
    read: Read = {}
    for place, reference in found.items():
        try:
            read[place] = _content(place, reference)
        except BadFile as error:
            problems.append(Problem(error.code, dotted(place), error.found, error.remedy, line_of(place)))
    return read, problems


def _content(place: Place, reference: Reference) -> str | bytes:
    if place == SEALING:
        return sealing_key(reference)
    if place[:-1] == APPSERVICE:
        return appservice_token(reference)
    if _is_certificate(place):
        return certificate_octets(reference, str(place[-1]))
    return session_password(reference) if place[-2] == "esession" else secret_text(reference)


def _is_certificate(place: Place) -> bool:
    return place[-2] == "esession" and place[-1] in KINDS


def gathered(config: Config, read: Read) -> Secrets:
    """The secrets of a configuration, all of which were read."""
    component, sealing = read["xmpp", "component", "secret_file"], read[SEALING]
    assert isinstance(component, str)
    assert isinstance(sealing, bytes)
    accounts = {name: dict(_credentials(name, account, read)) for name, account in config.accounts.items()}
    adapters = {
        name: _settings(read, ("adapters", name, "secret_files"), adapter.secret_files)
        for name, adapter in config.adapters.items()
    }
    files = sum(not _is_certificate(place) for place in read)
    return Secrets(component, sealing, accounts, adapters, _peers(read), files, _appservice(read))


def _appservice(read: Read) -> dict[str, str]:
    """The tokens of the application service, empty when there is none."""
    return {key.removesuffix("_file"): str(read[*APPSERVICE, key]) for key in TOKENS if (*APPSERVICE, key) in read}


def _peers(read: Read) -> dict[Place, dict[str, bytes]]:
    found: dict[Place, dict[str, bytes]] = {}
    for (*place, key), content in read.items():
        if place[-1] == "esession":
            octets = content if isinstance(content, bytes) else content.encode()
            found.setdefault(tuple(place), {})[str(key)] = octets
    return found


def _settings(read: Read, place: Place, names: Iterable[str]) -> dict[str, str]:
    return {name: str(read[*place, name]) for name in names}


def _credentials(name: str, account: Account, read: Read) -> Iterator[tuple[str, Mapping[str, str]]]:
    for network, login in account.networks.items():
        yield network, _settings(read, ("accounts", name, "networks", network, "secret_files"), login.secret_files)
    if account.matrix is None:
        return
    password = read.get(("accounts", name, "matrix", "password_file"))
    token = read.get(("accounts", name, "matrix", "token_file"))
    device = {"device": account.matrix.device} if account.matrix.device else {}
    if account.matrix.appservice:
        yield "matrix", {"as_token": _appservice(read)["as_token"]}
    elif account.matrix.session_file is not None:
        yield "matrix", {"session": str(account.matrix.session_file)}
    elif isinstance(password, str):
        yield "matrix", {"password": password}
    elif isinstance(token, str):
        yield "matrix", {"token": token, **device}
