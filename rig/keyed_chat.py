"""`client.chat` with one addition for tests: the keys of its ESessions are written to the file in LOCKGATE_RIG_KEYS.

A test that claims that a key is nowhere has to know the key. The client itself has no such option.
"""

import os
import runpy
from pathlib import Path
from typing import Any

from crypto.esession import keys

_FILE = Path(os.environ["LOCKGATE_RIG_KEYS"])


def _record_keys() -> None:
    original = keys.DirectionKeys.__init__

    def recording(self: keys.DirectionKeys, *values: Any, **named: Any) -> None:
        original(self, *values, **named)
        with _FILE.open("a") as file:
            file.writelines(f"{key.hex()}\n" for key in (self.cipher, self.mac, self.sigma))

    keys.DirectionKeys.__init__ = recording  # type: ignore[method-assign]


if __name__ == "__main__":
    _record_keys()
    runpy.run_module("client.chat", run_name="__main__", alter_sys=True)
