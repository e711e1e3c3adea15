"""How errors of the configuration name places and values."""

from collections.abc import Iterator
from difflib import get_close_matches

Path = tuple[str | int, ...]
"""A place in the document: keys and list positions from the root."""

SECRET_WORDS = ("password", "passwd", "secret", "token", "passphrase", "key")
"""Last words of keys whose values do not belong into the file."""


def last_word(name: str) -> str:
    """The last word of a key: `api-token` -> `token`."""
    return name.lower().replace("-", "_").rpartition("_")[2]


def dotted(path: Path | str) -> str:
    """A path for people: `accounts.alice.contacts.bob.address`."""
    return path if isinstance(path, str) else "".join(_steps(path)).removeprefix(".")


def _steps(path: Path) -> Iterator[str]:
    for step in path:
        yield f"[{step}]" if isinstance(step, int) else f".{clipped(step)}"


def clipped(text: str, limit: int = 60) -> str:
    """A text of the file for an error: short, and without characters that move the cursor."""
    safe = "".join(char if char.isprintable() else "?" for char in text)
    return safe if len(safe) <= limit else f"{safe[: limit - 1]}…"


def kind_of(value: object) -> str:
    """What sort of value it is, for people."""
    names = {type(None): "nothing", bool: "true or false", int: "a number", float: "a number", str: "text"}
    return names.get(type(value)) or ("a list" if isinstance(value, list) else "a group of keys")


def shown(value: object) -> str:
    """A value for an error message."""
    if isinstance(value, str):
        return f"“{clipped(value)}”"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return clipped(str(value))
    return kind_of(value)


def nearest(word: str, words: list[str]) -> str | None:
    """The known word that was probably meant."""
    found = get_close_matches(word.lower().replace("-", "_"), words, n=1, cutoff=0.6)
    return found[0] if found else None
