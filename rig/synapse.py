"""Synapse in its own virtual environment: SQLite, loopback only, no federation, no rate limits."""

import base64
import hashlib
import hmac
import json
import os
import secrets
import sqlite3
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rig.services import ROOT, Service, ServiceFailed, free_port

SERVER_NAME = "matrix.localhost"
_LOOSE = {"per_second": 100000, "burst_count": 100000}
_LOG = """
version: 1
formatters: {plain: {format: '%(asctime)s %(name)s %(levelname)s %(message)s'}}
handlers: {console: {class: logging.StreamHandler, formatter: plain, stream: ext://sys.stdout}}
loggers: {synapse.storage.SQL: {level: WARNING}}
root: {level: INFO, handlers: [console]}
disable_existing_loggers: false
"""


@dataclass(frozen=True)
class MatrixAccount:
    """An account with what a client needs to log in."""

    user_id: str
    password: str = field(repr=False)
    homeserver: str

    @property
    def localpart(self) -> str:
        """The part between `@` and `:`."""
        return self.user_id[1:].partition(":")[0]


def synapse_python() -> Path:
    """The interpreter of the virtual environment that has Synapse."""
    chosen = Path(os.environ.get("LOCKGATE_SYNAPSE_PYTHON", ROOT / ".venv-synapse" / "bin" / "python"))
    if not chosen.exists():
        raise ServiceFailed("Synapse is not installed; scripts/bootstrap makes .venv-synapse")
    return chosen


def _rate_limits() -> dict[str, Any]:
    single = [
        "rc_message",
        "rc_registration",
        "rc_registration_token_validity",
        "rc_admin_redaction",
        "rc_joins_per_room",
        "rc_key_requests",
        "rc_third_party_invite",
        "rc_media_create",
        "rc_delayed_event_mgmt",
        "rc_room_creation",
        "rc_reports",
    ]
    return {
        **dict.fromkeys(single, _LOOSE),
        "rc_login": {"address": _LOOSE, "account": _LOOSE, "failed_attempts": _LOOSE},
        "rc_joins": {"local": _LOOSE, "remote": _LOOSE},
        "rc_invites": {"per_room": _LOOSE, "per_user": _LOOSE, "per_issuer": _LOOSE},
        "rc_presence": {"per_user": _LOOSE},
    }


class Synapse(Service):
    """One homeserver. `account()` registers users; `events()` shows what the server keeps of a room."""

    name = "synapse"
    start_patience_s = 180.0

    def __init__(
        self, folder: Path, *, server_name: str = SERVER_NAME, settings: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(folder)
        self._settings = dict(settings or {})
        self.server_name = server_name
        self._registrations: list[Path] = []
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._registration_secret = secrets.token_hex(16)
        self.database = folder / "homeserver.db"
        self._write_config()

    def _config(self) -> dict[str, Any]:
        listener = {
            "port": self.port,
            "type": "http",
            "bind_addresses": ["127.0.0.1"],
            "tls": False,
            "resources": [{"names": ["client"], "compress": False}],
        }
        return {
            "server_name": self.server_name,
            "public_baseurl": f"{self.url}/",
            "report_stats": False,
            "listeners": [listener],
            "database": {"name": "sqlite3", "args": {"database": str(self.database)}},
            "log_config": str(self.folder / "log.yaml"),
            "media_store_path": str(self.folder / "media"),
            "signing_key_path": str(self.folder / "signing.key"),
            "registration_shared_secret": self._registration_secret,
            "macaroon_secret_key": secrets.token_hex(16),
            "form_secret": secrets.token_hex(16),
            "trusted_key_servers": [],
            "suppress_key_server_warning": True,
            "federation_domain_whitelist": [],
            "enable_registration": False,
            "presence": {"enabled": True},
            "user_ips_max_age": "1d",
            "bcrypt_rounds": 4,
            "caches": {"global_factor": 1.0},
            "app_service_config_files": [str(path) for path in self._registrations],
            "experimental_features": {
                "msc2409_to_device_messages_enabled": bool(self._registrations),
                "msc3202_transaction_extensions": bool(self._registrations),
            },
            # Of a longer gap matrix-js-sdk drops what came before its own last message; Bob asks for 1,000 events.
            "filter_timeline_limit": 1000,
            **_rate_limits(),
            **self._settings,
        }

    def register(self, registration: str) -> None:
        """Take an application service in; before the start."""
        path = self.folder / f"appservice-{len(self._registrations)}.yaml"
        path.touch(0o600)
        path.write_text(registration)
        self._registrations.append(path)
        self._write_config()

    def _write_config(self) -> None:
        key = base64.b64encode(os.urandom(32)).decode().rstrip("=")
        for name, text in {
            "signing.key": f"ed25519 a_rig {key}\n",
            "log.yaml": _LOG,
            "homeserver.yaml": json.dumps(self._config(), indent=1),  # JSON is YAML
        }.items():
            path = self.folder / name
            path.touch(0o600)
            path.write_text(text)

    def command(self) -> Sequence[str]:
        """Synapse as one process in the foreground."""
        return [str(synapse_python()), "-m", "synapse.app.homeserver", "-c", str(self.folder / "homeserver.yaml")]

    def ready(self) -> bool:
        """It answers requests of clients."""
        try:
            self.call("GET", "/_matrix/client/versions")
        except (OSError, ServiceFailed):
            return False
        return True

    # ------------------------------------------------------------ as a client
    def call(self, method: str, path: str, body: object = None, token: str | None = None) -> Any:
        """One request of the client-server API; returns the decoded answer, raises `ServiceFailed` on an error."""
        request = urllib.request.Request(self.url + path, method=method)
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        data = None if body is None else json.dumps(body).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, data, timeout=60) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            refusal = f"{method} {path.partition('?')[0]}: {error.code} {error.read().decode('utf-8', 'replace')}"
        raise ServiceFailed(refusal)

    def account(self, user: str, password: str | None = None) -> MatrixAccount:
        """Register a user."""
        password = password or secrets.token_hex(12)
        nonce = self.call("GET", "/_synapse/admin/v1/register")["nonce"]
        text = "\0".join((nonce, user, password, "notadmin")).encode()
        mac = hmac.new(self._registration_secret.encode(), text, hashlib.sha1).hexdigest()
        made = self.call(
            "POST",
            "/_synapse/admin/v1/register",
            {"nonce": nonce, "username": user, "password": password, "mac": mac, "admin": False, "inhibit_login": True},
        )
        return MatrixAccount(made["user_id"], password, self.url)

    def login(self, account: MatrixAccount) -> str:
        """An access token of a new device."""
        identifier = {"type": "m.id.user", "user": account.localpart}
        body = {"type": "m.login.password", "identifier": identifier, "password": account.password}
        return str(self.call("POST", "/_matrix/client/v3/login", body)["access_token"])

    # ------------------------------------------------------------ as its operator
    def events(self, room: str | None = None) -> Iterator[dict[str, Any]]:
        """All events the server keeps (of one room), in its order, as JSON objects with `event_id`."""
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)
        try:
            rows = connection.execute(
                "SELECT e.event_id, j.json FROM events e JOIN event_json j USING (event_id) "
                "WHERE ? IS NULL OR e.room_id = ? ORDER BY e.stream_ordering",
                (room, room),
            ).fetchall()
        finally:
            connection.close()
        for event_id, text in rows:
            yield {**json.loads(text), "event_id": event_id}
