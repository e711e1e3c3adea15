"""Keys, certificates and associations under any input."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto.esession import openpgp
from crypto.esession.associations import MAX_KEYS, MAX_SEEN, Known, Verdict, accept, assess, remember
from crypto.esession.identities import PublicIdentity, new_ed25519, read, sign, verify
from crypto.esession.key_values import SignAlgorithm
from crypto.esession.openpgp import OpenPgpFlaw
from crypto.esession.presented import Identification, present, read_presented
from crypto.esession.suite import CIPHERS, GROUPS, HASHES, KEMS, NotAMember, Suite, exchange
from tests.unit.test_openpgp import MADE, PRIMARY, SUBKEY, M

KEYS = [PublicIdentity(SignAlgorithm.ED25519, bytes([n])) for n in range(6)]
JIDS = [f"{name}@example.org" for name in "abcd"]
steps = st.lists(st.tuples(st.sampled_from(JIDS), st.sampled_from(KEYS), st.booleans()), max_size=40)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100), st.sampled_from(["key", "hash"]))
def test_what_is_presented_is_read_and_verifies(draw: bytes, mac: bytes, how: str) -> None:
    own = new_ed25519(draw)
    found = read_presented(present(own, mac, Identification(how)), Identification(how))
    verify(found.public or own.public, mac, found.signature)
    assert found.public in (None, own.public)
    assert found.fingerprint in (None, own.public.fingerprint())
    assert read(own.public.key_value) == own.public
    assert sign(own, mac) == found.signature


@given(steps)
def test_an_unaccepted_key_never_becomes_the_same(history: list[tuple[str, PublicIdentity, bool]]) -> None:
    """A key is a JID's only when it was the first one, known nowhere else, or when the user accepted it."""
    known, own = Known(), dict[str, set[PublicIdentity]]()
    for jid, key, accepted in history:
        verdicts = assess(known, jid, key).verdicts
        assert (verdicts == (Verdict.SAME,)) is (key in own.get(jid, set()))
        if accepted:
            known = accept(known, jid, key)
            own[jid] = {key}
        else:
            known = remember(known, jid, key)
            if verdicts == (Verdict.NEW,):
                own.setdefault(jid, set()).add(key)
        for other in JIDS:
            absent = Verdict.ABSENT in assess(known, other, None).verdicts
            assert absent is bool(own.get(other))
        assert len(known.keys) <= MAX_KEYS
        assert all(len(k.seen) <= MAX_SEEN for k in known.keys)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.integers(min_value=0), st.integers(min_value=0, max_value=7))
def test_no_damaged_bit_of_a_certificate_makes_another_key_vouch(at: int, bit: int) -> None:
    """Flipping one bit either changes nothing that counts, or stops the certificate from vouching."""
    good = M.certificate(M.bound())
    at %= len(good)
    changed = good[:at] + bytes([good[at] ^ (1 << bit)]) + good[at + 1 :]
    for public in (PRIMARY, SUBKEY):
        found = openpgp.flaw(changed, public, MADE)
        assert found is None or found in set(OpenPgpFlaw)
    found_keys = [c.key.public for c in openpgp.read(changed) if c.key] if _readable(changed) else []
    for stranger in found_keys:
        if stranger is not None and stranger not in (PRIMARY, SUBKEY):
            assert openpgp.flaw(changed, stranger, MADE) is not None


def _readable(octets: bytes) -> bool:
    return openpgp.flaw(octets, PRIMARY, MADE) is not OpenPgpFlaw.UNREADABLE


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(sorted(GROUPS)), st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_both_ends_of_any_group_agree(name: str, one: bytes, other: bytes) -> None:
    group = exchange(name)
    x, y = group.secret(one), group.secret(other)
    assert group.shared(group.public(x), y) == group.shared(group.public(y), x)
    assert group.member(group.public(x)) == group.public(x)


@settings(deadline=None)
@given(st.sampled_from(sorted(GROUPS)), st.binary(max_size=1100))
def test_a_public_value_is_a_member_or_refused(name: str, octets: bytes) -> None:
    group = exchange(name)
    try:
        value = group.member(octets)
    except NotAMember:
        return
    assert group.member(value) == value


@given(
    st.sampled_from(sorted(CIPHERS)),
    st.integers(min_value=0, max_value=(1 << 128) - 1),
    st.binary(max_size=200),
    st.integers(min_value=0, max_value=40),
)
def test_any_cipher_takes_its_stream_from_anywhere(name: str, block: int, data: bytes, skip: int) -> None:
    suite = Suite(cipher=name)
    key = bytes(range(suite.key_octets()))
    whole = suite.counter_mode(key, block, bytes(skip) + data)
    assert suite.counter_mode(key, block, data, skip=skip) == whole[skip:]
    assert suite.counter_mode(key, block, suite.counter_mode(key, block, data)) == data


@pytest.mark.parametrize("name", sorted(HASHES))
def test_names_say_how_long_digests_are(name: str) -> None:
    assert Suite(hash=name).hash_octets * 8 == int(name.removeprefix("sha").rpartition("-")[2])


def test_the_preferred_algorithms_come_first() -> None:
    assert next(iter(CIPHERS)) == "aes256-ctr"
    assert next(iter(GROUPS)) == "x25519"
    assert list(GROUPS)[-1] == "5"
    assert list(KEMS) == ["ml-kem-768"]
