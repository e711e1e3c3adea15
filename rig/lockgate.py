"""Lockgate itself as a server of the rig: its configuration, its processes, its status."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from rig.services import ROOT, Service, ServiceFailed, quiet_environment
from rig.synapse import MatrixAccount
from rig.xmpp import Component, XmppAccount

SCRIPT = Path(sys.executable).parent / "lockgate"
_MODULES = {"gateway": "bridge.gateway", "enclave": "crypto.enclave"}


@dataclass(frozen=True)
class Tenant:
    """One account of the configuration: the XMPP user, their own Matrix user, and the contacts (name -> MXID)."""

    name: str
    xmpp: XmppAccount
    matrix: MatrixAccount
    contacts: Mapping[str, str]
    require: str = "end-to-end"
    esession: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the sessions with the XMPP user."""
    content: Mapping[str, Any] = field(default_factory=dict)
    """What may pass beside text."""
    omemo: Mapping[str, Any] = field(default_factory=dict)
    """Settings of OMEMO with the XMPP user's clients."""
    ghost: bool = False
    """Whether the Matrix user is one of the application service's."""


@dataclass(frozen=True)
class Ended:
    """How a command of Lockgate ended."""

    status: int
    output: str = field(repr=False)


class Lockgate(Service):
    """`lockgate run` with a configuration of its own, written by `configure`."""

    name = "lockgate"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = folder / "config.yaml"
        self.ledger = folder / "ledger.db"
        self.socket = folder / "admin.sock"

    # ------------------------------------------------------------ configuration
    def secret(self, name: str, value: str) -> str:
        """Write a secret into a file that only we can read; returns its path relative to the configuration."""
        path = self.folder / "secrets" / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(value + "\n")
        return f"secrets/{name}"

    def configure(
        self,
        component: Component,
        homeserver: str,
        tenants: Iterable[Tenant],
        appservice: Mapping[str, Any] | None = None,
    ) -> None:
        """Write config.yaml and the secrets it names; makes the sealing key unless there is one."""
        sealing = self.folder / "secrets" / "sealing"
        sealing.parent.mkdir(mode=0o700, exist_ok=True)
        if not sealing.exists():
            subprocess.run([SCRIPT, "keygen", sealing], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        document = {
            "xmpp": {
                "component": {
                    "jid": component.jid,
                    "host": component.host,
                    "port": component.port,
                    "secret_file": self.secret("component", component.secret),
                }
            },
            "matrix": {"homeserver": homeserver, **({"appservice": appservice} if appservice else {})},
            "accounts": {tenant.name: self._account(tenant) for tenant in tenants},
            "sealing": {"key_file": "secrets/sealing"},
            "storage": {"url": f"sqlite:///{str(self.ledger).lstrip('/')}"},
            "log": {"level": "debug", "format": "json"},
        }
        self.config.write_text(_yaml(document))

    def _account(self, tenant: Tenant) -> dict[str, Any]:
        login: dict[str, Any] = {"appservice": True}
        if not tenant.ghost:
            login = {"password_file": self.secret(f"{tenant.name}-matrix", tenant.matrix.password)}
        return {
            "xmpp": tenant.xmpp.jid,
            **({"esession": tenant.esession} if tenant.esession else {}),
            **({"content": tenant.content} if tenant.content else {}),
            **({"omemo": tenant.omemo} if tenant.omemo else {}),
            "matrix": {"user": tenant.matrix.user_id, **login},
            "contacts": {
                name: {"address": address, "require": tenant.require} for name, address in tenant.contacts.items()
            },
        }

    # ------------------------------------------------------------ life
    def command(self) -> Sequence[str]:
        """`lockgate run` with our configuration."""
        return [str(SCRIPT), "run", "-c", str(self.config)]

    def ready(self) -> bool:
        """The supervisor answers on its admin socket, and its two children are there."""
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(self.socket)) != 0:
                return False
        return self.child("gateway") is not None and self.child("enclave") is not None

    def child(self, role: str) -> psutil.Process | None:
        """The gateway's or the enclave's process, None while there is none."""
        if not self.running:
            return None
        for process in self._descendants():
            try:
                if _MODULES[role] in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                    return process
            except psutil.NoSuchProcess:
                continue
        return None

    def _descendants(self) -> list[psutil.Process]:
        try:
            return list(psutil.Process(self.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            return []

    # ------------------------------------------------------------ its other commands
    def tell(self, *words: str, timeout_s: float = 60.0) -> Ended:
        """Run `lockgate WORDS -c config.yaml` to its end."""
        try:
            done = subprocess.run(
                [str(SCRIPT), *words, "-c", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**quiet_environment(), "COLUMNS": "160"},
                cwd=ROOT,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ServiceFailed(f"lockgate {' '.join(words)} did not end within {timeout_s:.0f} s") from None
        return Ended(done.returncode, done.stdout.decode("utf-8", "replace"))

    def legs(self) -> list[dict[str, Any]]:
        """What `lockgate status --json` says of the legs."""
        ended = self.tell("status", "--json")
        if ended.status != 0:
            raise ServiceFailed(f"lockgate status: {ended.output}")
        return list(json.loads(ended.output)["legs"])

    def leg(self, network: str) -> dict[str, Any]:
        """The only leg of that network."""
        (leg,) = [leg for leg in self.legs() if leg["network"] == network and leg["contact"] != "_gateway"]
        return leg


def _yaml(document: Mapping[str, Any], indent: str = "") -> str:
    """A nested mapping as YAML; scalars as JSON, which is YAML."""
    lines = []
    for key, value in document.items():
        if isinstance(value, Mapping):
            lines.append(f"{indent}{key}:\n{_yaml(value, indent + '  ')}")
        else:
            lines.append(f"{indent}{key}: {json.dumps(value, ensure_ascii=False)}\n")
    return "".join(lines)
