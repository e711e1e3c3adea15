"""Fuzz target: whatever the contact's end says beside a text, the client reads it or lets it be."""

import sys

from client.content import MAX_EMOJI, MAX_ID, MAX_REACTIONS
from client.recent import told
from client.stanzas import read_content
from crypto.xml import MalformedXml, parse_content


def target(data: bytes) -> None:
    """Read it as decrypted content."""
    try:
        content = read_content(parse_content(data))
    except MalformedXml:
        return
    said = content.said
    for id_ in (said.replaces, said.reply_to, said.reacts_to, said.retracts, said.displayed):
        assert id_ is None or 0 < len(id_) <= MAX_ID
    assert len(said.emojis) <= MAX_REACTIONS
    assert all(0 < len(e) <= MAX_EMOJI for e in said.emojis)
    assert len(told(said)) < 100


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
