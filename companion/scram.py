"""SCRAM (RFC 5802, RFC 7677), both sides, as pure functions of messages and nonces.

Channel bindings are named by the caller, `tls-exporter` (RFC 9266) among them; see docs/decisions/0110.
"""

import base64
import binascii
import hashlib
import hmac
import unicodedata
from dataclasses import dataclass, field
from stringprep import in_table_b1, in_table_c12

HASHES = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
"""Mechanism without `-PLUS`: name of the hash."""
FEWEST_ITERATIONS, MOST_ITERATIONS = 4096, 1_000_000
_PRINTABLE = frozenset(chr(c) for c in range(0x21, 0x7F)) - {","}


def prepared(text: str) -> str:
    """SASLprep (RFC 4013), but for what it forbids: those characters stay, and match themselves only."""
    mapped = "".join(" " if in_table_c12(c) else c for c in text if not in_table_b1(c))
    return unicodedata.ucd_3_2_0.normalize("NFKC", mapped)


class NotAuthenticated(Exception):
    """The other side did not show that it knows the password, or did not keep to the protocol."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """What a server keeps of a password."""

    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


def verifier(mechanism: str, password: str, salt: bytes, iterations: int) -> Verifier:
    """Derive it. `salt`: at least 16 random octets."""
    name = HASHES[mechanism]
    salted = hashlib.pbkdf2_hmac(name, prepared(password).encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", name)
    stored_key = hashlib.new(name, client_key).digest()
    return Verifier(salt, iterations, stored_key, hmac.digest(salted, b"Server Key", name))


class ServerSide:
    """One login as the server sees it: `first` then `final`."""

    def __init__(self, mechanism: str, bindings: dict[str, bytes], plus_offered: bool) -> None:
        """`bindings`: this connection's channel bindings by type."""
        self._plus = mechanism.endswith("-PLUS")
        self._hash = HASHES[mechanism.removesuffix("-PLUS")]
        self._bindings = bindings
        self._plus_offered = plus_offered
        self.user = ""
        self._bare = ""
        self._bound = b""
        self._server_first = ""
        self._nonce = ""

    def read_first(self, message: str) -> str:
        """Take the client's first message; the user it names. Raises NotAuthenticated."""
        flag, _, rest = message.partition(",")
        authzid, _, bare = rest.partition(",")
        self._check_flag(flag)
        if authzid and not authzid.startswith("a="):
            raise NotAuthenticated("malformed first message")
        fields = _fields(bare)
        if [key for key, _ in fields[:2]] != ["n", "r"] or not _is_nonce(fields[1][1]):
            raise NotAuthenticated("malformed first message")
        self.user = _unescaped(fields[0][1])
        self._bare, self._nonce = bare, fields[1][1]
        binding = self._bindings[flag[2:]] if flag.startswith("p=") else b""
        self._bound = f"{flag},{authzid},".encode() + binding
        return self.user

    def first(self, kept: Verifier, nonce: str) -> str:
        """The server's first message. `nonce`: at least 128 random bits, printable."""
        self._nonce += nonce
        self._server_first = f"r={self._nonce},s={base64.b64encode(kept.salt).decode()},i={kept.iterations}"
        return self._server_first

    def final(self, message: str, kept: Verifier) -> str:
        """Check the client's proof; the server's last message. Raises NotAuthenticated."""
        without, _, proof = message.rpartition(",p=")
        fields = dict(_fields(without))
        if not hmac.compare_digest(_decoded(fields.get("c", "")), self._bound):
            raise NotAuthenticated("the channel binding is another")
        if not hmac.compare_digest(fields.get("r", "").encode(), self._nonce.encode()):
            raise NotAuthenticated("the nonce is another")
        over = f"{self._bare},{self._server_first},{without}".encode()
        signature = hmac.digest(kept.stored_key, over, self._hash)
        given = _decoded(proof)
        if len(given) != len(signature):
            raise NotAuthenticated("the proof is wrong")
        client_key = bytes(a ^ b for a, b in zip(given, signature, strict=True))
        if not hmac.compare_digest(hashlib.new(self._hash, client_key).digest(), kept.stored_key):
            raise NotAuthenticated("the proof is wrong")
        return "v=" + base64.b64encode(hmac.digest(kept.server_key, over, self._hash)).decode()

    def _check_flag(self, flag: str) -> None:
        """RFC 5802, 6: `y` from a client that was offered -PLUS means that somebody took the offer away."""
        if flag.startswith("p="):
            if not self._plus or flag[2:] not in self._bindings:
                raise NotAuthenticated("no such channel binding")
        elif self._plus or flag not in ("n", "y") or (flag == "y" and self._plus_offered):
            raise NotAuthenticated("channel binding was left out")


class ClientSide:
    """One login as the client sees it: `first`, `final`, `check`."""

    def __init__(self, mechanism: str, user: str, nonce: str, binding: tuple[str, bytes] | None, *, flag: str) -> None:
        """`binding`: type and octets for -PLUS. `flag` without one: `y` when the server offered no -PLUS."""
        self._hash = HASHES[mechanism.removesuffix("-PLUS")]
        self._nonce = nonce
        header = f"p={binding[0]},," if binding else f"{flag},,"
        self._bound = header.encode() + (binding[1] if binding else b"")
        self._bare = f"n={_escaped(prepared(user))},r={nonce}"
        self._header = header
        self._expected = b""

    def first(self) -> str:
        """The first message."""
        return self._header + self._bare

    def final(self, server_first: str, password: str) -> str:
        """The answer to the server's first message. Raises NotAuthenticated."""
        fields = dict(_fields(server_first))
        nonce, iterations = fields.get("r", ""), fields.get("i", "")
        if not nonce.startswith(self._nonce) or len(nonce) <= len(self._nonce) or not _is_nonce(nonce):
            raise NotAuthenticated("the nonce is another")
        if "m" in fields or not (iterations.isascii() and iterations.isdigit() and len(iterations) < 8):
            raise NotAuthenticated("malformed challenge")
        if not FEWEST_ITERATIONS <= int(iterations) <= MOST_ITERATIONS:
            raise NotAuthenticated("the server asks for too few or too many iterations")
        salt, secret = _decoded(fields.get("s", "")), prepared(password).encode()
        salted = hashlib.pbkdf2_hmac(self._hash, secret, salt, int(iterations))
        client_key = hmac.digest(salted, b"Client Key", self._hash)
        without = f"c={base64.b64encode(self._bound).decode()},r={nonce}"
        over = f"{self._bare},{server_first},{without}".encode()
        signature = hmac.digest(hashlib.new(self._hash, client_key).digest(), over, self._hash)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self._expected = hmac.digest(hmac.digest(salted, b"Server Key", self._hash), over, self._hash)
        return f"{without},p={base64.b64encode(proof).decode()}"

    def check(self, server_final: str) -> None:
        """The server knows the password, too; raises NotAuthenticated when it does not show that."""
        given = _decoded(dict(_fields(server_final)).get("v", ""))
        if not self._expected or not hmac.compare_digest(given, self._expected):
            raise NotAuthenticated("the server does not know the password")


def _fields(message: str) -> list[tuple[str, str]]:
    found = [part.partition("=") for part in message.split(",")]
    if any(len(key) != 1 or not mark for key, mark, _ in found):
        raise NotAuthenticated("malformed message")
    return [(key, value) for key, _, value in found]


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value.encode(), validate=True)
    except (binascii.Error, ValueError):
        pass
    raise NotAuthenticated("malformed message")


def _is_nonce(value: str) -> bool:
    return bool(value) and _PRINTABLE.issuperset(value)


def _escaped(user: str) -> str:
    return user.replace("=", "=3D").replace(",", "=2C")


def _unescaped(user: str) -> str:
    return user.replace("=2C", ",").replace("=3D", "=")
