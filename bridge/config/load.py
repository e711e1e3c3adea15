"""Reading the configuration file: every mistake at once, or a configuration that can be used."""

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from bridge.config.document import Node, read_document
from bridge.config.mistakes import Tidied, problems_of, without_value
from bridge.config.models import Config
from bridge.config.relations import Relations
from bridge.config.secrets import Read, Secrets, gathered, read_secrets, references
from bridge.config.syntax import MAX_OCTETS
from bridge.errors import ConfigError, Problem

MAX_TOGETHER = 4 << 20
"""Octets of all files with secrets and certificates: they reach the enclave in one frame."""
MAX_SOCKET_PATH = 107
"""Octets of a Unix socket's path on Linux, without the final NUL (unix(7))."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration with its secrets."""

    config: Config
    secrets: Secrets


def load(file: Path) -> Loaded:
    """Read the configuration and the secrets it refers to. Raises `ConfigError` with every mistake."""
    root, problems = _document(file)
    if root is None:
        raise ConfigError(str(file), problems)
    config, more = _checked(file, root)
    found = references(root.plain(), file.absolute().parent)
    read, troubles = read_secrets(found, root.line_of)
    problems += [*more, *troubles, *_too_much(read)]
    if config is None or problems:
        raise ConfigError(str(file), _in_order(problems))
    return Loaded(config, gathered(config, read))


def _too_much(read: Read) -> list[Problem]:
    octets = sum(len(content) for content in read.values())
    if octets <= MAX_TOGETHER:
        return []
    found = f"the files it names have more than {MAX_TOGETHER >> 20} MiB together"
    return [Problem("too-large", "accounts", found, "Write esession settings once, for the account, where they agree.")]


def load_config(file: Path) -> Config:
    """Read the configuration only; the secrets' files need not be there. Raises `ConfigError`."""
    root, problems = _document(file)
    if root is None:
        raise ConfigError(str(file), problems)
    config, more = _checked(file, root)
    problems += more
    if config is None or problems:
        raise ConfigError(str(file), _in_order(problems))
    return config


def _document(file: Path) -> tuple[Node | None, list[Problem]]:
    try:
        with open(file, "rb") as opened:
            octets = opened.read(MAX_OCTETS + 1)
    except OSError as error:
        return None, [_unreadable(error)]
    return read_document(octets)


def _unreadable(error: OSError) -> Problem:
    if isinstance(error, FileNotFoundError):
        remedy = "Name it with -c, or copy config.example.yaml to config.yaml and change it."
        return Problem("no-file", "", "there is no such file", remedy)
    if isinstance(error, IsADirectoryError):
        return Problem("no-file", "", "this is a folder", "Name the configuration file in it.")
    found = f"it cannot be read ({os.strerror(error.errno or 0)})"
    return Problem("no-file", "", found, "Make it readable for the user that Lockgate runs as.")


def _checked(file: Path, root: Node) -> tuple[Config | None, list[Problem]]:
    tidied = Tidied()
    tidied.tidy(root)
    document = root.plain()
    assert isinstance(document, dict)
    problems = [*tidied.problems, *without_value(root)]
    problems += Relations(document, root.line_of, tidied.excused).problems()
    config: Config | None = None
    try:
        config = Config.model_validate(document, context={"folder": file.absolute().parent})
    except ValidationError as error:
        problems += problems_of(error, root, tidied.excused)
    if config is not None:
        problems += _socket_path(config, root)
    return config, problems


def _socket_path(config: Config, root: Node) -> list[Problem]:
    path = os.fsencode(config.admin_socket)
    if len(path) <= MAX_SOCKET_PATH:
        return []
    found = f"the admin socket's path has {len(path)} octets; the system allows {MAX_SOCKET_PATH}"
    remedy = "Set state_dir to a folder with a shorter path, for example /run/lockgate."
    return [Problem("socket-path", "state_dir", found, remedy, root.line_of(("state_dir",)))]


def _in_order(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: problem.line or 0)
