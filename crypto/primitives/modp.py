"""The MODP groups of RFC 2409 and RFC 3526 by number.

Groups 1 and 2 (768 and 1024 bits) are not here on purpose: no configuration can enable them.
"""

from collections.abc import Mapping
from types import MappingProxyType

from crypto.primitives import registry
from crypto.primitives.fields import (
    EXPONENT_DRAW,
    Group,
    Modp,
    member,
    power,
    public_value,
    secret_exponent,
    shared_value,
)
from crypto.primitives.kinds import NotAMember

__all__ = [
    "EXPONENT_DRAW",
    "GROUPS",
    "Group",
    "NotAMember",
    "member",
    "power",
    "public_value",
    "secret_exponent",
    "shared_value",
]

_FIELDS = {a.group.number: a.group for a in registry.GROUPS.values() if isinstance(a, Modp)}
GROUPS: Mapping[int, Group] = MappingProxyType(dict(sorted(_FIELDS.items())))
