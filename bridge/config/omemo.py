"""`omemo` of the configuration: whether contacts are OMEMO devices, and which of the user's devices are believed."""

from typing import Annotated, Literal

from pydantic import BeforeValidator

from bridge.config.base import Closed, mistake
from bridge.config.esession import words_of
from bridge.config.wording import shown

TrustPolicy = Literal["blind-until-verified", "verified-only"]
PROTOCOLS = ("esession", "omemo:2", "axolotl")


def _switch(value: object) -> object:
    """`on` and `off`, which are texts in YAML 1.2; its truth values mean the same."""
    words = {True: "on", False: "off", "on": "on", "off": "off"}
    found = words.get(value) if isinstance(value, str | bool) else None
    if found is None:
        raise mistake("not-a-choice", f"{shown(value)} is neither on nor off", "Write on or off.")
    return found


class Omemo(Closed):
    """What the user's OMEMO clients may do."""

    use: Annotated[Literal["on", "off"], BeforeValidator(_switch)] | None = None
    trust: TrustPolicy | None = None
    automatic: Annotated[Literal["on", "off"], BeforeValidator(_switch)] | None = None
    """Whether verified devices of the user's may vouch for others."""
    protocols: Annotated[tuple[str, ...], BeforeValidator(words_of("protocols", PROTOCOLS))] | None = None
    """The preferred one first."""
    beside: Literal["receipts", "all"] | None = None
    """What may stand in clear beside the older form."""


def omemo_options(settings: Omemo | None) -> dict[str, str]:
    """The settings that were written, as the enclave takes them (`adapters.xmpp.inside_omemo_own`)."""
    if settings is None:
        return {}
    order = None if settings.protocols is None else " ".join(settings.protocols)
    found = {
        "omemo": settings.use,
        "omemo-trust": settings.trust,
        "omemo-automatic": settings.automatic,
        "protocols": order,
        "omemo-beside": settings.beside,
    }
    return {name: value for name, value in found.items() if value is not None}
