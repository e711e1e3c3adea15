"""The client's login (RFC 6120, 6) against the local password: SCRAM with and without channel binding, PLAIN."""

import base64
import binascii
import hmac
import secrets
from dataclasses import dataclass, field

from companion.scram import NotAuthenticated, ServerSide, Verifier, verifier

NS_SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
NS_BINDINGS = "urn:xmpp:sasl-cb:0"
_SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-1")
_ITERATIONS = 10_000


class Malformed(Exception):
    """What the client sent is no base64, or no mechanism that was offered."""


@dataclass(frozen=True, slots=True)
class Accounts:
    """The one account: its names, and what is kept of its local password."""

    names: frozenset[str]
    password: str = field(repr=False)
    verifiers: dict[str, Verifier] = field(repr=False)


def accounts(jid: str, password: str) -> Accounts:
    """The names the client may give for it: the local part, or the whole JID."""
    made = {name: verifier(name, password, secrets.token_bytes(16), _ITERATIONS) for name in _SCRAM}
    return Accounts(frozenset((jid, jid.partition("@")[0])), password, made)


def offer(bindings: dict[str, bytes]) -> str:
    """The stream features of a stream inside TLS: mechanisms, and the types of channel binding (XEP-0440)."""
    names = [f"{name}-PLUS" for name in _SCRAM if bindings] + list(_SCRAM) + ["PLAIN"]
    offered = "".join(f"<mechanism>{name}</mechanism>" for name in names)
    types = "".join(f"<channel-binding type='{name}'/>" for name in bindings)
    announced = f"<sasl-channel-binding xmlns='{NS_BINDINGS}'>{types}</sasl-channel-binding>" if types else ""
    return f"<mechanisms xmlns='{NS_SASL}'>{offered}</mechanisms>{announced}"


class Login:
    """One attempt. `answer` gives the next element for the client; afterwards `finished` says whether it is in."""

    def __init__(self, kept: Accounts, bindings: dict[str, bytes], mechanism: str) -> None:
        """Raises Malformed when the mechanism was not offered."""
        self._kept = kept
        self._mechanism = mechanism
        self._server: ServerSide | None = None
        self._verifier: Verifier | None = None
        self.finished = False
        if mechanism == "PLAIN":
            return
        if mechanism.removesuffix("-PLUS") not in _SCRAM or (mechanism.endswith("-PLUS") and not bindings):
            raise Malformed("the mechanism was not offered")
        self._server = ServerSide(mechanism, bindings, plus_offered=bool(bindings))

    def answer(self, given: str) -> str:
        """The next element for the client. Raises NotAuthenticated, Malformed."""
        message = _decoded(given)
        if self._server is None:
            self._plain(message)
            self.finished = True
            return f"<success xmlns='{NS_SASL}'/>"
        if self._verifier is None:
            if not message:
                return f"<challenge xmlns='{NS_SASL}'>=</challenge>"
            return self._first(self._server, message)
        last = self._server.final(message, self._verifier)
        self.finished = True
        return f"<success xmlns='{NS_SASL}'>{_encoded(last)}</success>"

    def _first(self, server: ServerSide, message: str) -> str:
        user = server.read_first(message)
        self._verifier = self._kept.verifiers[self._mechanism.removesuffix("-PLUS")]
        challenge = server.first(self._verifier, secrets.token_urlsafe(18))
        if user not in self._kept.names:
            raise NotAuthenticated("no such user")
        return f"<challenge xmlns='{NS_SASL}'>{_encoded(challenge)}</challenge>"

    def _plain(self, message: str) -> None:
        """RFC 4616: authorization identity, user, password, between zero octets."""
        _, _, rest = message.partition("\0")
        user, _, password = rest.partition("\0")
        right = hmac.compare_digest(password.encode(), self._kept.password.encode())
        if user not in self._kept.names or not right:
            raise NotAuthenticated("wrong user or password")


def _decoded(given: str) -> str:
    if given in ("", "="):
        return ""
    try:
        return base64.b64decode(given.encode(), validate=True).decode()
    except (binascii.Error, ValueError):
        pass
    raise Malformed("not base64")


def _encoded(message: str) -> str:
    return base64.b64encode(message.encode()).decode()
