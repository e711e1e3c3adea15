"""The enclave's requests as HTTP requests of the client-server API."""

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from adapters.matrix import names

Http = tuple[str, str, bytes | None]
"""Method, path below the client API (quoted), body."""
_Values = Mapping[str, Any]
MOMENTARY = frozenset({names.ROOM_TYPING, names.PRESENCE_PUT})
"""What is not tried again: it is true only for a moment."""
LOOKUPS = frozenset({names.ACCOUNT_DATA_GET, names.BACKUP_VERSION_GET, names.BACKUP_GET})
"""What asks whether something is there: that it is not is an answer, no failure."""


def http_request(request: str, key: str, values: _Values, user: str) -> Http:
    """What to ask for. `key` is the transaction id where there is one, so that a repetition has no second effect."""
    return _BY_NAME[request](key, values, user)


def _room_send(key: str, values: _Values, _user: str) -> Http:
    room = quote(values["room"], safe="")
    return "PUT", f"/rooms/{room}/send/m.room.encrypted/{quote(key, safe='')}", values["content"]


def _room_react(key: str, values: _Values, _user: str) -> Http:
    relation = {"rel_type": "m.annotation", "event_id": values["event"], "key": values["emoji"].decode()}
    path = f"/rooms/{quote(values['room'], safe='')}/send/m.reaction/{quote(key, safe='')}"
    return "PUT", path, json.dumps({"m.relates_to": relation}).encode()


def _room_redact(key: str, values: _Values, _user: str) -> Http:
    room, event = quote(values["room"], safe=""), quote(values["event"], safe="")
    return "PUT", f"/rooms/{room}/redact/{event}/{quote(key, safe='')}", b"{}"


def _room_receipt(_key: str, values: _Values, _user: str) -> Http:
    room, event = quote(values["room"], safe=""), quote(values["event"], safe="")
    kind = "m.read.private" if values["kind"] == "read-private" else "m.read"
    return "POST", f"/rooms/{room}/receipt/{kind}/{event}", b"{}"


def _room_typing(_key: str, values: _Values, user: str) -> Http:
    told = {"typing": True, "timeout": values["timeout-ms"]} if values["timeout-ms"] else {"typing": False}
    path = f"/rooms/{quote(values['room'], safe='')}/typing/{quote(user, safe='')}"
    return "PUT", path, json.dumps(told).encode()


def _presence_put(_key: str, values: _Values, user: str) -> Http:
    return "PUT", f"/presence/{quote(user, safe='')}/status", json.dumps({"presence": values["presence"]}).encode()


def _send_to_device(key: str, values: _Values, _user: str) -> Http:
    return "PUT", f"/sendToDevice/m.room.encrypted/{quote(key, safe='')}", values["body"]


def _send_withheld(key: str, values: _Values, _user: str) -> Http:
    return "PUT", f"/sendToDevice/m.room_key.withheld/{quote(key, safe='')}", values["body"]


def _send_verification(key: str, values: _Values, _user: str) -> Http:
    return "PUT", f"/sendToDevice/{quote(values['type'], safe='')}/{quote(key, safe='')}", values["body"]


def _keys_upload(_key: str, values: _Values, _user: str) -> Http:
    return "POST", "/keys/upload", values["body"]


def _keys_claim(_key: str, values: _Values, _user: str) -> Http:
    return "POST", "/keys/claim", b'{"one_time_keys":' + values["keys"] + b',"timeout":10000}'


def _keys_query(_key: str, values: _Values, _user: str) -> Http:
    return "POST", "/keys/query", json.dumps({"device_keys": {values["user"]: []}, "timeout": 10000}).encode()


def _signatures_upload(_key: str, values: _Values, _user: str) -> Http:
    return "POST", "/keys/signatures/upload", values["body"]


def _account_data_put(_key: str, values: _Values, user: str) -> Http:
    return "PUT", _account_data(values, user), values.get("sealed") or values.get("public") or b"{}"


def _account_data_get(_key: str, values: _Values, user: str) -> Http:
    return "GET", _account_data(values, user), None


def _backup_version_get(_key: str, _values: _Values, _user: str) -> Http:
    return "GET", "/room_keys/version", None


def _backup_version_make(_key: str, values: _Values, _user: str) -> Http:
    return "POST", "/room_keys/version", values["body"]


def _backup_put(_key: str, values: _Values, _user: str) -> Http:
    return "PUT", f"/room_keys/keys?version={quote(values['version'], safe='')}", values["body"]


def _backup_get(_key: str, values: _Values, _user: str) -> Http:
    path = f"{quote(values['room'], safe='')}/{quote(values['session'], safe='')}"
    return "GET", f"/room_keys/keys/{path}?version={quote(values['version'], safe='')}", None


def _send_key_request(key: str, values: _Values, _user: str) -> Http:
    return "PUT", f"/sendToDevice/m.room_key_request/{quote(key, safe='')}", values["body"]


def _account_data(values: _Values, user: str) -> str:
    return f"/user/{quote(user, safe='')}/account_data/{quote(values['type'], safe='')}"


_BY_NAME: Mapping[str, Callable[[str, _Values, str], Http]] = MappingProxyType(
    {
        names.ROOM_SEND: _room_send,
        names.ROOM_REACT: _room_react,
        names.ROOM_REDACT: _room_redact,
        names.ROOM_RECEIPT: _room_receipt,
        names.ROOM_TYPING: _room_typing,
        names.PRESENCE_PUT: _presence_put,
        names.SEND_TO_DEVICE: _send_to_device,
        names.SEND_WITHHELD: _send_withheld,
        names.SEND_VERIFICATION: _send_verification,
        names.KEYS_UPLOAD: _keys_upload,
        names.KEYS_CLAIM: _keys_claim,
        names.KEYS_QUERY: _keys_query,
        names.SIGNATURES_UPLOAD: _signatures_upload,
        names.ACCOUNT_DATA_PUT: _account_data_put,
        names.ACCOUNT_DATA_GET: _account_data_get,
        names.BACKUP_VERSION_GET: _backup_version_get,
        names.BACKUP_VERSION_MAKE: _backup_version_make,
        names.BACKUP_PUT: _backup_put,
        names.BACKUP_GET: _backup_get,
        names.SEND_KEY_REQUEST: _send_key_request,
    }
)
