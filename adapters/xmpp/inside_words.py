"""What is said in words where a client, or the far side, has no form for it. These sentences are content."""

CORRECTED = "* corrected: {}"
RETRACTED = "* took an earlier message back"
REACTED_TO_USER = "* reacted to your message: {}"
REACTED_TO_OWN = "* reacted to an earlier message of theirs: {}"
REACTED = "* reacted to an earlier message: {}"
UNREACTED = "* took a reaction back"
MOST_QUOTED = 300
"""Characters of a message that is quoted in an answer to it."""
QUOTED_LINES = 4


def reacted(emojis: tuple[str, ...], by_user: bool | None) -> str:
    """That somebody reacted. `by_user`: whose message it was, seen from the user: theirs, the contact's, not known."""
    if not emojis:
        return UNREACTED
    pattern = {True: REACTED_TO_USER, False: REACTED_TO_OWN, None: REACTED}[by_user]
    return pattern.format(" ".join(emojis))


def quotation(quoted: str) -> str:
    """The beginning of a message, as lines that quote it; empty when there is nothing to quote."""
    shortened = quoted.strip()[:MOST_QUOTED]
    lines = [line for line in shortened.split("\n") if line.strip()][:QUOTED_LINES]
    if lines and len("\n".join(lines)) < len(quoted.strip().replace("\n\n", "\n")):
        lines[-1] += " …"
    return "".join(f"> {line}\n" for line in lines)
