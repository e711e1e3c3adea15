"""The documentation, the example, the models and the errors name the same keys."""

import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from adapters.matrix.outside_history import DEFAULT_DAYS, DEFAULT_MESSAGES
from bridge.config.keys import KEYS
from bridge.config.models import Config
from bridge.config.networks import FAR_NETWORKS
from crypto.message import Assurance

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
TABLE = PAGE.read_text().partition("## What `require` means")[0]


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, bool]]:
    """Every key of a model, with whether it holds a value rather than more keys."""
    for name, field in model.model_fields.items():
        yield from _of(field.annotation, f"{prefix}{name}")


def _of(annotation: object, key: str) -> Iterator[tuple[str, bool]]:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union, typing.Annotated):
        (annotation,) = [a for a in arguments[: 1 if origin is typing.Annotated else None] if a is not type(None)]
        yield from _of(annotation, key)
    elif origin is dict:
        yield key, False
        yield from _of(arguments[1], f"{key}.*")
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield key, False
        yield from keys_of(annotation, f"{key}.")
    else:
        yield key, True


def test_every_key_of_the_models_has_a_meaning_for_errors_and_no_other_has() -> None:
    assert {key for key, _ in keys_of(Config)} == set(KEYS)


def test_every_key_that_holds_a_value_is_in_the_table_of_the_page() -> None:
    rows = set(re.findall(r"^\| `([a-zA-Z_.]+)` \|", TABLE, re.M))
    # The account's keys once more, in one row each.
    again = ("accounts.*.contacts.*.esession", "accounts.*.contacts.*.content", "accounts.*.contacts.*.omemo")
    values = {key.replace("*", "NAME") for key, value in keys_of(Config) if value and not key.startswith(again)}
    named = {"adapters.NAME", "accounts.NAME", "accounts.NAME.networks.NAME", "accounts.NAME.contacts.NAME"}
    named |= {key.replace("*", "NAME") for key in again}
    assert rows == values | named


def test_the_table_shows_the_defaults_of_the_models() -> None:
    defaults = dict(re.findall(r"^\| `([a-zA-Z_.]+)` \|.*\| `([^`]*)` \|$", TABLE, re.M))
    assert defaults == {
        "xmpp.component.host": "127.0.0.1",
        "xmpp.component.port": "5347",
        "matrix.history.days": str(DEFAULT_DAYS),
        "matrix.history.messages": str(DEFAULT_MESSAGES),
        "matrix.appservice.listen": "127.0.0.1:29333",
        "matrix.appservice.id": "lockgate",
        "accounts.NAME.matrix.appservice": "false",
        "accounts.NAME.contacts.NAME.require": "end-to-end",
        "enclave.lockdown": "enforce",
        "log.level": "info",
        "log.format": "console",
    }


def test_what_a_network_is_said_to_give_is_what_its_inside_half_gives() -> None:
    from adapters.inside_api import ContactPolicy
    from adapters.registry import BUILTIN, half

    for network, facts in FAR_NETWORKS.items():
        inside = half(network, BUILTIN[network].inside, lambda found: found())
        contact = ContactPolicy("bob", network, "@bob:x.org", "bob@x.org", Assurance.NONE)
        assert inside.assurance({}, contact) is Assurance(facts.assurance)
