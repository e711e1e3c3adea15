"""The register: a memory page shared with the supervisor, one row per account.

It survives the enclave and is out of the gateway's reach. `emitted` is the number of the last step whose effects
may have left the enclave; `committed` the last that the gateway says the ledger holds. A restarted enclave
compares them with the state it is handed: older than committed means rolled back (refused); older than emitted
means that keys of sending ratchets may have been used already (they are retired).
"""

import struct
from mmap import mmap

_ROW = struct.Struct("<QQ")
ROW_SIZE = _ROW.size


def register_size(accounts: int) -> int:
    """Octets needed for so many rows, in whole pages."""
    return max(1, -(-accounts * ROW_SIZE // 4096)) * 4096


class Register:
    """The rows."""

    def __init__(self, memory: bytearray | mmap) -> None:
        self._memory = memory

    def emitted(self, slot: int) -> int:
        """Number of the last step whose effects may have left."""
        return int(_ROW.unpack_from(self._memory, slot * ROW_SIZE)[0])

    def committed(self, slot: int) -> int:
        """Number of the last step said to be committed."""
        return int(_ROW.unpack_from(self._memory, slot * ROW_SIZE)[1])

    def emit(self, slot: int, step: int) -> None:
        """The effects of this step may leave from now on."""
        _ROW.pack_into(self._memory, slot * ROW_SIZE, max(step, self.emitted(slot)), self.committed(slot))

    def commit(self, slot: int, step: int) -> None:
        """The gateway says so. More than was emitted is not believed."""
        told = min(step, self.emitted(slot))
        _ROW.pack_into(self._memory, slot * ROW_SIZE, self.emitted(slot), max(told, self.committed(slot)))
