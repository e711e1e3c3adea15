"""What Alice and Bob say to each other: ten texts each way, with all that gets lost on bad bridges."""

from dataclasses import dataclass, field

_LONG = 20 * 1024


@dataclass(frozen=True)
class Line:
    """One message of the conversation. `id` is unique, `speaker` is `alice` or `bob`."""

    id: str
    speaker: str
    text: str = field(repr=False)


def _long(word: str) -> str:
    """A body of 20 KiB in UTF-8 that no compression of ours could shorten to a repeated line."""
    parts, size = [f"A long one, word {word}:"], 0
    number = 0
    while size < _LONG:
        number += 1
        parts.append(f"{number}. {number * number % 9973:x}-{'αβγдежкלמנ'[number % 10]}")
        size = len(" ".join(parts).encode())
    return " ".join(parts).encode()[:_LONG].decode("utf-8", "ignore")


def _texts(word: str, name: str, other: str) -> list[str]:
    return [
        f"Hello {other}, this is {name}. The word of the day is {word}.",
        f"Emoji: 🚢🔒 👩🏽‍🚀 🏳️‍🌈 🇺🇳 — {word}",
        f"מימין לשמאל: שלום {other}! مرحبا، كيف الحال؟ ({word})",
        f"Markup that is none: <b>&amp;</b> & < > \" ' ]]> <!-- {word} --> </body>",
        f"Several lines:\n  indented\n\n\ttabbed, {word}\nthe end",
        _long(word),
        f"Composed é, decomposed e\u0301, zero-width \u200d\u200b, {word}, ﷽, 𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
        f"  spaces before and after {word}  ",
        f"👍 {word}",
        f"日本語と中文和한국어, ελληνικά, русский. Goodbye {other}! {word}",
    ]


def conversation(word: str) -> tuple[list[Line], list[Line]]:
    """Alice's ten lines and Bob's ten, each holding the word."""
    alice = [Line(f"demo-alice-{n}", "alice", text) for n, text in enumerate(_texts(word, "Alice", "Bob"), 1)]
    bob = [Line(f"demo-bob-{n}", "bob", text) for n, text in enumerate(_texts(word, "Bob", "Alice"), 1)]
    return alice, bob
