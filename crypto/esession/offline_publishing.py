"""The publisher's side before it goes offline: making a set of options, and tending the sets it keeps (XEP-0187)."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from crypto.errors import Misuse
from crypto.esession.forms import base64, write_field
from crypto.esession.identities import Identity, sign
from crypto.esession.normal_form import CANONICAL, normal_form
from crypto.esession.offline_options import (
    SIGNATURES,
    SIGNATURES_MOST,
    Audience,
    Offer,
    OfflineSecret,
    OptionSet,
    Values,
    write_options,
)
from crypto.esession.offline_time import DAY_MS, MINUTE_MS, SECOND_MS, write_time
from crypto.esession.suite import exchange, kem
from crypto.xml import Element, serialize

NONCE = 8
LIFETIME_MS = 2 * DAY_MS
SKEW_MS = 5 * MINUTE_MS
"""What two clocks may differ by: a sender stops so much earlier, a clock that jumps back further empties the shelf."""
MAX_SETS = 4
MARK = 16
MAX_USES = 1024
"""Negotiations that one set serves: all their values are remembered as long as it lives."""

Draw = Callable[[str, int], bytes]


@dataclass(frozen=True, slots=True)
class Lifetime:
    """From when to when a set may be used, in milliseconds since 1970."""

    now_ms: int
    expires_ms: int

    def __post_init__(self) -> None:
        if not self.now_ms < self.expires_ms:
            raise Misuse("options that have expired already are of no use")


def publish(
    offer: Offer,
    identities: tuple[Identity, ...],
    lifetime: Lifetime,
    draw: Draw,
    *,
    audience: Audience = Audience.EVERYONE,
    resource: str | None = None,
    publisher: str | None = None,
) -> tuple[OptionSet, Element]:
    """A new set, and the signed `<x/>` to publish. One exponentiation for each group.

    `resource`: the only one that will be able to decrypt. `publisher`: our bare JID, which the signature then covers.
    Draws: `offline-nonce` (8 octets), `offline-secret` for each group, `offline-kem` for each key encapsulation.
    """
    if not 1 <= len(identities) <= SIGNATURES_MOST:
        raise Misuse("options are signed with one to four keys")
    secrets = tuple(OfflineSecret(g, exchange(g).secret(draw("offline-secret", _draw_octets(g)))) for g in offer.groups)
    seeds = tuple(OfflineSecret(name, draw("offline-kem", kem(name).seed_octets)) for name in offer.kems)
    # The form holds whole seconds: what is kept must not outlive what was promised.
    expires_ms = lifetime.expires_ms // SECOND_MS * SECOND_MS
    values = Values(
        nonce=draw("offline-nonce", NONCE),
        publics=tuple((s.group, exchange(s.group).public(s.secret)) for s in secrets),
        kem_keys=tuple((s.group, kem(s.group).keypair(s.secret)[1]) for s in seeds),
        expires=write_time(expires_ms),
        resource=resource,
        publisher=publisher,
    )
    form = _signed(write_options(offer, values), identities)
    kept = OptionSet(
        form=serialize(form),
        nonce=values.nonce,
        audience=audience,
        secrets=secrets,
        kem_secrets=seeds,
        published_ms=lifetime.now_ms,
        expires_ms=expires_ms,
        resource=resource,
    )
    return kept, form


def _draw_octets(group: str) -> int:
    return exchange(group).draw_octets


def _signed(form: Element, identities: tuple[Identity, ...]) -> Element:
    """With the field `signs`: one signature of the normal form for each key (docs/decisions/0093)."""
    content = normal_form(form, CANONICAL)
    signatures = (base64(sign(identity, content)) for identity in identities)
    return replace(form, children=(*form.children, write_field(SIGNATURES, "hidden", *signatures)))


def uses(options: OptionSet) -> int:
    """How many negotiations were accepted by a set."""
    return len(options.used) // (2 * MARK)


# ---------------------------------------------------------------------------------------------------- the shelf
@dataclass(frozen=True, slots=True)
class Shelf:
    """The sets whose secrets exist. A set that is not here any more cannot be used by anybody."""

    sets: tuple[OptionSet, ...] = ()
    """The newest last."""

    def tended(self, now_ms: int) -> "Shelf":
        """Without the sets whose time is over. A set of the future means that the clock was put back: it goes too."""
        kept = tuple(s for s in self.sets if s.published_ms - SKEW_MS <= now_ms < s.expires_ms)
        return self if len(kept) == len(self.sets) else Shelf(kept)

    def find(self, nonce: bytes) -> OptionSet | None:
        """The set of that N_A."""
        return next((s for s in self.sets if s.nonce == nonce), None)

    def newest(self, audience: Audience) -> OptionSet | None:
        """The set that is published for them now."""
        return next((s for s in reversed(self.sets) if s.audience is audience), None)

    def with_set(self, added: OptionSet) -> "Shelf":
        """With this one, in place of the one of its nonce if there is; the oldest beyond the limit is destroyed."""
        if self.find(added.nonce) is not None:
            return Shelf(tuple(added if s.nonce == added.nonce else s for s in self.sets))
        return Shelf((*self.sets, added)[-MAX_SETS:])

    def withdrawn(self, audience: Audience, *, until_ms: int) -> "Shelf":
        """The publisher is online: sets for these live no longer than `until_ms` (what was sent is on its way)."""
        return Shelf(
            tuple(
                replace(s, expires_ms=min(s.expires_ms, until_ms)) if s.audience is audience else s for s in self.sets
            )
        )

    def next_due_ms(self) -> int:
        """When the next set must be destroyed; 0 when there is none."""
        return min((s.expires_ms for s in self.sets), default=0)
