"""Fuzz target: whatever is said to be the address of a file, it is refused or can be fetched and opened."""

import contextlib
import sys

from crypto.files.addresses import NotAnAddress, is_fetchable, name_in, sealed_address, sole_address
from crypto.files.naming import file_name
from crypto.files.streams import opener


def target(data: bytes) -> None:
    """A body."""
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(NotAnAddress):
        found = sealed_address(text)
        assert is_fetchable(found.url)
        assert found.url.startswith("https://")
        assert not set('\r\n\t #<>"') & set(found.url)
        opener(found.lock).opened(b"x" * 40)
        assert sole_address(text) == found
        assert "/" not in file_name(name_in(found.url))
    sole_address(text)
    name_in(text)


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
