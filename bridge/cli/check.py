"""`lockgate check`: one line per hop, the broken one named with what to do."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bridge.cli import output
from bridge.cli.admin import ask
from bridge.config.load import Loaded, load
from bridge.errors import Failure
from bridge.probe.hop import Hop, State, ok
from bridge.probe.journey import probe_all

STYLES = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "bold red", State.SKIPPED: "dim"}
WIDTH = 18


def check(file: Path, *, as_json: bool) -> int:
    """Validate, then probe. Returns the exit status; raises `ConfigError` when the file cannot be used."""
    loaded = load(file)
    return asyncio.run(_probe(file, loaded, as_json))


async def _probe(file: Path, loaded: Loaded, as_json: bool) -> int:
    config = loaded.config
    hops = [
        ok("configuration", str(file)),
        ok("secrets", f"{loaded.secrets.files} files, readable by their owner only"),
        ok("sealing key", str(config.sealing.key_file)),
    ]
    if not as_json:
        for hop in hops:
            _show(hop)
    async for hop in probe_all(loaded, _status(config.admin_socket)):
        hops.append(hop)
        if not as_json:
            _show(hop)
    broken = [hop.name for hop in hops if hop.state is State.FAILED]
    if as_json:
        output.as_json([asdict(hop) for hop in hops])
    else:
        output.line(f"Broken: {', '.join(broken)}." if broken else "All hops work.")
    return 1 if broken else 0


def _status(socket: Path) -> dict[str, Any] | None:
    """What a gateway that runs with this configuration says; None when there is none."""
    try:
        return ask(socket, {"op": "status"})
    except Failure:
        return None


def _show(hop: Hop) -> None:
    name, found, remedy = output.safe(hop.name), output.safe(hop.found), output.safe(hop.remedy)
    if output.fancy():
        from rich.text import Text

        text = Text.assemble((f"{hop.state.value:8}", STYLES[hop.state]), (f" {name:{WIDTH}} ", "bold"), found)
        output.console().print(text, soft_wrap=True)
    else:
        output.line(f"{hop.state.value:8} {name:{WIDTH}} {found}")
    if remedy:
        output.line(f"{'':{WIDTH + 10}}→ {remedy}")
