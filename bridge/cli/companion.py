"""`lockgate companion`: the proxy for an ordinary client, and what to enter there."""

from pathlib import Path

from bridge.cli import output
from companion.config import CompanionConfig, from_options, load_companion
from companion.serve import run
from companion.settings import Local


def companion(
    file: Path | None, jid: str | None, password_file: str | None, listen: str | None, folder: str | None
) -> int:
    """Run it; returns the exit status. Raises ConfigError, WorldError."""
    given = None if file is None else load_companion(file)
    config = given or from_options(jid or "", password_file or "", listen, folder)
    return run(config, lambda local: _told(config, local))


def _told(config: CompanionConfig, local: Local) -> None:
    """What the user has to click."""
    output.line(f"The companion of {config.jid} is ready. In your client, change this account's settings:")
    output.line(f"  server (host)      {local.host}")
    output.line(f"  port               {local.port} (STARTTLS)")
    if local.tls_port is not None:
        output.line(f"  or with direct TLS {local.tls_port}")
    output.line(f"  address            {config.jid}")
    if local.password_file is not None:
        output.line(f"  password           the one in {local.password_file}, not your server's")
    output.line(f"  certificate        SHA-256 {local.fingerprint}")
    output.line(f"                     SHA-1 {local.fingerprint_sha1}")
    output.line(f"                     compare and accept it once, or trust the file {local.certificate_file}")
    output.line("The client then shows a contact named Lockgate. Write to it: help")
