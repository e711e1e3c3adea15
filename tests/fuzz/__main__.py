"""Run one fuzz target with our own packages instrumented, so that the fuzzer sees which inputs reach something new.

python -m tests.fuzz NAME [libFuzzer's arguments]
"""

import importlib
import sys

import atheris

OURS = ["adapters", "bridge", "client", "companion", "crypto", "tests.fuzz"]

if __name__ == "__main__":
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=OURS, enable_loader_override=False):
        module = importlib.import_module(f"tests.fuzz.fuzz_{name}")
    atheris.Setup(sys.argv, module.target)
    atheris.Fuzz()
