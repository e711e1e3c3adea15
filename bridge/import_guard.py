"""Keeps the inside out of an outside process: importing it fails, whoever tries."""

import re
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

_INSIDE: Final = re.compile(r"(crypto|vodozemac|gmpy2|doubleratchet|_?(lib)?xeddsa)(\.|$)|.*\.inside(_\w+)?(\.|$)")
"""Our `crypto` package, the libraries that only it uses, and every adapter's inside half."""


def is_inside(module: str) -> bool:
    """Whether a module of this name belongs into the enclave."""
    return _INSIDE.match(module) is not None


class InsideImport(ImportError):
    """An outside process tried to load what belongs into the enclave."""


class ImportGuard(MetaPathFinder):
    """Stands first in `sys.meta_path`, so that nothing can find what it refuses."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None for everything but the inside. Raises InsideImport."""
        if is_inside(fullname):
            raise InsideImport("this process may not load the inside", name=fullname)
        return None


def stand_guard() -> None:
    """Refuse the inside from now on. Raises InsideImport when some of it is loaded already."""
    if any(is_inside(name) for name in sys.modules):
        raise InsideImport("some of the inside is loaded already")
    sys.meta_path.insert(0, ImportGuard())
