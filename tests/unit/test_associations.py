"""Which key belongs to whom, and what the user is warned of."""

import msgspec
import pytest

from crypto.errors import Misuse
from crypto.esession.associations import (
    MAX_KEYS,
    MAX_PETNAME,
    MAX_SEEN,
    Known,
    Verdict,
    accept,
    assess,
    by_fingerprint,
    forget,
    key_of,
    keys_of,
    named,
    remember,
)
from crypto.esession.identities import PublicIdentity
from crypto.esession.key_values import SignAlgorithm

ALICE, BOB = "alice@example.org", "bob@example.org"


def public(label: object) -> PublicIdentity:
    return PublicIdentity(SignAlgorithm.ED25519, str(label).encode())


ONE, TWO = public("one"), public("two")


def test_the_first_key_of_a_jid_is_new_and_then_the_same() -> None:
    assert assess(Known(), ALICE, ONE).verdicts == (Verdict.NEW,)
    known = remember(Known(), ALICE, ONE)
    assert assess(known, ALICE, ONE).verdicts == (Verdict.SAME,)
    assert not assess(known, ALICE, ONE).validated
    assert not assess(known, ALICE, ONE).warnings


def test_no_key_is_nothing_unless_one_was_expected() -> None:
    assert assess(Known(), ALICE, None).verdicts == ()
    known = remember(Known(), ALICE, ONE)
    assert assess(known, ALICE, None).warnings == (Verdict.ABSENT,)
    assert assess(known, BOB, None).verdicts == ()


def test_another_key_of_a_known_jid_warns_every_time_until_it_is_accepted() -> None:
    known = remember(Known(), ALICE, ONE)
    for _ in range(3):
        assert assess(known, ALICE, TWO).warnings == (Verdict.CHANGED,)
        known = remember(known, ALICE, TWO)
    assert assess(known, ALICE, ONE).verdicts == (Verdict.SAME,)
    known = accept(known, ALICE, TWO)
    assert assess(known, ALICE, TWO).verdicts == (Verdict.SAME,)
    assert assess(known, ALICE, ONE).warnings == (Verdict.CHANGED,)


def test_a_known_key_under_another_jid_warns_every_time_until_it_is_accepted() -> None:
    known = named(accept(Known(), ALICE, ONE, validated=True), ONE, "Alice at home")
    for _ in range(3):
        found = assess(known, BOB, ONE)
        assert found.warnings == (Verdict.SHARED,)
        assert not found.validated
        assert found.petname == "Alice at home"
        assert found.others == (ALICE,)
        known = remember(known, BOB, ONE)
    known = accept(known, BOB, ONE)
    assert assess(known, BOB, ONE).verdicts == (Verdict.SAME,)
    assert assess(known, BOB, ONE).others == (ALICE,)
    assert assess(known, ALICE, ONE).validated


def test_a_key_that_was_shown_in_vain_is_known_under_that_jid() -> None:
    known = remember(remember(Known(), ALICE, ONE), ALICE, TWO)
    assert assess(known, BOB, TWO).warnings == (Verdict.SHARED,)
    assert assess(known, BOB, TWO).others == (ALICE,)


def test_a_former_key_of_one_is_noticed_when_another_presents_it() -> None:
    known = accept(remember(Known(), ALICE, ONE), ALICE, TWO)
    assert assess(known, BOB, ONE).warnings == (Verdict.SHARED,)


def test_both_warnings_are_given_at_once() -> None:
    known = remember(remember(Known(), ALICE, ONE), BOB, TWO)
    assert assess(known, BOB, ONE).warnings == (Verdict.SHARED, Verdict.CHANGED)


def test_a_jid_can_have_several_keys_if_the_user_says_so() -> None:
    known = accept(accept(Known(), ALICE, ONE), ALICE, TWO, alone=False)
    assert {k.public for k in keys_of(known, ALICE)} == {ONE, TWO}
    assert assess(known, ALICE, ONE).verdicts == assess(known, ALICE, TWO).verdicts == (Verdict.SAME,)


def test_validation_stays() -> None:
    known = accept(accept(Known(), ALICE, ONE, validated=True), ALICE, ONE)
    assert assess(remember(known, ALICE, ONE), ALICE, ONE).validated


def test_a_key_is_found_by_its_fingerprint_of_any_hash() -> None:
    known = remember(remember(Known(), ALICE, ONE), BOB, TWO)
    assert by_fingerprint(known, ONE.fingerprint()) == ONE
    assert by_fingerprint(known, TWO.fingerprint("sha3-512"), hash_name="sha3-512") == TWO
    assert by_fingerprint(known, ONE.fingerprint(), hash_name="sha512") is None
    assert by_fingerprint(forget(known, ONE), ONE.fingerprint()) is None


def test_petnames_are_bounded_and_only_for_known_keys() -> None:
    known = named(remember(Known(), ALICE, ONE), ONE, "x" * 1000)
    key = key_of(known, ONE)
    assert key is not None
    assert key.petname == "x" * MAX_PETNAME
    assert named(known, TWO, "nobody") == known


def test_keys_shown_in_vain_push_out_only_those_of_the_same_jid() -> None:
    known = remember(remember(Known(), BOB, ONE), BOB, TWO)
    known = remember(known, ALICE, public("alice"))
    for number in range(5 * MAX_KEYS):
        known = remember(known, ALICE, public(number))
    assert len(known.keys) <= MAX_SEEN + 3
    assert assess(known, BOB, ONE).verdicts == (Verdict.SAME,)
    assert key_of(known, TWO) is not None
    assert assess(known, ALICE, public(0)).warnings == (Verdict.CHANGED,)


def test_a_full_record_gives_up_no_key_in_use() -> None:
    known = Known()
    for number in range(MAX_KEYS + 10):
        known = remember(known, f"{number}@example.org", public(number))
    assert len(known.keys) == MAX_KEYS
    assert assess(known, "0@example.org", public("other")).warnings == (Verdict.CHANGED,)
    with pytest.raises(Misuse):
        accept(known, ALICE, public("no room"))


def test_what_is_known_can_be_stored() -> None:
    known = named(remember(accept(Known(), ALICE, ONE, validated=True), BOB, ONE), ONE, "Alice")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(known), type=Known) == known
