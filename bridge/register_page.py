"""The memory that enclaves keep their register in (crypto.enclave.register): it outlives each of them.

Two 64-bit numbers an account, at the account's slot. Here it is only made, handed on, and cleared.
"""

import fcntl
import mmap
import os
from typing import Final

from bridge.wire.control import MAX_ACCOUNTS

ROW_OCTETS: Final = 16
PAGE_OCTETS: Final = MAX_ACCOUNTS * ROW_OCTETS


class RegisterPage:
    """Anonymous memory with a descriptor. Its size is sealed: nobody can make a mapping of it fault."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("lockgate-register", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.descriptor, PAGE_OCTETS)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, seals)
        self._memory = mmap.mmap(self.descriptor, PAGE_OCTETS)

    def clear(self, slot: int) -> None:
        """Forget the numbers of a slot, because another account gets it."""
        self._memory[slot * ROW_OCTETS : (slot + 1) * ROW_OCTETS] = bytes(ROW_OCTETS)

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
        os.close(self.descriptor)
