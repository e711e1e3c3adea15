"""Names of the loopback network: one request, one arrival."""

from collections.abc import Mapping
from types import MappingProxyType

from bridge.wire.values import Address, RequestShape, Sealed

NETWORK = "loopback"
ECHO = "echo"
"""Request: hand these octets back."""
ECHOED = "echoed"
"""Arrival: what was handed back, as `address || 0 || octets`."""

REQUESTS: Mapping[str, RequestShape] = MappingProxyType({ECHO: RequestShape(required={"to": Address, "body": Sealed})})
