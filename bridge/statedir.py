"""The folders a supervisor works in, and the lock that keeps a second one out."""

import fcntl
import os
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from bridge.config.models import Config
from bridge.errors import Problem, WorldError

LOCK: Final = "supervisor.lock"
WAIT_S: Final = 2.0
"""How long a supervisor that is just ending is waited for."""


class StateDir:
    """Makes the folders of the admin socket and the ledger, and holds the lock until closed."""

    def __init__(self, config: Config) -> None:
        """Raises WorldError when the folders cannot be used, or another supervisor holds them."""
        self._folder = config.runtime_dir
        trouble = None
        try:
            for folder in (self._folder, config.storage.path.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            trouble = os.strerror(error.errno or 0)
        if trouble is not None:
            remedy = "Make it writable for the user that Lockgate runs as, or name another with state_dir."
            raise WorldError(Problem("state-dir", str(self._folder), f"cannot be used ({trouble})", remedy))
        self._acquire()

    def close(self) -> None:
        """Let another one in."""
        os.close(self._lock)

    def _acquire(self) -> None:
        until = monotonic() + WAIT_S
        while not self._locked():
            if monotonic() >= until:
                os.close(self._lock)
                found = "another Lockgate is running with this folder"
                remedy = "Stop it first, or give each its own configuration, state_dir and ledger."
                raise WorldError(Problem("already-running", str(Path(self._folder)), found, remedy))
            sleep(0.05)

    def _locked(self) -> bool:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
