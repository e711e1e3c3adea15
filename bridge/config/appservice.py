"""The application service: where it listens, which users are its own, and its registration (docs/matrix.md)."""

import json
import re
from collections.abc import Iterator, Mapping
from ipaddress import AddressValueError, IPv6Address
from typing import Annotated, NamedTuple

from pydantic import AfterValidator

from bridge.config.base import Closed, ConfigPath, mistake
from bridge.config.endpoints import ReachedAt, host
from bridge.config.jid import NotAnAddress
from bridge.config.mxid import user_id
from bridge.config.wording import shown

AS_TOKEN, HS_TOKEN = "as_token_file", "hs_token_file"
TOKENS = (AS_TOKEN, HS_TOKEN)
_NEW_LOCALPART = re.compile(r"[a-z0-9._=/+-]+")
"""What a new user's name may be made of (Matrix specification, appendices, "User Identifiers")."""


class Users(NamedTuple):
    """The users of an application service: `@prefix…:server`."""

    prefix: str
    server: str

    def has(self, user: str) -> bool:
        """Whether a user can be one of them."""
        local, _, server = user.removeprefix("@").partition(":")
        rest = local.removeprefix(self.prefix)
        return server == self.server and local.startswith(self.prefix) and _NEW_LOCALPART.fullmatch(rest) is not None

    def regex(self) -> str:
        """The namespace of the registration."""
        return f"^@{_escaped(self.prefix)}.+:{_escaped(self.server)}$"

    def example(self, name: str) -> str:
        """One of them."""
        return f"@{self.prefix}{name}:{self.server}"


def _escaped(text: str) -> str:
    return re.sub(r"([.+/\[\]])", r"\\\1", text)


def namespace(text: str) -> Users:
    """What a pattern like `@xmpp_*:example.org` means. Raises NotAnAddress."""
    if text.count("*") != 1:
        raise NotAnAddress("does not have one “*”, in the place of the names")
    user_id(text.replace("*", "x"))
    prefix, _, rest = text[1:].partition("*")
    if not rest.startswith(":"):
        raise NotAnAddress("has something between the “*” and the “:”")
    if not _NEW_LOCALPART.fullmatch(prefix):
        raise NotAnAddress("has no beginning that is only theirs, of small letters, digits and ._=/+-, before the “*”")
    return Users(prefix, rest[1:])


def _pattern(text: str) -> str:
    reason: NotAnAddress
    try:
        namespace(text)
    except NotAnAddress as error:
        reason = error
    else:
        return text
    found = f"{{shown}} is not a pattern of Matrix users: it {reason.reason}"
    raise mistake("users", found, 'It looks like "@xmpp_*:example.org".')


def _listen(text: str) -> str:
    given, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536):
        remedy = "Write an address and a port of this machine, for example 127.0.0.1:29333."
        raise mistake("listen", "{shown} does not end with a port", remedy)
    address = given.removeprefix("[").removesuffix("]") if given.startswith("[") else given
    return f"{address if _is_ipv6(address) else host(address)}:{port}"


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True


_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def _id(text: str) -> str:
    if not _ID.fullmatch(text):
        remedy = "Write a word of small letters and digits, for example lockgate."
        raise mistake("appservice-id", "{shown} cannot be what an application service is called", remedy)
    return text


class Appservice(Closed):
    """The application service of the homeserver that Lockgate is registered as."""

    id: Annotated[str, AfterValidator(_id)] = "lockgate"
    users: Annotated[str, AfterValidator(_pattern)]
    listen: Annotated[str, AfterValidator(_listen)] = "127.0.0.1:29333"
    url: ReachedAt | None = None
    as_token_file: ConfigPath
    hs_token_file: ConfigPath

    @property
    def reached_at(self) -> str:
        """The URL at which the homeserver reaches us."""
        address, port = self.address
        return self.url or f"http://{f'[{address}]' if ':' in address else address}:{port}"

    @property
    def address(self) -> tuple[str, str]:
        """Address and port where we listen."""
        address, _, port = self.listen.rpartition(":")
        return address, port


Contradiction = tuple[str, str, str, str]
"""Code, key, what was found, what would be right."""


def contradictions(appservice: object, login: Mapping[str, object]) -> Iterator[Contradiction]:
    """What an account's login says that does not go with the application service, both as written."""
    if login.get("appservice") is not True:
        return
    if not isinstance(appservice, Mapping):
        remedy = 'Write below matrix: appservice: {users: "@xmpp_*:example.org", as_token_file: …, hs_token_file: …}'
        yield "no-appservice", "appservice", "no application service is set", remedy
        return
    users, user = _users(appservice.get("users")), login.get("user")
    if users is not None and isinstance(user, str) and user.startswith("@") and not users.has(user):
        found = f"{shown(user)} is none of the application service's users ({shown(appservice.get('users'))})"
        yield "appservice-user", "user", found, f"Choose a name of its own, for example “{users.example('alice')}”."


def _users(written: object) -> Users | None:
    try:
        return namespace(written) if isinstance(written, str) else None
    except NotAnAddress:
        return None


def registration(appservice: Appservice, as_token: str, hs_token: str) -> str:
    """The registration file, in YAML (spec: Application Service API, Registration)."""
    users = namespace(appservice.users)
    return "".join(
        f"{line}\n"
        for line in (
            "# The registration of Lockgate as an application service. It holds secrets: keep it from others.",
            f"id: {json.dumps(appservice.id)}",
            f"url: {json.dumps(appservice.reached_at)}",
            f"as_token: {json.dumps(as_token)}",
            f"hs_token: {json.dumps(hs_token)}",
            f"sender_localpart: {json.dumps(appservice.id)}",
            "namespaces:",
            "  users:",
            f"    - {{exclusive: true, regex: {json.dumps(users.regex())}}}",
            "  aliases: []",
            "  rooms: []",
            "rate_limited: false",
            "receive_ephemeral: true",
            "org.matrix.msc3202: true  # told of changes of devices",
            "io.element.msc4190: true  # devices without log-in",
        )
    )
