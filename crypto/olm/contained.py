"""Calls into vodozemac on hostile input.

It refuses input by exceptions that are ValueErrors. Its Python binding also panics on some (0.10: an Ed25519 key of 33
octets), and a panic is no `Exception`: it would pass every handler and end the process. Inside `contained` both are
refusals. Nothing of either travels on; the caller raises its own error after the block.
"""

from types import TracebackType

_PANIC = ("pyo3_runtime", "PanicException")


class Contained:
    """Leaves the block quietly when vodozemac refused or panicked."""

    def __enter__(self) -> None:
        """Enter the block."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> bool:
        return kind is not None and (issubclass(kind, ValueError) or (kind.__module__, kind.__name__) == _PANIC)


def contained() -> Contained:
    """A block that refusals of vodozemac's leave quietly."""
    return Contained()
