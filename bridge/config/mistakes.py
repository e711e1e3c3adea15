"""What the models refuse, as one sentence about what was found and one about what would be right."""

import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bridge.config.document import Node
from bridge.config.esession import MAX_MESSAGES, MAX_MINUTES
from bridge.config.keys import KEYS, children, elsewhere, pattern
from bridge.config.wording import SECRET_WORDS, Path, clipped, dotted, kind_of, last_word, nearest, shown
from bridge.errors import Problem

_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "dict_type": "a group of keys",
    "model_type": "a group of keys",
    "model_attributes_type": "a group of keys",
}
_RANGES = {"messages": MAX_MESSAGES, "minutes": MAX_MINUTES}
DEEPEST = 7
"""Steps of the longest path of `KEYS`."""


class _Naming(NamedTuple):
    """How the keys of a mapping are named."""

    what: str
    rule: str
    pattern: str = "[^a-z0-9._-]+"
    """What a name may not contain."""


_NAMES = "Names are 1 to 64 characters: a to z, 0 to 9, “.”, “_”, “-”, beginning with a letter or digit."
_SETTING = _Naming(
    "a setting", "Names are 1 to 48 characters: a to z, 0 to 9, “_”, beginning with a letter.", "[^a-z0-9]+"
)
_NAMINGS = {
    "accounts": _Naming("an account", _NAMES),
    "contacts": _Naming("a contact; a contact's name is the first part of their XMPP address", _NAMES),
    "adapters": _Naming(
        "a network", "Names are 1 to 48 characters: a to z, 0 to 9, “-”, beginning with a letter.", "[^a-z0-9-]+"
    ),
    "settings": _SETTING,
    "secret_files": _SETTING,
}


def problems_of(error: ValidationError, root: Node, excused: AbstractSet[Path]) -> list[Problem]:
    """One problem per mistake, each with its line; those of `without_value` are left to it."""
    found = [(details["loc"], _problem(details, root)) for details in error.errors(include_url=False)]
    return [
        problem
        for path, problem in found
        if path not in excused and not (pattern(path) in KEYS and _is_null(root, path)) and not _is_secret(path)
    ]


def _is_secret(path: Path) -> bool:
    """A setting that must not be there at all (`bridge.config.relations`), whatever its value."""
    return pattern(path) == "adapters.*.settings.*" and last_word(str(path[-1])) in SECRET_WORDS


def _is_null(root: Node, path: Path) -> bool:
    node: Node | None = root
    for step in path:
        node = node.value.get(str(step)) if node and isinstance(node.value, dict) else None
    return node is not None and node.value is None


_IN_A_FILE = "Secrets are never in this file: put it into a file of its own (mode 0600) and write"


@dataclass
class Tidied:
    """A document without unknown keys: those that are misspelt stand under the name that was meant, so that one
    slip is one problem and what is under the key is checked as well."""

    problems: list[Problem] = field(default_factory=list)
    excused: set[Path] = field(default_factory=set)
    """Places that are missing only because of a problem that is reported."""

    def tidy(self, node: Node, path: Path = ()) -> None:
        """Take the unknown keys of a mapping, and of those in it, away; notes a problem for each."""
        if not isinstance(node.value, dict) or pattern(path) not in ("", *KEYS):
            return
        known = children(pattern(path))
        for name in [name for name in node.value if known and name not in known]:
            self._unknown(node, path, name)
        for name, inner in node.value.items():
            self.tidy(inner, (*path, name))

    def _unknown(self, node: Node, path: Path, name: str) -> None:
        assert isinstance(node.value, dict)
        problem, meant = _unknown_key((*path, name), node.key_lines[name])
        self.problems.append(problem)
        value = node.value.pop(name)
        if meant is None or meant in node.value:
            return
        if "PATH" in problem.remedy:
            self.excused.add((*path, meant))
        else:
            node.value[meant], node.key_lines[meant] = value, node.key_lines[name]


def without_value(root: Node, path: Path = ()) -> Iterator[Problem]:
    """Keys that are there without a value: probably forgotten, never a wish for the default."""
    if not isinstance(root.value, dict):
        return
    for name, node in root.value.items():
        place = (*path, name)
        if node.value is None and pattern(place) in KEYS:
            yield Problem(
                "empty", dotted(place), f"“{clipped(name)}” has no value", _example(place), root.key_lines[name]
            )
        elif len(place) < DEEPEST:
            yield from without_value(node, place)


def _problem(details: ErrorDetails, root: Node) -> Problem:
    path: Path = details["loc"]
    kind = details["type"]
    if path and path[-1] == "[key]":
        return _bad_name(path[:-1], root)
    line = root.line_of(path)
    context = details.get("ctx", {})
    if "remedy" in context:
        found = str(context["found"]).replace("{shown}", shown(details["input"]))
        return Problem(kind, dotted(path), found, str(context["remedy"]), line)
    return _of_kind(kind, path, line, details)


def _of_kind(kind: str, path: Path, line: int, details: ErrorDetails) -> Problem:
    if kind == "extra_forbidden":
        return _unknown_key(path, line)[0]
    if kind == "missing":
        return _missing(path, line)
    if kind in _WANTED:
        return _wrong_type(path, line, kind, details["input"])
    if kind == "literal_error":
        return _not_a_choice(path, line, str(details.get("ctx", {})["expected"]), details["input"])
    return _out_of_bounds(path, line, kind, details)


def _unknown_key(path: Path, line: int) -> tuple[Problem, str | None]:
    """The problem of a key that is not known at its place, and the known key that was meant."""
    name = str(path[-1])
    known = children(pattern(path[:-1]))
    files = [key for key in known if key.endswith("_file")]
    guess = nearest(name, known)
    last = last_word(name)
    if files and last in SECRET_WORDS and f"{name}s" not in known:
        guess = next((key for key in files if key.startswith(last)), files[0])
        remedy = f"{_IN_A_FILE} {guess}: PATH."
    elif "secret_files" in known and last in SECRET_WORDS:
        remedy = f"{_IN_A_FILE} secret_files: {{{clipped(name)}: PATH}}."
    elif guess is not None:
        remedy = f"Did you mean “{guess}”?"
    elif (place := elsewhere(name)) is not None:
        remedy = f"“{name}” belongs to {_readable(place.rpartition('.')[0])}."
    else:
        remedy = f"Known keys here: {', '.join(known)}." if known else "Remove it."
    return Problem("unknown-key", dotted(path), f"there is no key “{clipped(name)}” here", remedy, line), guess


def _readable(parent: str) -> str:
    if not parent:
        return "the outermost level"
    return f"“{parent.replace('*', 'NAME')}”"


def _missing(path: Path, line: int) -> Problem:
    key = KEYS[pattern(path)]
    return Problem("missing-key", dotted(path), f"“{path[-1]}” is missing ({key.meaning})", _example(path), line)


def _example(path: Path) -> str:
    key = KEYS.get(pattern(path))
    return f"Write it like this: {key.example}" if key else "Compare it with config.example.yaml."


def _wrong_type(path: Path, line: int, kind: str, value: object) -> Problem:
    where = dotted(path)
    if value is None:
        return Problem("empty", where, f"“{clipped(str(path[-1]))}” has no value", _example(path), line)
    found = f"found {kind_of(value)}, where {_WANTED[kind]} belongs"
    if kind == "string_type" and isinstance(value, (int, float)):
        return Problem("wrong-type", where, found, f'Put it in quotes: "{shown(value)}".', line)
    if kind.startswith("int") and isinstance(value, str) and value.isdecimal():
        return Problem("wrong-type", where, found, f"Leave the quotes out: {clipped(value)}.", line)
    return Problem("wrong-type", where, found, _example(path), line)


def _not_a_choice(path: Path, line: int, expected: str, value: object) -> Problem:
    choices = re.findall(r"'([^']*)'", expected)
    found = f"{shown(value)} is not one of the choices" if value is not None else f"“{path[-1]}” has no value"
    guess = nearest(value, choices) if isinstance(value, str) else None
    hint = f"Did you mean “{guess}”? " if guess else ""
    return Problem("not-a-choice", dotted(path), found, f"{hint}Choices: {', '.join(choices)}.", line)


def _out_of_bounds(path: Path, line: int, kind: str, details: ErrorDetails) -> Problem:
    where, value = dotted(path), details["input"]
    if path[-1] == "port":
        return Problem("port", where, f"{shown(value)} is not a port", "Ports go from 1 to 65535; 5347 is usual.", line)
    if path[-1] == "accounts":
        found = "there is no account" if kind == "too_short" else "there are too many accounts"
        return Problem("accounts", where, found, f"{_example(path)} (from 1 to 1024 accounts)", line)
    if path[-1] == "device":
        return Problem("device", where, f"{shown(value)} is not a device ID", _example(path), line)
    if path[-1] in _RANGES:
        remedy = f"Write a number from 1 to {_RANGES[str(path[-1])]}."
        return Problem("out-of-bounds", where, f"{shown(value)} cannot be used here", remedy, line)
    return Problem("out-of-bounds", where, f"{shown(value)} cannot be used here", _example(path), line)


def _bad_name(path: Path, root: Node) -> Problem:
    """A name of the operator's choice."""
    name, naming = str(path[-1]), _NAMINGS[str(path[-2])]
    found = f"{shown(name)} cannot be the name of {naming.what}"
    instead = "_" if naming is _SETTING else "-"
    lower = re.sub(naming.pattern, instead, name.lower()).strip("-._")[:48]
    if naming.rule != _NAMES:
        lower = lower.lstrip("-_0123456789")
    meant = f" “{lower}” would do." if lower else ""
    return Problem("name", dotted(path), found, f"{naming.rule}{meant}", root.line_of(path))
