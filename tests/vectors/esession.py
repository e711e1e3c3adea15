"""The ESession vectors as objects, for tests."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crypto.xml import Element, parse

FOLDER = Path(__file__).parent
DEPLOYED = sorted(p.stem for p in (FOLDER / "esession-deployed").glob("*.json"))
LETTER = sorted(p.stem for p in (FOLDER / "esession-letter").glob("*.json"))


@dataclass(frozen=True)
class Vector:
    """One transcript."""

    data: dict[str, Any]

    @property
    def values(self) -> dict[str, Any]:
        """The intermediate values."""
        found: dict[str, Any] = self.data["values"]
        return found

    def octets(self, name: str) -> bytes:
        """An intermediate value in hexadecimal, as octets; integers may have an odd number of digits."""
        return octets(self.values[name])

    def stanzas(self) -> list[dict[str, Any]]:
        """The deployed transcript, or the letter's stanzas."""
        found: list[dict[str, Any]] = self.data.get("transcript") or self.data["stanzas"]
        return found

    def form(self, number: int) -> Element:
        """The `<x/>` of one of the four negotiation messages."""
        if "forms" in self.data:
            name = ("request", "response", "completion", "init")[number]
            return parse(self.data["forms"][name].encode())
        wrapper = self.message(number).elements[0]
        return wrapper.elements[0]

    def message(self, number: int) -> Element:
        """A stanza of a deployed transcript."""
        return parse(self.stanzas()[number]["stanza"].encode())


def octets(digits: str) -> bytes:
    """Octets of hexadecimal digits, of which an integer may have an odd number."""
    return bytes.fromhex(digits.rjust(len(digits) + len(digits) % 2, "0"))


def deployed(name: str) -> Vector:
    """A transcript of the deployed implementation."""
    return Vector(json.loads((FOLDER / "esession-deployed" / f"{name}.json").read_text("utf-8")))


def letter(name: str) -> Vector:
    """A vector of the letter."""
    return Vector(json.loads((FOLDER / "esession-letter" / f"{name}.json").read_text("utf-8")))
