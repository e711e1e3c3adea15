"""Protocol buffers as far as OMEMO's messages have them: unsigned 32-bit numbers and octet strings."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from crypto.omemo.faults import Malformed

Value = int | bytes
_VARINT, _FIXED64, _OCTETS, _FIXED32 = 0, 1, 2, 5
_MOST_FIELDS = 16
_FIXED = MappingProxyType({_FIXED64: 8, _FIXED32: 4})


def written(fields: Sequence[tuple[int, Value]]) -> bytes:
    """The fields, in the order given."""
    parts = []
    for number, value in fields:
        if isinstance(value, int):
            parts += [_varint(number << 3 | _VARINT), _varint(value)]
        else:
            parts += [_varint(number << 3 | _OCTETS), _varint(len(value)), value]
    return b"".join(parts)


def _varint(value: int) -> bytes:
    octets = bytearray()
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def read(data: bytes, kinds: Mapping[int, type]) -> dict[int, Value]:
    """The fields named in `kinds`, each at most once; others are passed over. Raises Malformed."""
    found: dict[int, Value] = {}
    at = 0
    for _ in range(_MOST_FIELDS):
        if at == len(data):
            return found
        tag, at = _read_varint(data, at)
        value, at = _field(data, at, tag & 7)
        number = tag >> 3
        if number in kinds:
            if number in found or type(value) is not kinds[number]:
                raise Malformed
            found[number] = value
    if at == len(data):
        return found
    raise Malformed


def _field(data: bytes, at: int, form: int) -> tuple[Value, int]:
    if form == _VARINT:
        return _read_varint(data, at)
    if form == _OCTETS:
        size, at = _read_varint(data, at)
    elif form in _FIXED:
        size = _FIXED[form]
    else:
        raise Malformed
    if size > len(data) - at:
        raise Malformed
    return data[at : at + size], at + size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of at most 32 bits. Raises Malformed."""
    value = 0
    for place in range(5):
        if at >= len(data):
            break
        octet = data[at]
        at += 1
        value |= (octet & 0x7F) << 7 * place
        if octet < 0x80:
            if value >> 32:
                break
            return value, at
    raise Malformed


def number(fields: Mapping[int, Value], at: int) -> int:
    """A field that must be there. Raises Malformed."""
    value = fields.get(at)
    if not isinstance(value, int):
        raise Malformed
    return value


def octets(fields: Mapping[int, Value], at: int) -> bytes:
    """A field that must be there. Raises Malformed."""
    value = fields.get(at)
    if not isinstance(value, bytes):
        raise Malformed
    return value
