"""What the enclave's functions are given from outside: the time, and named draws of randomness."""

from typing import Protocol


class Host(Protocol):
    """Supplies `now` and randomness, so that a run can be replayed, simulated and fuzzed."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""

    def draw(self, name: str, size: int) -> bytes:
        """`size` octets of randomness for the purpose `name`."""
