"""What somebody who only listens can tell: who the two are, whether they met before, and what they said, later on."""

import base64
import re
from dataclasses import replace

import pytest

from crypto.esession import keys
from crypto.esession.conversation import Event
from crypto.esession.encrypted import read_encrypted
from crypto.esession.keys import Encapsulated, Role
from crypto.esession.profiles import TRAITS, Profile
from crypto.esession.suite import Suite
from crypto.esession.terms import Terms
from crypto.primitives.integers import from_octets
from crypto.xml import serialize
from rig.search import in_octets
from tests.unit.esession_keys import ed25519, keyed, rsa
from tests.unit.esession_world import End, message, negotiate, negotiate_three

BOB_SHOWS = ed25519("bob").public
BOTH = (Event.ESTABLISHED, Event.ESTABLISHED)
_VALUE = re.compile(r"<value>([A-Za-z0-9+/]{11,}={0,2})</value>")


def known_to_each_other(one: End, other: End) -> None:
    """Both have a key of each kind, and show it."""
    for end, own, peer in ((one, "alice", "bob"), (other, "bob", "alice")):
        terms = keyed(ed25519(own), ed25519(peer).public, rsa(peer).public)
        end.terms = replace(terms, groups=(14, "x25519"), kems=("ml-kem-768",))


def wire(*ends: End) -> list[str]:
    """All that passed."""
    return [serialize(message(r)).decode() for end in ends for outcome in end.outcomes for r in outcome.replies]


@pytest.mark.parametrize("three", [True, False])
def test_two_sessions_of_the_same_pair_share_no_value_on_the_wire(three: bool) -> None:
    """Not even hashes of the secret that both retained, of the keys that both show, or of public values."""
    seen: list[set[str]] = []
    first, second = End("alice"), End("bob")
    for _ in range(3):
        known_to_each_other(first, second)
        first.outcomes.clear()
        second.outcomes.clear()
        assert (negotiate_three if three else negotiate)(first, second) == BOTH
        seen.append({value for stanza in wire(first, second) for value in _VALUE.findall(stanza)})
        first.conversation = second.conversation = None
    assert all(len(values) >= 10 for values in seen)
    assert [seen[a] & seen[b] for a, b in ((0, 1), (0, 2), (1, 2))] == [set()] * 3


@pytest.mark.parametrize("how", ["key", "hash"])
@pytest.mark.parametrize("three", [True, False])
def test_a_key_is_never_shown_to_who_only_listens(three: bool, how: str) -> None:
    first, second = End("alice"), End("bob")
    known_to_each_other(first, second)
    for end in (first, second):
        end.terms = replace(end.terms, own_keys=(how,), peer_keys=(how,))
    assert (negotiate_three if three else negotiate)(first, second) == BOTH
    assert (first.outcomes[1].identity or first.last.identity) == BOB_SHOWS
    passed = "".join(wire(first, second))
    decoded = b"".join(base64.b64decode(value) for value in _VALUE.findall(passed) if len(value) % 4 == 0)
    assert b"KeyValue" not in decoded
    assert b"fingerprint" not in decoded
    for identity in (ed25519("alice"), rsa("alice"), ed25519("bob"), rsa("bob")):
        public = identity.public
        for octets in (public.key_value, public.fingerprint(), public.fingerprint("sha512")):
            assert in_octets([octets], "values", decoded) == []
            assert in_octets([octets], "stanzas", passed.encode()) == []


def test_who_breaks_the_diffie_hellman_exchange_of_a_recorded_hybrid_session_reads_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the Diffie-Hellman result in hand (a quantum computer, later) and everything that passed."""
    made: list[tuple[bytes, Suite, Encapsulated | None]] = []
    original = keys.key_from_exchange

    def spied(shared: bytes, suite: Suite, encapsulated: Encapsulated | None = None) -> bytes:
        made.append((shared, suite, encapsulated))
        return original(shared, suite, encapsulated)

    monkeypatch.setattr(keys, "key_from_exchange", spied)
    alice, bob = End("a", Terms(groups=(14,))), End("b")
    assert negotiate(alice, bob) == BOTH
    assert alice.session.agreed.hybrid
    counter = from_octets(alice.session.sending.counter)
    stanza = alice.send(b"<body>what was said</body>")
    data = read_encrypted(next(e for e in stanza.elements if e.name == "c")).data
    assert data is not None
    z, suite, encapsulated = made[0]
    assert encapsulated is not None

    def read(given: Encapsulated | None) -> bytes:
        final = keys.final_key(original(z, suite, given), None, None, suite)
        cipher = keys.direction_keys(final, Role.INITIATOR, TRAITS[Profile.LETTER], suite).cipher
        return suite.counter_mode(cipher, counter, data)

    assert read(encapsulated).startswith(b"<body>"), "whoever has the encapsulated secret as well reads it"
    for guess in (None, replace(encapsulated, secret=b""), replace(encapsulated, secret=bytes(32))):
        assert not read(guess).startswith(b"<body>")
