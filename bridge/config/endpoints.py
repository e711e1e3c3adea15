"""Where something listens, and URLs: as keys of the configuration."""

from typing import Annotated

from pydantic import AfterValidator, Field

from bridge.config.base import mistake
from bridge.config.jid import NotAnAddress, domainpart
from bridge.urls import split_url


def host(text: str) -> str:
    """A host name or an IP address alone."""
    reason: NotAnAddress
    try:
        return domainpart(text)
    except NotAnAddress as error:
        reason = error
    remedy = "Write a host name or an IP address alone, for example 127.0.0.1; the port has a key of its own."
    raise mistake("host", f"{{shown}} is not a host: it {reason.reason}", remedy)


def _reached_at(text: str) -> str:
    parts = split_url(text)
    remedy = "Write the URL at which the homeserver reaches Lockgate, for example http://127.0.0.1:29333."
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname or not text.isprintable():
        raise mistake("url", "{shown} is not an http or https URL", remedy)
    if parts.username is not None or parts.password is not None:
        raise mistake("url-secret", "the URL holds a user name or password (not shown)", remedy)
    if parts.query or parts.fragment:
        raise mistake("url", "{shown} has something after the path", remedy)
    return text.rstrip("/")


Host = Annotated[str, AfterValidator(host)]
Port = Annotated[int, Field(ge=1, le=65535)]
ReachedAt = Annotated[str, AfterValidator(_reached_at)]
