"""ejabberd from the Debian package, with its own configuration, data and certificates in a temporary folder.

The Erlang machine runs without distribution: no node name, no epmd, no port but those of the configuration. Limits on
clients (`shaper`, `max_stanza_size`, `mod_pres_counter`) are those the package comes with.
"""

import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from rig.services import ServiceFailed, answers, free_port
from rig.xmpp import HOST, Component, XmppServer

LISTENER = """\
listen:
  - port: {port}
    ip: 127.0.0.1
    module: ejabberd_service
    hosts: {{{hosts}}}
"""
"""What an operator adds for components; the README shows the same."""

UPLOAD_LISTENER = """\
  - port: {port}
    ip: 127.0.0.1
    module: ejabberd_http
    tls: true
    request_handlers: {{/upload: mod_http_upload}}
"""
UPLOAD_RULES = """\
acl:
  gateway:
    server: [{domains}]
  local:
    user_regexp: ""
access_rules:
  upload:
    - allow: local
    - allow: gateway
"""
"""What an operator adds so that components may upload; docs/files.md shows the same."""
UPLOAD_MODULE = """\
  mod_http_upload:
    put_url: "https://127.0.0.1:{port}/upload"
    access: upload
"""
_CONFIG = """\
  - port: {c2s}
    ip: 127.0.0.1
    module: ejabberd_c2s
    max_stanza_size: 262144
    shaper: c2s_shaper
    access: c2s
    starttls_required: true
  - port: {api}
    ip: 127.0.0.1
    module: ejabberd_http
    request_handlers: {{/api: mod_http_api}}
hosts: ["{host}"]
loglevel: {level}
log_rotate_count: 0
certfiles: ["{folder}/certificates/*.crt", "{folder}/certificates/*.key"]
ca_file: "{folder}/certificates/authority.pem"
s2s_access: none
auth_method: internal
auth_password_format: scram
disable_sasl_mechanisms: ["digest-md5", "X-OAUTH2"]
access_rules:
  c2s: {{allow: all}}
  local: {{allow: all}}
api_permissions:
  rig:
    from: mod_http_api
    who: {{ip: 127.0.0.1/32}}
    what: [register]
shaper:
  normal: {{rate: 3000, burst_size: 20000}}
shaper_rules:
  max_user_sessions: 10
  max_user_offline_messages: 100
  c2s_shaper: {shaper}
modules:
  mod_adhoc: {{}}
  mod_blocking: {{}}
  mod_caps: {{}}
  mod_carboncopy: {{}}
  mod_client_state: {{}}
  mod_disco: {{}}
  mod_http_api: {{}}
  mod_last: {{}}
  mod_mam: {{default: always, assume_mam_usage: true}}
  mod_offline: {{access_max_user_messages: max_user_offline_messages}}
  mod_ping: {{}}
  mod_pres_counter: {{count: 5, interval: 60}}
  mod_privacy: {{}}
  mod_private: {{}}
  mod_pubsub:
    plugins: [flat, pep]
    access_createnode: local
    max_items_node: 1000
    force_node_config:
      "eu.siacs.conversations.axolotl.*": {{access_model: open}}
      "urn:xmpp:omemo:2:devices": {{access_model: open}}
      "urn:xmpp:omemo:2:bundles": {{access_model: open, max_items: 1000}}
  mod_roster: {{versioning: true}}
  mod_shared_roster: {{}}
  mod_stream_mgmt: {{resend_on_timeout: if_offline}}
  mod_vcard: {{search: false}}
  mod_vcard_xupdate: {{}}
  mod_version: {{}}
"""


def listener(port: int | str, components: Mapping[str, str]) -> str:
    """The part of the configuration for components: their domains with their secrets."""
    hosts = ", ".join(f'"{jid}": {{password: "{secret}"}}' for jid, secret in components.items())
    return LISTENER.format(port=port, hosts=hosts)


class Ejabberd(XmppServer):
    """One ejabberd; accounts that are made before it runs are registered when it does."""

    name = "ejabberd"
    title = "ejabberd"

    def __init__(
        self,
        folder: Path,
        *,
        components: int = 1,
        host: str = HOST,
        level: str = "info",
        shaped: bool = True,
        uploads: bool = False,
        offline: bool = True,
        archive: bool = True,
    ) -> None:
        """`shaped`: clients may send 20 kB at once and 3 kB a second, as the package has it.

        `uploads`: with file uploads over https, for users and components.

        Not `offline`: what comes while a user is away is in the archive and nowhere else. Not `archive`: without MAM.
        """
        super().__init__(folder, components=components, host=host)
        self._api_port = free_port()
        self._waiting: dict[str, str] = {}
        text = _CONFIG.format(
            folder=folder,
            level=level,
            c2s=self.c2s_port,
            api=self._api_port,
            host=host,
            shaper="normal" if shaped else "none",
        )
        self.https_port = free_port() if uploads else None
        if self.https_port:
            domains = ", ".join(f'"{component.jid}"' for component in self.pool)
            text = text.replace("access_rules:\n", UPLOAD_RULES.format(domains=domains), 1)
            text = text.replace("hosts: [", UPLOAD_LISTENER.format(port=self.https_port) + "hosts: [", 1)
            text += UPLOAD_MODULE.format(port=self.https_port)
        if not offline:
            text = text.replace("  mod_offline: {access_max_user_messages: max_user_offline_messages}\n", "", 1)
        if not archive:
            text = text.replace("  mod_mam: {default: always, assume_mam_usage: true}\n", "", 1)
        path = folder / "ejabberd.yml"
        path.touch(0o600)
        path.write_text(listener(self.component_port, _secrets(self.pool)) + text)

    def command(self) -> Sequence[str]:
        """ejabberd in the foreground with our configuration file."""
        erl = shutil.which("erl") or shutil.which("erl", path="/usr/bin:/usr/local/bin")
        if erl is None or not _libraries():
            raise ServiceFailed("ejabberd is not installed; install the Debian package: apt-get install ejabberd")
        quiet = ["+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"]  # an idle machine does not spin
        return [erl, *quiet, "-noinput", "-mnesia", "dir", json.dumps(f"{self.folder}/data"), "-s", "ejabberd"]

    def environment(self) -> Mapping[str, str]:
        """Where it finds its modules and its configuration, and where it logs."""
        return {
            "ERL_LIBS": _libraries(),
            "HOME": str(self.folder),
            "EJABBERD_CONFIG_PATH": str(self.folder / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(self.folder / "ejabberd-messages.log"),
            "ERL_CRASH_DUMP_BYTES": "0",
        }

    def ready(self) -> bool:
        """All ports accept connections, and the accounts that waited for it are there."""
        if not all(answers(port) for port in (self.c2s_port, self.component_port, self._api_port)):
            return False
        while self._waiting:
            user, password = self._waiting.popitem()
            self._call("register", {"user": user, "host": self.host, "password": password})
        return True

    def _register(self, user: str, password: str) -> None:
        if self.running and answers(self._api_port):
            self._call("register", {"user": user, "host": self.host, "password": password})
        else:
            self._waiting[user] = password

    def _call(self, command: str, arguments: Mapping[str, str]) -> None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._api_port}/api/{command}",
            json.dumps(arguments).encode(),
            {"Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            opener.open(request, timeout=30).close()
        except urllib.error.HTTPError as error:
            raise ServiceFailed(f"ejabberd refused the command {command}: {error.read().decode()}") from None


def _secrets(components: Sequence[Component]) -> dict[str, str]:
    return {component.jid: component.secret for component in components}


def _libraries() -> str:
    """The folder that holds ejabberd's Erlang application; the package puts it among the libraries of the machine."""
    found = sorted(Path("/usr/lib").glob("*/ejabberd-*/ebin/ejabberd.app"))
    return str(found[-1].parents[2]) if found else ""
