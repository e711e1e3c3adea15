"""Where the adapters' halves are found: names only, nothing is imported until a half is asked for.

Both processes load halves by such names, `package.module:Class`, and by nothing else: those of the built-in adapters
are here, those of other packages stand in the configuration under `adapters`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

ENTRY = "adapter"
"""Setting of a network that is not built in: its outside half. No setting of its own may have this name."""


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


CONTROL_INSIDE = "adapters.control.inside:ControlInside"
"""The half of the gateway itself. It is in every enclave, and has no outside."""


class Unloadable(Exception):
    """A network's half cannot be had in this process. The reason names modules and types, never a setting."""

    def __init__(self, network: str, reason: str) -> None:
        super().__init__(f"the adapter for the network {network!r} cannot be loaded: {reason}")
        self.reason = reason


def half(network: str, path: str, make: Callable[[Any], Any]) -> Any:
    """What `make` makes of the class that is named as the network's half. Raises Unloadable."""
    module, _, name = path.partition(":")
    try:
        found = getattr(import_module(module), name, None)
        if found is None:
            reason = f"the module {module} has no {name}"
        elif getattr(found, "network", None) != network:
            reason = f"the `network` of {path} is another one"
        else:
            return make(found)
    except ModuleNotFoundError as error:
        reason = f"there is no module {error.name}"
    except Exception as error:  # the packages of others may raise anything
        reason = f"{path} raises {type(error).__name__}"
    # Raised out here: what was raised in there may hold a setting.
    raise Unloadable(network, reason)


def trouble(named: str, make: Callable[[Any], Any]) -> str | None:
    """Why the half that `NETWORK=MODULE:CLASS` names cannot be had in this process; None when it can."""
    network, _, path = named.partition("=")
    try:
        half(network, path, make)
    except Unloadable as error:
        return error.reason
    return None
