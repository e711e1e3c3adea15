"""Which values of a session's record are secret: what a scan of memory, or a walk over a later record, looks for."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from crypto.esession.rekeying_state import Rekeying
from crypto.esession.session import ReceivingDirection, SendingDirection

SECRETS = {
    SendingDirection: ("cipher_key", "mac_key"),
    ReceivingDirection: ("cipher_key", "mac_key"),
    Rekeying: ("secret", "mixed"),
}
"""The fields of the parts that every session has; the sets of `Rekeying.newer` and the MAC keys that wait are more."""


def octets_of(record: object, path: str = "") -> Iterator[tuple[str, bytes]]:
    """Every octet string that can be reached from a record, with the path to it."""
    if isinstance(record, bytes):
        yield path, record
    elif isinstance(record, (tuple, list, set, frozenset)):
        for number, each in enumerate(record):
            yield from octets_of(each, f"{path}[{number}]")
    elif is_dataclass(record) and not isinstance(record, type):
        for field in fields(record):
            yield from octets_of(getattr(record, field.name), f"{path}.{field.name}")


def secret_values(record: object, path: str = "") -> dict[str, bytes]:
    """The secret octet strings of a record, by the path to each: those in fields that are kept out of `repr`."""
    found: dict[str, bytes] = {}
    if isinstance(record, (tuple, list)):
        for number, each in enumerate(record):
            found |= secret_values(each, f"{path}[{number}]")
    elif is_dataclass(record) and not isinstance(record, type):
        for field in fields(record):
            value, where = getattr(record, field.name), f"{path}.{field.name}"
            if field.repr:
                found |= secret_values(value, where)
            else:
                found |= {at: octets for at, octets in octets_of(value, where) if octets}
    return found


def holders(record: object, values: dict[str, bytes]) -> set[str]:
    """The names of those values that can be found anywhere in a record, also as a part of something longer."""
    whole = [octets for _, octets in octets_of(record)]
    return {name for name, value in values.items() if any(value in octets for octets in whole)}
