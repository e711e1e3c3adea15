"""What the operator may ask and order over the admin socket."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from bridge.config.models import Config
from bridge.config.networks import NEAR_NETWORK
from bridge.enclave_post import EnclavePost
from bridge.gateway_post import GatewayPost
from bridge.wire import control, gateway_control
from bridge.wire.values import GATEWAY_CONTACT

_SAS: Final = re.compile(r"[a-z0-9 ]{1,64}")
_DECISIONS: Final = frozenset({"verify", "verify-weak-string", "approve", "distrust"})
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{43}")
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")
_COMPARED: Final = {"sas": _SAS, "key": _KEY, "device_key": _FINGERPRINT}
_MATRIX: Final = "matrix"
_ACTIONS: Final = frozenset({"begin", "begin-to-device", "begin-code", "show", "match", "differ", "cancel"})
_MAX_SECRET: Final = 1024
_POSITIONS: Final = 1 << 53
_WORD: Final = re.compile(r"[a-z][a-z0-9-]{0,47}")


class Operator:
    """Answers requests with what the two processes say."""

    def __init__(self, gateway: GatewayPost, enclave: EnclavePost, config: Callable[[], Config]) -> None:
        self._gateway = gateway
        self._enclave = enclave
        self._config = config

    async def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """The reply to one request."""
        op = request.get("op")
        if op == "status":
            return await self._status()
        handlers = {
            "trust": self._trust,
            "release": self._release,
            "recovery-key": self._recovery_key,
            "recover": self._recover,
            "verify": self._verify,
        }
        handler = handlers.get(op) if isinstance(op, str) else None
        return {"error": "unknown-op"} if handler is None else await handler(request)

    async def _status(self) -> Mapping[str, Any]:
        enclave, gateway = await asyncio.gather(self._enclave.status(), self._gateway.status())
        return {
            "legs": [leg.model_dump() for leg in enclave.legs] if enclave else [],
            "identities": [identity.model_dump() for identity in enclave.identities] if enclave else [],
            "unloaded": list(enclave.unloaded) if enclave else [],
            "processes": [_process(post) for post in (self._gateway, self._enclave)],
            "lockdown": _lockdown(self._enclave.locked),
            "health": [
                {"network": word.network, "account": word.account, "state": word.state, "detail": word.detail}
                for word in self._gateway.health.values()
            ],
            "counters": counted(enclave, gateway),
        }

    async def _release(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        positions = request.get("positions")
        if not isinstance(positions, list) or not 0 < len(positions) <= gateway_control.MAX_RELEASED:
            return {"error": "malformed"}
        if not all(type(position) is int and 0 < position < _POSITIONS for position in positions):
            return {"error": "malformed"}
        count = await self._gateway.release(tuple(positions))
        return {"error": "no-answer"} if count is None else {"released": count}

    async def _trust(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        account, contact = request.get("account"), request.get("contact")
        decision, network = request.get("decision"), request.get("network", NEAR_NETWORK)
        if not (isinstance(account, str) and isinstance(contact, str) and isinstance(network, str)):
            return {"error": "malformed"}
        if decision not in _DECISIONS or not _WORD.fullmatch(network):
            return {"error": "malformed"}
        compared = {name: request.get(name) for name in _COMPARED}
        for name, value in compared.items():
            if value is not None and not (isinstance(value, str) and _COMPARED[name].fullmatch(value)):
                return {"error": "malformed"}
        known = self._config().accounts.get(account)
        if known is None or (contact not in known.contacts and contact != GATEWAY_CONTACT):
            return {"code": "unknown"}
        return {"code": await self._enclave.decide(account, contact, network, decision, **compared)}

    def _matrix_account(self, request: Mapping[str, Any]) -> str | None:
        """The account that is asked about, when it has a Matrix user."""
        name = request.get("account")
        account = self._config().accounts.get(name) if isinstance(name, str) else None
        return name if account is not None and _MATRIX in account.far_addresses() else None

    async def _recovery_key(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        account = self._matrix_account(request)
        if account is None:
            return {"code": "unknown"}
        code, key = await self._enclave.recovery_key(account, _MATRIX)
        return {"code": code, "key": key}

    async def _recover(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        account, secret = self._matrix_account(request), request.get("secret")
        if not isinstance(secret, str) or not 0 < len(secret) <= _MAX_SECRET or not secret.isprintable():
            return {"error": "malformed"}
        if account is None:
            return {"code": "unknown"}
        return {"code": await self._enclave.recover(account, _MATRIX, secret)}

    async def _verify(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        account, contact, action = self._matrix_account(request), request.get("contact"), request.get("action")
        compared = request.get("compared")
        if action not in _ACTIONS or not (compared is None or (isinstance(compared, str) and _SAS.fullmatch(compared))):
            return {"error": "malformed"}
        if account is None or contact not in self._config().accounts[account].contacts:
            return {"code": "unknown-contact"}
        order = {"account": account, "contact": contact, "network": _MATRIX, "action": action, "compared": compared}
        told = await self._enclave.verify(order)
        return {"code": "no-answer"} if told is None else told.model_dump(exclude={"t", "nonce"})


def _process(post: GatewayPost | EnclavePost) -> Mapping[str, Any]:
    child = post.child
    state = "ready" if post.ready else "starting" if child is not None and child.alive else "down"
    pid = child.pid if child is not None and child.alive else None
    return {"name": post.role, "pid": pid, "restarts": post.restarts, "state": state}


def _lockdown(locked: control.Locked | None) -> Mapping[str, Any]:
    if locked is None:
        return {}
    return {"sufficient": locked.sufficient, "measures": [measure.model_dump() for measure in locked.measures]}


def counted(enclave: control.Status | None, gateway: gateway_control.GatewayStatus | None) -> Mapping[str, int]:
    """What was counted, by code, and how much is in the ledger. The gateway counts what the enclave reports, too."""
    counts: Counter[str] = Counter()
    for told in (enclave, gateway):
        for counter in told.counters if told else ():
            counts[counter.code] = max(counts[counter.code], counter.count)
    depths = {"inbox": gateway.inbox, "outbox": gateway.outbox, "parked": gateway.parked} if gateway else {}
    return {**counts, **depths}
