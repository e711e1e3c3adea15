"""What is wrong with a file before it has any structure: its octets, its YAML."""

from ruamel.yaml.error import MarkedYAMLError

from bridge.errors import Problem

MAX_OCTETS = 16 << 20


def decoded(octets: bytes, problems: list[Problem]) -> str | None:
    """The text of a file; None when it is none, with the problem noted."""
    if len(octets) > MAX_OCTETS:
        found = f"the file has more than {MAX_OCTETS >> 20} MiB"
        problems.append(Problem("too-large", "", found, "Check that it is the right file."))
        return None
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        problems.append(Problem("not-utf-8", "", "the file is not UTF-8 text", "Save it as UTF-8.", line))
        return None
    for number, content in enumerate(text.split("\n"), 1):
        if any(ord(char) < 0x20 and char not in "\t\r" for char in content):
            problems.append(Problem("control", "", "there is a control character", "Remove it.", number))
            return None
    return text


def syntax_problem(error: MarkedYAMLError, text: str) -> Problem:
    """What the YAML parser tripped over, and on which line, for people."""
    mark = error.problem_mark or error.context_mark
    number = mark.line if mark else 0
    lines = text.split("\n")
    content = lines[number] if number < len(lines) else ""
    at = content[mark.column : mark.column + 1] if mark else ""
    indent = content[: len(content) - len(content.lstrip())]
    what = str(error.problem or "")
    if "\t" in indent or at == "\t":
        return Problem("tab", "", "there is a tab in the indentation", "Indent with spaces only.", number + 1)
    if at and at in "@`%" and "cannot start any token" in what:
        found = f"a value begins with “{at}”, which YAML does not allow without quotes"
        return Problem("unquoted", "", found, 'Put it in quotes, for example "@bob:matrix.org".', number + 1)
    if "mapping values are not allowed" in what:
        remedy = "Check the indentation of this line and the one above, or put a value that contains “: ” in quotes."
        return Problem("syntax", "", "a “:” stands where none may be", remedy, number + 1)
    if "end of stream" in what or "<stream end>" in what:
        opened = (error.context_mark.line + 1) if error.context_mark else number + 1
        found = "a quote or bracket that is opened here is never closed"
        return Problem("syntax", "", found, "Close it.", opened)
    found = "the file is not valid YAML from here on"
    remedy = "Check the indentation: entries of one level begin in one column."
    return Problem("syntax", "", found, remedy, number + 1)
