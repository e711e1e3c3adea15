"""Fuzz target: the proxy's look at stanzas, its service discovery and its local contact take anything."""

import asyncio
import sys

from companion.caps import NS_CAPS, read_caps, read_info
from companion.disco import Disco
from companion.local_contact import LocalContact
from companion.peek import Unreadable, peek, written


def target(data: bytes) -> None:
    """Look at it, from both sides."""
    try:
        seen = peek(data)
    except Unreadable:
        return
    again = peek(written(seen.element).encode())
    assert (again.name, again.to, again.from_, again.id, again.type) == (
        seen.name,
        seen.to,
        seen.from_,
        seen.id,
        seen.type,
    )
    info = read_info(seen.element)
    assert read_info(peek(info.payload("n")).element).features == info.features
    read_caps(seen.child(NS_CAPS, "c"))
    asyncio.run(_both_sides(data))


async def _both_sides(data: bytes) -> None:
    seen = peek(data)
    disco, local = Disco(lambda _: None, lambda _: None), LocalContact()
    disco.begun("alice@example.org/desk")
    local.begun("alice@example.org/desk")
    for actions in (
        disco.from_client(seen, data),
        disco.from_server(seen, data),
        local.from_client(seen, data),
        local.from_server(seen),
    ):
        for action in actions or ():
            peek(action.octets)


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
