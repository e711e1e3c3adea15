"""What the XMPP servers of the rig have in common: one host, components, accounts."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from rig.certificates import make_certificates
from rig.services import Service, ServiceFailed, free_port

HOST = "xmpp.localhost"


@dataclass(frozen=True)
class Component:
    """An external component the server expects: its domain, the port it connects to, and its secret."""

    jid: str
    port: int
    secret: str = field(repr=False)
    host: str = "127.0.0.1"


@dataclass(frozen=True)
class XmppAccount:
    """An account with what a client needs to log in (STARTTLS, certificate signed by `authority`)."""

    jid: str
    password: str = field(repr=False)
    host: str
    port: int
    authority: Path


class XmppServer(Service):
    """One server with one host and a pool of components; `component()` hands out one not yet used."""

    title = "an XMPP server"

    def __init__(self, folder: Path, *, components: int = 1, host: str = HOST) -> None:
        super().__init__(folder)
        self.host = host
        self.c2s_port, self.component_port = free_port(), free_port()
        self.certificates = make_certificates(folder / "certificates", host)
        self.authority = self.certificates.authority
        self.pool = [
            Component(f"matrix{number or ''}.{host}", self.component_port, secrets.token_hex(16))
            for number in range(components)
        ]
        self._unused = list(self.pool)

    def component(self) -> Component:
        """A component domain nobody was given before."""
        if not self._unused:
            raise ServiceFailed(f"no component domain is left; start {self.name} with a larger pool")
        return self._unused.pop(0)

    def account(self, user: str, password: str | None = None) -> XmppAccount:
        """Create an account, running or not; at once usable."""
        password = password or secrets.token_hex(12)
        self._register(user, password)
        return XmppAccount(f"{user}@{self.host}", password, "127.0.0.1", self.c2s_port, self.authority)

    def _register(self, user: str, password: str) -> None:
        raise NotImplementedError
