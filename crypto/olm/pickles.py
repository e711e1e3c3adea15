"""How vodozemac's objects are written into a record and read back: one closed table.

A pickle is encrypted by vodozemac under the key that is given. Its form is vodozemac's own and can only become the
class it is read as: it runs no code.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar, cast

from vodozemac import Account, GroupSession, InboundGroupSession, Session

from crypto.olm.contained import contained

T = TypeVar("T")


class BadPickle(ValueError):
    """The octets are no pickle of that kind under that key."""

    def __init__(self) -> None:
        super().__init__("the octets are no pickle of that kind under that key")


class _Picklable(Protocol):
    def pickle(self, pickle_key: bytes) -> str: ...


KINDS: dict[type, Callable[[str, bytes], object]] = {
    Account: Account.from_pickle,
    Session: Session.from_pickle,
    GroupSession: GroupSession.from_pickle,
    InboundGroupSession: InboundGroupSession.from_pickle,
}


def handles(kind: type) -> bool:
    """Whether objects of this class are kept as pickles."""
    return kind in KINDS


def encode(value: object, key: bytes) -> bytes | None:
    """The value's pickle under the key (32 octets); None when it is none of vodozemac's objects."""
    if type(value) not in KINDS:
        return None
    return cast(_Picklable, value).pickle(key).encode("ascii")


def decode(data: bytes, kind: type[T], key: bytes) -> T:
    """The object of that kind. Raises BadPickle for a wrong key, a damaged pickle or an unknown kind."""
    load = KINDS.get(kind)
    if load is not None:
        with contained():
            return cast(T, load(data.decode("ascii"), key))
    raise BadPickle
