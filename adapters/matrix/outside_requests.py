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


def http_request(request: str, key: str, values: _Values, user: str) -> Http:
    """What to ask for. `key` is the transaction id where there is one, so that a repetition has no second effect."""
    return _BY_NAME[request](key, values, user)


def _room_send(key: str, values: _Values, _user: str) -> Http:
    room = quote(values["room"], safe="")
    return "PUT", f"/rooms/{room}/send/m.room.encrypted/{quote(key, safe='')}", values["content"]


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


def _account_data(values: _Values, user: str) -> str:
    return f"/user/{quote(user, safe='')}/account_data/{quote(values['type'], safe='')}"


_BY_NAME: Mapping[str, Callable[[str, _Values, str], Http]] = MappingProxyType(
    {
        names.ROOM_SEND: _room_send,
        names.SEND_TO_DEVICE: _send_to_device,
        names.SEND_WITHHELD: _send_withheld,
        names.SEND_VERIFICATION: _send_verification,
        names.KEYS_UPLOAD: _keys_upload,
        names.KEYS_CLAIM: _keys_claim,
        names.KEYS_QUERY: _keys_query,
        names.SIGNATURES_UPLOAD: _signatures_upload,
        names.ACCOUNT_DATA_PUT: _account_data_put,
        names.ACCOUNT_DATA_GET: _account_data_get,
    }
)
