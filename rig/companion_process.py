"""`lockgate companion` as a process with its own enclave, for one account."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from rig.lockgate import SCRIPT
from rig.services import Service, answers, free_port
from rig.xmpp import XmppAccount


class CompanionProcess(Service):
    """It keeps its folder: `start` again continues. `account` is what a client logs in with."""

    name = "companion"

    def __init__(self, folder: Path, account: XmppAccount, *, lockdown: str = "enforce") -> None:
        super().__init__(folder)
        self._real = account
        self.port = free_port()
        self.prefix: Sequence[str] = ()
        """What the command is run by, if not as it is."""
        self.place = folder / "kept"
        password = folder / "password"
        with os.fdopen(os.open(password, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(account.password + "\n")
        self._config = folder / "companion.yaml"
        server = {"host": account.host, "port": account.port, "ca_file": str(account.authority)}
        document = {
            "jid": account.jid,
            "password_file": str(password),
            "folder": str(self.place),
            "listen": f"127.0.0.1:{self.port}",
            "server": server,
            "lockdown": lockdown,
        }
        self._config.write_text(json.dumps(document))

    def command(self) -> Sequence[str]:
        """`lockgate companion`."""
        return [*self.prefix, str(SCRIPT), "companion", "-c", str(self._config)]

    def ready(self) -> bool:
        """It listens, and its enclave is there."""
        return answers(self.port) and self.enclave() is not None

    @property
    def account(self) -> XmppAccount:
        """The local login."""
        password = (self.place / "password").read_text().strip()
        return replace(
            self._real,
            password=password,
            host="127.0.0.1",
            port=self.port,
            authority=self.place / "certificate.crt",
        )

    def enclave(self) -> psutil.Process | None:
        """Its enclave's process, None while there is none."""
        try:
            children = psutil.Process(self.pid).children(recursive=True) if self.running else []
            found = [p for p in children if "crypto.enclave" in p.cmdline() and p.status() != psutil.STATUS_ZOMBIE]
        except psutil.NoSuchProcess:
            return None
        return found[0] if found else None
