"""Canonical JSON and signed JSON (Matrix appendices: Canonical JSON; Signing JSON), on hostile input."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import TypeVar, cast

import msgspec

from crypto.olm.errors import Malformed

T = TypeVar("T")
LARGEST_INTEGER = (1 << 53) - 1
DEPTH = 32
"""Deeper objects are refused: nothing that is signed or sealed here comes near it."""


def decoded(data: bytes | msgspec.Raw, kind: type[T]) -> T:
    """JSON text as `kind`. Raises Malformed; the error carries nothing of the text."""
    with suppress(ValueError, RecursionError):  # msgspec names what it found: that must not travel on
        return msgspec.json.decode(data, type=kind, strict=True)
    raise Malformed


def decoded_object(data: bytes | msgspec.Raw) -> dict[str, object]:
    """JSON text as an object of plain values."""
    return decoded(data, dict[str, object])


def canonical(value: object) -> bytes:
    """Canonical JSON of a value. Raises Malformed for what has none: floats, large integers, odd strings."""
    _require_canonical(value, DEPTH)
    with suppress(UnicodeEncodeError):  # lone surrogates
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
        return text.encode()
    raise Malformed


def signed_part(value: Mapping[str, object]) -> bytes:
    """What a signature of a JSON object covers: its canonical form without `signatures` and `unsigned`."""
    return canonical({name: item for name, item in value.items() if name not in ("signatures", "unsigned")})


def signature_of(value: Mapping[str, object], user_id: str, key_id: str) -> str:
    """The signature by that user's key of that id, unpadded base64. Raises Malformed when there is none."""
    by_user = value.get("signatures")
    by_key = by_user.get(user_id) if isinstance(by_user, dict) else None
    found = by_key.get(key_id) if isinstance(by_key, dict) else None
    if not isinstance(found, str):
        raise Malformed
    return found


def _require_canonical(value: object, depth: int) -> None:
    if depth == 0:
        raise Malformed
    if isinstance(value, dict):
        for name, item in cast(dict[object, object], value).items():
            if not isinstance(name, str):
                raise Malformed
            _require_canonical(item, depth - 1)
    elif isinstance(value, list):
        for item in cast(list[object], value):
            _require_canonical(item, depth - 1)
    elif isinstance(value, int):
        if not -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
            raise Malformed
    elif value is not None and not isinstance(value, str):
        raise Malformed
