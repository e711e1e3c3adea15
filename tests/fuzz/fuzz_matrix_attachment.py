"""Fuzz target: whatever an event says of its file, it is refused, put in words, or can be fetched and opened."""

import contextlib
import sys

from adapters.matrix.inside_attachments import with_file
from crypto.errors import InsideError
from crypto.files.attachment import encrypted_file_in, is_mxc
from crypto.files.streams import opener
from crypto.message import Message
from crypto.olm.errors import OlmError


def target(data: bytes) -> None:
    """The content of an event; once more as the description of a file."""
    with contextlib.suppress(InsideError, OlmError):
        found = encrypted_file_in(data)
        assert is_mxc(found.url)
        opener(found.lock).opened(b"x")
    for kind in ("m.room.message", "m.sticker"):
        with contextlib.suppress(InsideError, OlmError):
            message = with_file(kind, data, Message("$e", ""))
            if isinstance(message, Message):
                assert message.attachment is not None
                assert "/" not in message.attachment.name
                assert message.attachment.size >= 0


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
