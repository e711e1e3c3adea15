"""State objects <-> octets. Frozen dataclasses by msgpack; vodozemac's objects by their own encrypted export."""

from typing import Any, TypeVar

import msgspec

from crypto.olm import pickles

T = TypeVar("T")


class Undecodable(Exception):
    """A record that opened does not hold what its reader expects (its kind changed between versions)."""

    def __init__(self) -> None:
        super().__init__("a state record does not have the expected form")


def encoded(value: object, pickle_key: bytes) -> bytes:
    """The octets of a state object."""
    exported = pickles.encode(value, pickle_key)
    return msgspec.msgpack.encode(value) if exported is None else exported


def decoded(content: bytes, kind: type[T], pickle_key: bytes) -> T:
    """The state object of a kind in the octets. Raises Undecodable."""
    found: Any = None
    failed = False
    try:
        if pickles.handles(kind):
            found = pickles.decode(content, kind, pickle_key)
        else:
            found = msgspec.msgpack.decode(content, type=kind)
    except (msgspec.DecodeError, ValueError):
        failed = True
    if failed or not isinstance(found, kind):
        raise Undecodable
    return found
