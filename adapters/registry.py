"""Where the built-in adapters' halves are found: names only, nothing is imported here.

Both processes load halves by these names. A third-party adapter is installed as a package and named in the
configuration in the same form, `package.module:Class`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class Halves:
    """Import paths of both halves, `module:Class`."""

    outside: str
    inside: str


BUILTIN: Mapping[str, Halves] = MappingProxyType(
    {
        "xmpp": Halves("adapters.xmpp.outside:XmppOutside", "adapters.xmpp.inside:XmppInside"),
        "matrix": Halves("adapters.matrix.outside:MatrixOutside", "adapters.matrix.inside:MatrixInside"),
        "loopback": Halves("adapters.loopback.outside:LoopbackOutside", "adapters.loopback.inside:LoopbackInside"),
    }
)


def load(path: str) -> Any:
    """The class that `module:Class` names. Raises ImportError or AttributeError when there is none."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
