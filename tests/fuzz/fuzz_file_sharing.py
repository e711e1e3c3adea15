"""Fuzz target: whatever an element for a shared file holds, it is refused or can be fetched and opened."""

import contextlib
import sys

from adapters.xmpp.inside_attachments import attachment_of
from crypto.errors import Malformed
from crypto.files.addresses import is_fetchable
from crypto.files.sharing import shared_file
from crypto.files.streams import opener
from crypto.xml import MalformedXml, parse


def target(data: bytes) -> None:
    """A body, a zero octet, and an element beside it."""
    body, _, xml = data.partition(b"\0")
    try:
        element = parse(xml)
    except MalformedXml:
        return
    with contextlib.suppress(Malformed):
        shared = shared_file(element)
        assert is_fetchable(shared.url)
        opener(shared.lock).opened(b"x" * 40)
    found = attachment_of(body.decode("utf-8", "replace"), (element,))
    if found is not None:
        assert is_fetchable(found.url)
        assert "/" not in found.attachment.name
        assert found.attachment.size >= 0
        opener(found.lock)


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
