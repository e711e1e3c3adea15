"""What the companion is told, and what it tells its user."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """One account. `folder` keeps the local certificate and password; it is made, readable by its owner only."""

    jid: str
    """Bare JID of the account on the real server."""
    password: str = field(repr=False)
    folder: Path
    port: int = 5222
    """Local port for STARTTLS; 0: any free one. Always on 127.0.0.1."""
    tls_port: int | None = None
    """Local port for direct TLS; None: none."""
    host: str | None = None
    """The real server's host when DNS should not be asked for it."""
    server_port: int | None = None
    direct_tls: bool = False
    """With `host`: TLS from the first octet."""
    ca_file: Path | None = None
    """PEM certificates of issuers to trust instead of the system's."""
    fingerprint: str | None = None
    """SHA-256 of the server's certificate, in hexadecimal; when given, it alone decides."""
    allow_plain: bool = False
    """Whether the password itself may be sent (inside TLS) to a server that does not offer SCRAM."""
    local_password: str | None = field(default=None, repr=False)
    """What the client logs in with; None: made at the first start and kept in `folder`/password."""
    resume_s: float = 300.0
    """How long a client that lost its connection may come back to its session."""

    @property
    def user(self) -> str:
        """The local part of the account's JID."""
        return self.jid.partition("@")[0]

    @property
    def domain(self) -> str:
        """The domain of the account's JID."""
        return self.jid.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class Local:
    """What to enter in the client, besides the account's own JID."""

    host: str
    port: int
    tls_port: int | None
    password_file: Path | None
    """None when the password was given."""
    certificate_file: Path
    fingerprint: str
    """SHA-256 of the local certificate: lower-case hexadecimal, octets separated by colons."""
    fingerprint_sha1: str
    """The same with SHA-1, which is what some clients show (Profanity): hexadecimal digits alone."""
