"""Prosody from the Debian package, with its own configuration, data and certificates in a temporary folder."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from rig.services import ServiceFailed, answers, free_port
from rig.xmpp import HOST, Component, XmppAccount, XmppServer

__all__ = ["HOST", "Component", "Prosody", "XmppAccount"]

_MODULES = [
    "roster",
    "saslauth",
    "tls",
    "disco",
    "presence",
    "message",
    "iq",
    "ping",
    "pep",
    "private",
    "blocklist",
    "carbons",
    "smacks",
    "mam",
    "offline",
    "vcard4",
    "vcard_legacy",
    "csi_simple",
    "time",
    "version",
    "uptime",
    "user_account_management",
]

_CONFIG = """
run_as_root = true
daemonize = false
pidfile = "{folder}/prosody.pid"
data_path = "{folder}/data"
log = {{ {{ levels = {{ min = "{level}" }}, to = "file", filename = "{folder}/prosody-messages.log" }} }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {c2s} }}
c2s_direct_tls_ports = {{ }}
component_interfaces = {{ "127.0.0.1" }}
component_ports = {{ {component} }}
modules_enabled = {{ {modules} }}
modules_disabled = {{ "s2s", {disabled}"bosh", "admin_shell", "limits", "admin_telnet" }}
authentication = "internal_plain"
storage = "internal"
allow_registration = false
c2s_require_encryption = true
certificates = "{folder}/certificates"
component_conflict_resolve = "kick_old"
default_archive_policy = true
c2s_stanza_size_limit = 4194304
component_stanza_size_limit = 4194304
smacks_hibernation_time = 60

{http}
VirtualHost "{host}"
  ssl = {{ certificate = "{folder}/certificates/{host}.crt"; key = "{folder}/certificates/{host}.key" }}

"""


_HTTP = """
http_ports = {{ {http} }}
http_interfaces = {{ "127.0.0.1" }}
https_ports = {{ }}
http_external_url = "http://127.0.0.1:{http}/"
"""
_HTTPS = """
http_ports = {{ }}
https_ports = {{ {https} }}
https_interfaces = {{ "127.0.0.1" }}
https_certificate = {{
  certificate = "{folder}/certificates/{host}.crt"; key = "{folder}/certificates/{host}.key";
}}
http_external_url = "https://127.0.0.1:{https}/"
"""
_UPLOADS = """
Component "files.{host}" "http_file_share"
  http_host = "127.0.0.1"
  http_file_share_size_limit = {most}
  http_file_share_daily_quota = 10737418240
  http_file_share_access = {{ {access} }}

"""
_SERVICES = """
Component "files.{host}" "http_file_share"
  http_host = "127.0.0.1"
  http_file_share_size_limit = 1048576
Component "rooms.{host}" "muc"
  muc_room_default_public = true

"""


def _quoted(name: str) -> str:
    """A file name as Prosody's internal storage writes it: everything but ASCII letters and digits as %xx."""
    return "".join(chr(c) if chr(c).isascii() and chr(c).isalnum() else f"%{c:02x}" for c in name.encode())


class Prosody(XmppServer):
    """One Prosody; accounts are files that it reads when somebody logs in."""

    name = "prosody"
    title = "Prosody"

    def __init__(
        self,
        folder: Path,
        *,
        components: int = 1,
        host: str = HOST,
        level: str = "info",
        services: bool = False,
        uploads: int = 0,
        open_uploads: bool = True,
        offline: bool = True,
        archive: bool = True,
    ) -> None:
        """`services`: with file uploads at `files.HOST` and rooms at `rooms.HOST`.

        `uploads`: instead with file uploads over https, of at most so many octets, for users and components, as Prosody
        has it by itself; not `open_uploads`: the operator named the users' host, and so shut components out.

        Not `offline`: what comes while a user is away is in the archive and nowhere else. Not `archive`: without MAM.
        """
        super().__init__(folder, components=components, host=host)
        self.level = level
        self.http_port = free_port() if services else None
        self.https_port = free_port() if uploads else None
        self._uploads, self._open_uploads = uploads, open_uploads
        self._without = [name for name, there in (("offline", offline), ("mam", archive)) if not there]
        (folder / "data").mkdir(mode=0o700, exist_ok=True)
        self._write_config()

    def _write_config(self) -> None:
        http = () if self.http_port or self.https_port else ("http", "https")
        text = _CONFIG.format(
            folder=self.folder,
            level=self.level,
            c2s=self.c2s_port,
            component=self.component_port,
            modules=", ".join(f'"{name}"' for name in _MODULES if name not in self._without),
            host=self.host,
            disabled="".join(f'"{name}", ' for name in (*http, *self._without)),  # `offline` comes unless forbidden
            http=self._http(),
        )
        if self.https_port:
            access = "" if self._open_uploads else f'"{self.host}"'
            text += _UPLOADS.format(host=self.host, most=self._uploads, access=access)
        if self.http_port:
            text += _SERVICES.format(host=self.host)
        for component in self.pool:
            text += f'Component "{component.jid}"\n  component_secret = "{component.secret}"\n'
        path = self.folder / "prosody.cfg.lua"
        path.touch(0o600)
        path.write_text(text)

    def _http(self) -> str:
        if self.https_port:
            return _HTTPS.format(https=self.https_port, folder=self.folder, host=self.host)
        return _HTTP.format(http=self.http_port) if self.http_port else ""

    def command(self) -> Sequence[str]:
        """Prosody in the foreground with our configuration file."""
        program = shutil.which("prosody") or shutil.which("prosody", path="/usr/bin:/usr/local/bin:/opt/bin")
        if program is None:
            raise ServiceFailed("prosody is not installed; install the Debian package: apt-get install prosody")
        return [program, "-F", "--config", str(self.folder / "prosody.cfg.lua")]

    def ready(self) -> bool:
        """Both ports accept connections."""
        return answers(self.c2s_port) and answers(self.component_port)

    def log_end(self, lines: int = 25) -> str:
        """The last lines of its own log and of what it printed."""
        own = self.folder / "prosody-messages.log"
        text = own.read_text("utf-8", "replace") if own.exists() else ""
        return "\n".join([super().log_end(lines), *text.splitlines()[-lines:]])

    def _register(self, user: str, password: str) -> None:
        folder = self.folder / "data" / _quoted(self.host) / "accounts"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / f"{_quoted(user)}.dat").write_text(f'return {{ ["password"] = "{password}"; }};\n')
