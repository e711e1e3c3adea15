"""The enclave process: `python -m crypto.enclave`, started by the supervisor with three descriptors.

Order: arguments, imports of the adapters' inside halves, register, lockdown, report, then the first read.
Exit status: 0 a channel ended, 3 the lockdown is not sufficient, 4 a channel was violated, 5 an adapter cannot be
loaded.
"""

import argparse
import gc
import json
import mmap
import os
import sys
import time
from collections.abc import Sequence

from adapters.inside_api import InsideHalf
from adapters.registry import Unloadable, half, trouble
from bridge.wire.control import Locked, Measure
from crypto.enclave import lockdown
from crypto.enclave.loop import Loop
from crypto.enclave.register import Register

EXIT_ADAPTER = 5


class SystemHost:
    """Time and randomness of the operating system."""

    def now_ms(self) -> int:
        """See crypto.host.Host."""
        return time.time_ns() // 1_000_000

    def draw(self, name: str, size: int) -> bytes:
        """See crypto.host.Host."""
        return os.urandom(size)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lockgate-enclave", description="Started by `lockgate run`.")
    parser.add_argument("--probe", action="store_true", help="print what the lockdown would achieve here, as JSON")
    parser.add_argument("--link-fd", type=int, default=-1)
    parser.add_argument("--control-fd", type=int, default=-1)
    parser.add_argument("--register-fd", type=int, default=-1)
    parser.add_argument("--lockdown", choices=("enforce", "best-effort"), default="enforce")
    parser.add_argument("--adapter", action="append", default=[], metavar="NETWORK=MODULE:CLASS")
    parser.add_argument("--try-adapter", metavar="NETWORK=MODULE:CLASS", help="tell as JSON whether it can be loaded")
    return parser.parse_args(argv)


def _probe() -> int:
    report = lockdown.probe()
    told = {
        "measures": [{"name": m.name, "achieved": m.achieved, "errno": m.errno} for m in report.measures],
        "sufficient": report.sufficient("enforce"),
        "missing": list(report.missing("enforce")),
    }
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


def _made(found: type[InsideHalf]) -> InsideHalf:
    return found()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the process; returns its exit status."""
    options = _arguments(argv)
    if options.probe:
        return _probe()
    if options.try_adapter:
        sys.stdout.write(json.dumps({"trouble": trouble(options.try_adapter, _made)}) + "\n")
        return 0
    halves: dict[str, InsideHalf] = {}
    try:
        for network, _, path in (adapter.partition("=") for adapter in options.adapter):
            halves[network] = half(network, path, _made)
    except Unloadable as error:
        sys.stderr.write(f"lockgate-enclave: {error}\n")
        return EXIT_ADAPTER
    register = Register(mmap.mmap(options.register_fd, 0))
    gc.collect()
    gc.freeze()
    report = lockdown.lock_down({options.link_fd, options.control_fd})
    sufficient = report.sufficient(options.lockdown)
    loop = Loop(options.link_fd, options.control_fd, register, halves, SystemHost())
    measures = tuple(Measure(name=m.name, achieved=m.achieved, errno=m.errno) for m in report.measures)
    loop.say(Locked(measures=measures, sufficient=sufficient))
    return loop.serve() if sufficient else 3


if __name__ == "__main__":
    sys.exit(main())
