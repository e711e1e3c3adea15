"""Adapters of other packages: can each process load its half?"""

import sys

from bridge.config.models import Config
from bridge.probe.hop import Hop, failed, ok
from bridge.probe.host import report_of
from bridge.spawn import ENCLAVE, GATEWAY


async def probe_adapters(config: Config) -> list[Hop]:
    """Every adapter that is named, each half tried by a process like the one that loads it."""
    return [await _probe(network, adapter.outside, adapter.inside) for network, adapter in config.adapters.items()]


async def _probe(network: str, outside: str, inside: str) -> Hop:
    name = f"adapter {network}"
    for side, role, path in (("outside", GATEWAY, outside), ("inside", ENCLAVE, inside)):
        report = await report_of(role, "--try-adapter", f"{network}={path}")
        trouble = "the process that tried it ended without a word" if report is None else report.get("trouble")
        if trouble is not None:
            remedy = f"Check adapters.{network}.{side}, and that its package is installed for {sys.executable}."
            return failed(name, f"the {side} half cannot be loaded: {trouble}", remedy)
    return ok(name, "both halves can be loaded; its connections are not tried")
