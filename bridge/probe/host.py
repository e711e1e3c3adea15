"""This machine: may the gateway write where it must, and can the enclave be locked down?"""

import asyncio
import json
import os
import pwd
from pathlib import Path
from typing import Any

from bridge.config.models import Config
from bridge.ledger.errors import LedgerError
from bridge.ledger.sqlite import Inspector
from bridge.probe.hop import Hop, failed, ok, skipped, warning
from bridge.spawn import ENCLAVE, command, environment

STATE, LEDGER, LOCKDOWN = "state folder", "ledger", "enclave lockdown"
PROBE_PATIENCE_S = 60.0

_REMEDIES = {
    "own-network": "Allow user namespaces (kernel.unprivileged_userns_clone=1; in a container: --security-opt).",
    "landlock": "Use a kernel with Landlock (5.13 or newer, `landlock` in its list of security modules).",
    "seccomp": "Use a kernel with seccomp filters; in a container, allow the seccomp system call.",
}


def probe_folder(config: Config) -> Hop:
    """The folder of the admin socket."""
    return _writable(STATE, config.runtime_dir)


def probe_ledger(config: Config) -> Hop:
    """The ledger's file, or the place where it will be made."""
    path = config.storage.path
    if not path.exists():
        place = _writable(LEDGER, path.parent)
        return ok(LEDGER, f"{path} will be made at the first start") if place.state == "ok" else place
    if not os.access(path, os.R_OK | os.W_OK):
        return failed(LEDGER, f"{path} may not be written by this user", "Give it to the user that runs Lockgate.")
    try:
        inspector = Inspector(path)
        depths = inspector.depths()
        inspector.close()
    except LedgerError as error:
        return failed(LEDGER, f"{path}: {error.sentence}", "Name another file in storage.url, or restore a backup.")
    waiting = depths.inbox + depths.outbox
    return ok(LEDGER, f"{path}, {waiting} waiting, {depths.parked} parked")


def _writable(name: str, folder: Path) -> Hop:
    """Whether the folder can be written, or made."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        return failed(name, f"{existing} is not a folder", "Name another place in the configuration.")
    if not os.access(existing, os.W_OK | os.X_OK):
        remedy = f"Make it as root: install -d -m 700 -o {_user()} {folder}"
        return failed(name, f"{existing} may not be written by this user", remedy)
    if existing != folder:
        return ok(name, f"{folder} will be made at the first start")
    if folder.stat().st_mode & 0o022:
        found = f"{folder} may be written by other users"
        return warning(name, found, f"Take it for Lockgate alone: chmod 700 {folder}")
    return ok(name, str(folder))


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


async def probe_lockdown(config: Config) -> Hop:
    """What the enclave's lockdown would reach here, tried by a process of its own."""
    report = await report_of(ENCLAVE, "--probe")
    if report is None:
        return failed(LOCKDOWN, "the enclave's probe did not run", "Run it by hand: python -m crypto.enclave --probe")
    measures = [m for m in report.get("measures", []) if isinstance(m, dict)]
    reached = sum(bool(m.get("achieved")) for m in measures)
    found = f"{reached} of {len(measures)} measures work here"
    missing = [str(name) for name in report.get("missing", [])]
    if not missing and report.get("sufficient"):
        spared = [str(m.get("name")) for m in measures if not m.get("achieved")]
        return ok(LOCKDOWN, f"{found}; not needed: {', '.join(spared)}" if spared else found)
    hints = [_REMEDIES[name] for name in missing if name in _REMEDIES]
    found = f"{found}; missing: {', '.join(missing)}"
    if config.enclave.lockdown == "best-effort":
        return warning(LOCKDOWN, found, " ".join([*hints, "The enclave starts all the same (best-effort)."]))
    return failed(LOCKDOWN, found, " ".join([*hints, "Or accept less: enclave: {lockdown: best-effort}."]))


async def report_of(role: str, *arguments: str) -> dict[str, Any] | None:
    """What a process of that role prints as JSON when it is started so; None when it does not."""
    process = await asyncio.create_subprocess_exec(
        *command(role, arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment(role, os.environ),
        cwd="/",
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), PROBE_PATIENCE_S)
        report = json.loads(output)
    except (TimeoutError, ValueError):
        report = None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return report if isinstance(report, dict) else None


def not_tried(reason: str) -> list[Hop]:
    """All hops of this machine, when the configuration cannot be used."""
    return [skipped(name, reason) for name in (STATE, LEDGER, LOCKDOWN)]
