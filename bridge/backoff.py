"""How long to wait before a process is started again."""

import signal
from dataclasses import dataclass
from typing import Final

FIRST_S: Final = 0.1
LONGEST_S: Final = 30.0
STABLE_S: Final = 60.0
_FROM_OUTSIDE: Final = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP})


def killed_from_outside(status: int) -> bool:
    """Whether the process ended by a signal that somebody sent it, rather than by a fault of its own.

    `status` is a return code of `subprocess.Popen`. The kernel's out-of-memory killer counts as somebody: the
    constant pause bounds what that costs.
    """
    return -status in _FROM_OUTSIDE


@dataclass
class Backoff:
    """Doubles the pause with every fault, up to half a minute; a stable minute, and it begins anew."""

    faults: int = 0

    def pause_s(self, lived_s: float, status: int) -> float:
        """Seconds to wait, after the process lived so long and ended with that status."""
        if lived_s >= STABLE_S:
            self.faults = 0
        if killed_from_outside(status):
            return FIRST_S
        self.faults += 1
        return min(FIRST_S * 2.0 ** min(self.faults - 1, 16), LONGEST_S)
