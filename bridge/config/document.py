"""One YAML document as plain values whose lines are known.

A small subset on purpose: mappings with text keys, sequences, scalars of the core schema (YAML 1.2), anchors and
aliases within limits. Tags and merge keys are refused. Nothing here recurses over the input's depth.
"""

import re
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from bridge.config.syntax import decoded, syntax_problem
from bridge.config.wording import Path, clipped, dotted, kind_of, shown
from bridge.errors import Problem

MAX_DEPTH = 32
MAX_ALIASED_NODES = 10_000
"""How many values aliases may stand for, all together: more is a decompression bomb, not a configuration."""

Scalar = str | int | float | bool | None

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_MAX_NUMBER = 40
"""Digits after which a plain scalar is a text: Python refuses to convert very long ones."""


@dataclass(slots=True)
class Node:
    """A value with the line (from 1) it begins on. `key_lines` holds the lines of a mapping's keys."""

    value: "Scalar | dict[str, Node] | list[Node]" = field(repr=False)
    line: int
    key_lines: dict[str, int] = field(default_factory=dict, repr=False)
    size: int = 1

    def plain(self) -> object:
        """The value without lines, as `dict`, `list` and scalars."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def line_of(self, path: Path) -> int:
        """The line of the entry at `path`, or of its nearest ancestor that exists."""
        node, line = self, self.line
        for step in path:
            if isinstance(node.value, dict) and isinstance(step, str) and step in node.value:
                line, node = node.key_lines[step], node.value[step]
            elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = node.line
            else:
                break
        return line


@dataclass
class _Open:
    """A collection whose end has not been read."""

    node: Node
    anchor: str | None
    path: Path
    key: str | None = None
    key_line: int = 0
    skip: bool = False
    """The value that comes next belongs to a key that was refused."""


@dataclass
class _Builder:
    """Builds nodes from parser events, noting problems on the way."""

    problems: list[Problem]
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, Node] = field(default_factory=dict)
    aliased: int = 0
    root: Node | None = None

    def take(self, event: Event) -> bool:
        """Take one event; False when reading must stop."""
        line = event.start_mark.line + 1
        if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            return self._open(event, line)
        if isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            done = self.stack.pop()
            if done.anchor:
                self.anchors[done.anchor] = done.node
            self._attach(done.node)
        elif isinstance(event, AliasEvent):
            return self._alias(event.anchor, line)
        elif isinstance(event, ScalarEvent):
            self._scalar(event, line)
        return True

    def note(self, code: str, path: Path, line: int, found: str, remedy: str) -> None:
        self.problems.append(Problem(code, dotted(path), found, remedy, line))

    def _open(self, event: MappingStartEvent | SequenceStartEvent, line: int) -> bool:
        self._refuse_tag(event, line)
        if len(self.stack) >= MAX_DEPTH:
            self.note("too-deep", self._path()[:4], line, "values are nested too deeply", "Write the file flatter.")
            return False
        value: dict[str, Node] | list[Node] = {} if isinstance(event, MappingStartEvent) else []
        path = self._path()
        if self._awaits_key():
            self.note("key-not-text", path, line, "a key is a collection", "Keys are plain words.")
            return False
        self.stack.append(_Open(Node(value, line), event.anchor, path))
        return True

    def _scalar(self, event: ScalarEvent, line: int) -> None:
        self._refuse_tag(event, line)
        text = event.value
        if any("\ud800" <= char <= "\udfff" for char in text):
            remedy = "Write the character itself."
            self.note("surrogate", self._path(), line, "there is a “\\u” escape that is half a character", remedy)
            text = "".join("?" if "\ud800" <= char <= "\udfff" else char for char in text)
        value: Scalar = resolved(text) if event.implicit[0] else text
        if self._awaits_key():
            self._key(text, value, line)
            return
        node = Node(value, line)
        if event.anchor:
            self.anchors[event.anchor] = node
        self._attach(node)

    def _alias(self, anchor: str, line: int) -> bool:
        node = self.anchors.get(anchor)
        if node is None:
            found = f"the alias *{anchor} names no anchor above it"
            self.note("unknown-alias", self._path(), line, found, f"Mark the value meant with &{anchor} first.")
            node = Node(None, line)
        self.aliased += node.size
        if self.aliased > MAX_ALIASED_NODES:
            self.note("too-many-aliases", (), line, "aliases stand for too many values", "Write the values out.")
            return False
        if self._awaits_key():
            self.note("key-not-text", self._path(), line, "a key is an alias", "Write the key out.")
            return False
        self._attach(node)
        return True

    def _key(self, written: str, value: Scalar, line: int) -> None:
        top = self.stack[-1]
        top.key, top.key_line, top.skip = written, line, True
        assert isinstance(top.node.value, dict)
        if written == "<<":
            self.note("merge-key", top.path, line, "“<<” (a merge key) is not supported", "Write the keys out.")
        elif not isinstance(value, str):
            found = f"the key {shown(value)} is {kind_of(value)}, not text"
            self.note("key-not-text", top.path, line, found, f'Put it in quotes: "{written}".')
        elif written in top.node.value:
            first = top.node.key_lines[written]
            found = f"the key “{clipped(written)}” is there twice, first on line {first}"
            self.note("duplicate-key", (*top.path, written), line, found, "Keep one of the two.")
        else:
            top.skip = False

    def _attach(self, node: Node) -> None:
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        top.node.size += node.size
        if isinstance(top.node.value, list):
            top.node.value.append(node)
            return
        assert isinstance(top.node.value, dict)
        assert top.key is not None
        if not top.skip:
            top.node.value[top.key] = node
            top.node.key_lines[top.key] = top.key_line
        top.key = None

    def _awaits_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].node.value, dict) and self.stack[-1].key is None

    def _path(self) -> Path:
        if not self.stack:
            return ()
        top = self.stack[-1]
        if isinstance(top.node.value, list):
            return (*top.path, len(top.node.value))
        return top.path if top.key is None else (*top.path, top.key)

    def _refuse_tag(self, event: Event, line: int) -> None:
        if getattr(event, "tag", None) is not None:
            self.note("tag", self._path(), line, "a YAML tag (“!…”) is not supported", "Leave the tag out.")


def read_document(octets: bytes) -> tuple[Node | None, list[Problem]]:
    """The document's root mapping, None when it cannot be used at all, and the problems of its YAML."""
    problems: list[Problem] = []
    text = decoded(octets, problems)
    if text is None:
        return None, problems
    builder = _Builder(problems)
    documents = 0
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            documents += isinstance(event, DocumentStartEvent)
            if documents > 1:
                remedy = "Remove the line “---” and put everything into one document."
                builder.note("two-documents", (), event.start_mark.line + 1, "the file holds two documents", remedy)
                break
            if not builder.take(event):
                return None, problems
    except MarkedYAMLError as error:
        problems.append(syntax_problem(error, text))
        return None, problems
    except (YAMLError, ValueError, RecursionError, IndexError, AttributeError, KeyError):
        # The last ones: ruamel's scanner leaks them for some malformed directives and escapes.
        problems.append(Problem("syntax", "", "the file is not valid YAML", "Compare it with config.example.yaml."))
        return None, problems
    return _root_mapping(builder, problems)


def _root_mapping(builder: _Builder, problems: list[Problem]) -> tuple[Node | None, list[Problem]]:
    root = builder.root
    if root is None or root.value is None:
        problems.append(Problem("empty", "", "the file is empty", "Begin with a copy of config.example.yaml."))
        return None, problems
    if not isinstance(root.value, dict):
        found = "the file does not hold “key: value” pairs"
        problems.append(Problem("not-a-mapping", "", found, "Begin with a copy of config.example.yaml.", root.line))
        return None, problems
    return root, problems


def resolved(text: str) -> Scalar:
    """A plain scalar's value by the core schema of YAML 1.2 (section 10.3.2), without infinities."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) <= _MAX_NUMBER:
        if _INT.fullmatch(text):
            return int(text, 10 if text.lstrip("+-").isdecimal() else 0)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text
