"""Fuzz target: stanzas and the content of stanzas."""

import sys

from crypto.xml import CLIENT, MalformedXml, parse, parse_content, serialize


def target(data: bytes) -> None:
    """Octets are refused, or read as an element that is written and read again as itself."""
    try:
        whole = parse(data)
        assert parse(serialize(whole), max_octets=16 * len(data) + 1000) == whole
    except MalformedXml:
        pass
    try:
        for part in parse_content(data):
            again = parse_content(serialize(part, inherited=CLIENT), max_octets=16 * len(data) + 1000)
            assert again == (part,)
    except MalformedXml:
        pass


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
