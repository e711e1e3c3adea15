"""`client.chat` with one addition for tests: the keys of its ESessions are written to the file in LOCKGATE_RIG_KEYS.

A test that claims that a key is nowhere has to know the key. The client itself has no such option.
"""

import dataclasses
import os
import runpy
from pathlib import Path
from typing import Any

from crypto.esession import keys, rekeying

_FILE = Path(os.environ["LOCKGATE_RIG_KEYS"])


def _record_keys() -> None:
    for kind in (keys.DirectionKeys, rekeying.NewKeys):
        _record(kind)


def _record(kind: Any) -> None:
    original = kind.__init__

    def recording(self: Any, *values: Any, **named: Any) -> None:
        original(self, *values, **named)
        with _FILE.open("a") as file:
            file.writelines(f"{getattr(self, field.name).hex()}\n" for field in dataclasses.fields(self))

    kind.__init__ = recording


if __name__ == "__main__":
    _record_keys()
    runpy.run_module("client.chat", run_name="__main__", alter_sys=True)
