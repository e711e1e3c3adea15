"""`make bench`: all measurements, as a table and as JSON (`--json FILE`)."""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import enclave_alone, negotiations, omemo
from tests.bench.enclave_process import EnclaveProcess
from tests.bench.whole_path import WholePath

TARGETS = {
    "enclave alone, to Matrix: messages per CPU second": "at least 2000",
    "enclave alone, to XMPP: messages per CPU second": "at least 2000",
    "whole path, to Matrix: messages per second": "at least 500",
    "whole path, to XMPP: messages per second": "at least 500",
    "whole path, to Matrix: CPU ms per message, all processes": "at most 1.5",
    "whole path, to XMPP: CPU ms per message, all processes": "at most 1.5",
    "negotiation: times the cost of its exponentiations": "at most 3",
    "memory: KiB per idle session, 2 to 100": "at most 64",
    "memory: KiB per idle session, 2 to 1000": "at most 64",
    "idle: percent of one CPU, all processes": "below 1",
    "idle: requests to the homeserver in an hour, for one account": "at most 120",
}


def enclave(messages: int, negotiations: int) -> dict[str, float]:
    """The enclave alone."""
    found: dict[str, float] = {}
    with EnclaveProcess([enclave_alone.account_map()]) as process:
        pump = enclave_alone.started(process)
        for direction, measure in (("Matrix", enclave_alone.to_matrix), ("XMPP", enclave_alone.to_xmpp)):
            measure(pump, messages // 10)
            rate = measure(pump, messages)
            found[f"enclave alone, to {direction}: messages per CPU second"] = rate.messages / rate.cpu_s
            found[f"enclave alone, to {direction}: messages per second"] = rate.messages / rate.wall_s
    told = enclave_alone.negotiation(negotiations)
    found["negotiation: CPU ms"] = told["cpu_ms"]
    found["negotiation: CPU ms of its exponentiations"] = told["raw_exponentiations_ms"]
    found["negotiation: times the cost of its exponentiations"] = told["ratio"]
    return found


def memory(sessions: int) -> dict[str, float]:
    """Memory of the enclave."""
    counts = tuple(count for count in (1, 100, 1000) if count <= sessions)
    told = enclave_alone.memory(counts)
    found = {f"memory: MiB with {count} sessions": told[f"octets_at_{count}"] / (1 << 20) for count in counts}
    for count in counts[1:]:
        found[f"memory: KiB per idle session, 2 to {count}"] = told[f"octets_per_session_at_{count}"] / 1024
    return found


async def whole_path(messages: int, idle_s: float) -> dict[str, float]:
    """Gateway, ledger and enclave."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="lockgate-bench-") as folder:
        path = WholePath(Path(folder) / "lockgate")
        try:
            await path.start()
            for direction, measure in (("Matrix", path.to_matrix), ("XMPP", path.to_xmpp)):
                await measure(messages // 10)
                rate = await measure(messages)
                found[f"whole path, to {direction}: messages per second"] = rate.messages / rate.wall_s
                found[f"whole path, to {direction}: CPU ms per message, all processes"] = (
                    1000 * rate.cpu_s / rate.messages
                )
            share, requests = await path.idle(idle_s)
            found["idle: percent of one CPU, all processes"] = 100 * share
            found["idle: requests to the homeserver in an hour, for one account"] = requests
        finally:
            await path.stop()
    return found


def show(found: dict[str, float]) -> None:
    """The table."""
    table = Table(
        title=f"Lockgate, bodies of 200 characters, Python {platform.python_version()}, {os.cpu_count()} CPUs"
    )
    table.add_column("measure")
    table.add_column("measured", justify="right")
    table.add_column("target", justify="right")
    for name, value in found.items():
        table.add_row(name, f"{value:,.2f}" if value < 100 else f"{value:,.0f}", TARGETS.get(name, ""))
    Console(width=120).print(table)


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(prog="tests.bench")
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--negotiations", type=int, default=50)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--idle", type=float, default=10.0)
    options = parser.parse_args()
    found: dict[str, float] = {}
    print("bench: the enclave alone", file=sys.stderr)
    found |= enclave(options.messages, options.negotiations)
    print("bench: negotiations, group by group", file=sys.stderr)
    found |= negotiations.measured(options.negotiations)
    print("bench: OMEMO", file=sys.stderr)
    found |= omemo.measured(max(1, options.messages // 10))
    print("bench: gateway, ledger and enclave", file=sys.stderr)
    found |= asyncio.run(whole_path(options.messages, options.idle))
    print("bench: memory by session", file=sys.stderr)
    found |= memory(options.sessions)
    show(found)
    told = json.dumps(found, indent=1)
    if options.json:
        options.json.write_text(told + "\n")
    else:
        print(told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
