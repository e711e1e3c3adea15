"""What the operator asks of the sessions with one contact, read from the flat texts of its policy (`options`).

Names and values are those of docs/configuration.md, under `esession`. What cannot be read is not guessed: the legs of
that contact then make no sessions, and say so (`policy-malformed`).
"""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from adapters.inside_api import ContactPolicy
from crypto.errors import InsideError, Misuse
from crypto.esession.certificates import read_pem
from crypto.esession.identities import Identity, PublicIdentity
from crypto.esession.key_values import SignAlgorithm
from crypto.esession.passwords import password_octets
from crypto.esession.rekeying_state import RekeyPolicy
from crypto.esession.session import Session
from crypto.esession.suite import CIPHERS, GROUPS, HASHES
from crypto.esession.terms import DEFAULT_GROUPS, Terms
from crypto.esession.vouching import Vouchers, pinned
from crypto.message import Assurance

STANZAS = ("message", "presence", "iq")
METHODS = ("key", "hash", "none")
REKEY_STANZAS = 100
REKEY_MINUTES = 10
LEAST_BETWEEN = 1
"""Stanzas between two re-keyings: no bound, so that a session that falls silent after a word renews its keys too."""
_DEFAULTS = Terms()
_MOST = 1 << 31
_REKEY = RekeyPolicy(stanzas=REKEY_STANZAS, interval_ms=REKEY_MINUTES * 60_000)


class MalformedPolicy(Misuse):
    """An option has a value that it cannot have."""

    def __init__(self) -> None:
        super().__init__("the settings of a contact's sessions cannot be read")


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """The settings of the sessions with one contact."""

    groups: tuple[int | str, ...] = DEFAULT_GROUPS
    ciphers: tuple[str, ...] = _DEFAULTS.ciphers
    hashes: tuple[str, ...] = _DEFAULTS.hashes
    stanzas: tuple[str, ...] = STANZAS
    post_quantum: str = "prefer"
    password: bytes | None = field(default=None, repr=False)
    public_keys: tuple[str, ...] = ("none",)
    """How the user's client may identify itself, what is liked best first."""
    own_key: str = "none"
    """How the contact's end identifies itself at most."""
    vouchers: Vouchers = field(default_factory=Vouchers)
    dsa: bool = False
    rekey: RekeyPolicy = field(default_factory=lambda: _REKEY)
    three_message: bool = False
    one_shot: bool = False
    sends_alone: bool = False
    """Whether messages for the user are sealed alone too, instead of in a session."""
    shield: str = "responder"
    offline: bool = False
    require_verified: bool = False
    weak_string: str = "accept"
    """`refuse`: a session whose string somebody between can try out (decision 0089) never counts as verified."""
    tells_strength: bool = False
    """Whether the user is told which sessions hold against a quantum computer."""
    closed: bool = False
    """The settings could not be read: no session is made."""

    @property
    def needs_identity(self) -> bool:
        """Whether the contact needs a signing key of its own."""
        return self.own_key != "none" or self.three_message or self.one_shot or self.offline

    @property
    def vouched_only(self) -> bool:
        """Whether a key that nobody vouches for is refused: something is pinned, and a key must be shown."""
        some = self.vouchers.fingerprints or self.vouchers.authorities or self.vouchers.openpgp
        return bool(some) and "none" not in self.public_keys

    @property
    def names_peers(self) -> bool:
        """Whether sessions are with somebody whom the operator or a comparison named, and with nobody else."""
        return self.require_verified or self.vouched_only or self.password is not None

    def counts(self, session: Session) -> bool:
        """Whether the session counts as verified."""
        return session.verified and not (session.weak_string and self.weak_string == "refuse")

    def terms(
        self, require: Assurance, identities: tuple[Identity, ...] = (), known: tuple[PublicIdentity, ...] = ()
    ) -> Terms:
        """What may truthfully be agreed (docs/decisions/0032-disclosure-and-logging.md), as the operator asks."""
        hidden = require in (Assurance.END_TO_END, Assurance.END_TO_END_NO_FORWARD_SECRECY)
        signing = (SignAlgorithm.ED25519, SignAlgorithm.RSA, *((SignAlgorithm.DSA,) if self.dsa else ()))
        return Terms(
            disclosure=("never",) if hidden else ("enabled",),
            groups=self.groups,
            ciphers=self.ciphers,
            hashes=self.hashes,
            kems=() if self.post_quantum == "off" else _DEFAULTS.kems,
            require_hybrid=self.post_quantum == "require",
            stanzas=self.stanzas,
            rekey_freq=LEAST_BETWEEN,
            password=self.password,
            identity=identities[0] if identities else None,
            other_identities=identities[1:],
            own_keys=self._own_keys() if identities else ("none",),
            peer_keys=self.public_keys,
            known_keys=known,
            sign_algs=signing,
            three_message=(self.three_message or self.one_shot) and bool(identities),
            shield=self.shield if identities and self.password is None else "responder",
        )

    def _own_keys(self) -> tuple[str, ...]:
        """`none` last: who does not ask for a key is not shown any. 3-message negotiations take a key only."""
        if self.own_key == "hash":
            return METHODS if self.three_message or self.one_shot else ("hash", "none")
        return ("none",) if not (self.own_key == "key" or self.three_message or self.one_shot) else ("key", "none")


def policy_of(contact: ContactPolicy) -> SessionPolicy:
    """The settings of a contact; `CLOSED` when they cannot be read."""
    if not contact.options:
        return _NONE
    known = _READ.get(contact.alias)
    if known is not None and known[0] is contact.options:
        return known[1]
    try:
        policy = read_policy(contact.options)
    except MalformedPolicy:
        policy = CLOSED
    if len(_READ) >= _MOST_READ:
        _READ.pop(next(iter(_READ)))
    _READ[contact.alias] = contact.options, policy
    return policy


_NONE = SessionPolicy()
CLOSED = SessionPolicy(closed=True)
_MOST_READ = 4096
_READ: dict[str, tuple[Mapping[str, str], SessionPolicy]] = {}
"""What was read of the very same texts: certificates are not parsed for every stanza. New settings replace old ones."""


def read_policy(options: Mapping[str, str]) -> SessionPolicy:
    """Read flat texts; names that are not known here are left alone. Raises MalformedPolicy."""
    policy = None
    try:
        policy = _read(options)
        policy.terms(Assurance.END_TO_END)
    except (InsideError, ValueError):
        policy = None
    if policy is None:  # raised here: nothing of a password hangs on the exception's context
        raise MalformedPolicy
    return policy


def _read(options: Mapping[str, str]) -> SessionPolicy:
    vouchers = _vouchers(options)
    three_message = _one(options, "three-message", ("no", "yes")) == "yes"
    one_shot = _one(options, "one-shot", ("no", "yes", "send"))
    stanzas = _words(options, "stanzas", STANZAS, STANZAS)
    messages = _number(options, "rekey-messages", REKEY_STANZAS)
    minutes = _number(options, "rekey-minutes", REKEY_MINUTES)
    return SessionPolicy(
        groups=tuple(int(g) if g.isdecimal() else g for g in _words(options, "groups", GROUPS, ())) or _DEFAULTS.groups,
        ciphers=_words(options, "ciphers", CIPHERS, _DEFAULTS.ciphers),
        hashes=_words(options, "hashes", HASHES, _DEFAULTS.hashes),
        stanzas=tuple(dict.fromkeys(("message", *stanzas))),
        post_quantum=_one(options, "post-quantum", ("prefer", "require", "off")),
        password=password_octets(options["password"]) if "password" in options else None,
        public_keys=_words(options, "public-keys", METHODS, _usual_keys(vouchers, three_message or one_shot != "no")),
        own_key=_one(options, "own-key", ("none", "hash", "key")),
        vouchers=vouchers,
        dsa=_one(options, "dsa", ("no", "yes")) == "yes",
        rekey=RekeyPolicy(stanzas=messages or _MOST, interval_ms=(minutes or _MOST) * 60_000),
        three_message=three_message,
        one_shot=one_shot != "no",
        sends_alone=one_shot == "send",
        shield=_one(options, "shield", ("responder", "initiator")),
        offline=_one(options, "offline", ("no", "yes")) == "yes",
        require_verified=_one(options, "require-verified", ("no", "yes")) == "yes",
        weak_string=_one(options, "weak-string", ("accept", "refuse")),
        tells_strength="post-quantum" in options,
    )


def _usual_keys(vouchers: Vouchers, short: bool) -> tuple[str, ...]:
    """What is asked for unless the operator says: a key, where one is configured; one or none, where some need it."""
    if vouchers.fingerprints or vouchers.authorities or vouchers.openpgp:
        return ("key", "hash")
    return METHODS if short else ("none",)


def _vouchers(options: Mapping[str, str]) -> Vouchers:
    ca, own = options.get("ca"), options.get("certificate")
    openpgp = options.get("openpgp")
    return Vouchers(
        fingerprints=tuple(pinned(word) for word in options.get("fingerprints", "").split()),
        authorities=read_pem(ca.encode()) if ca else read_pem(own.encode())[-1:] if own else (),
        certificates=read_pem(own.encode()) if own else (),
        openpgp=(base64.b64decode(openpgp, validate=True),) if openpgp else (),
    )


def _words(options: Mapping[str, str], name: str, among: Iterable[str], otherwise: tuple[str, ...]) -> tuple[str, ...]:
    text = options.get(name)
    if text is None:
        return otherwise
    found = tuple(text.split())
    if not found or not set(found) <= set(among):
        raise MalformedPolicy
    return found


def _one(options: Mapping[str, str], name: str, among: tuple[str, ...]) -> str:
    """The first is the default."""
    found = options.get(name, among[0])
    if found not in among:
        raise MalformedPolicy
    return found


def _number(options: Mapping[str, str], name: str, otherwise: int) -> int:
    text = options.get(name)
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= _MOST):
        raise MalformedPolicy
    return int(text)


__all__ = ["CLOSED", "MalformedPolicy", "SessionPolicy", "policy_of", "read_policy"]
