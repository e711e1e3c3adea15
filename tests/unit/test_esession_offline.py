"""Offline ESessions between two ends (XEP-0187): what is published, sent, taken, and what is refused."""

from dataclasses import replace

import pytest

from crypto.errors import Misuse
from crypto.esession import names
from crypto.esession.forms import base64, decoded
from crypto.esession.identities import sign
from crypto.esession.normal_form import CANONICAL, normal_form
from crypto.esession.offline_accepting import offline_form, taken
from crypto.esession.offline_content import created, created_ms, ends, opened, sealed
from crypto.esession.offline_keys import options_digest
from crypto.esession.offline_options import JID, OPTIONS, SIGNATURES, Audience, Offer, read_options
from crypto.esession.offline_publishing import LIFETIME_MS, MAX_SETS, MAX_USES, SKEW_MS, Lifetime, Shelf, publish, uses
from crypto.esession.offline_refusals import OfflineFlaw, OfflineRefusal
from crypto.esession.offline_sending import LONGEST_MS, begin, choose
from crypto.esession.offline_time import DAY_MS, MINUTE_MS, read_time, write_time
from crypto.esession.payloads import termination
from crypto.esession.suite import Suite
from crypto.primitives.integers import from_octets, mpi
from crypto.primitives.modp import GROUPS
from crypto.xml import Element, parse, parse_content
from tests.unit.esession_keys import ed25519, rsa
from tests.unit.offline_world import (
    BODY,
    FAST,
    NOW,
    PLAIN,
    Dice,
    Publisher,
    Sender,
    follow_up,
    message,
    with_field,
    with_form,
    without_field,
)


def flaw_of(refused: pytest.ExceptionInfo[OfflineRefusal]) -> OfflineFlaw:
    return refused.value.flaw


def resigned(publisher: Publisher, form: Element) -> Element:
    """The form as the publisher itself would have signed it."""
    bare = without_field(form, SIGNATURES)
    return with_field(bare, SIGNATURES, base64(sign(publisher.identity, normal_form(bare, CANONICAL))))


# ---------------------------------------------------------------------------------------------------- it works
@pytest.mark.parametrize(
    "offer",
    [
        PLAIN,
        FAST,
        Offer(),
        Offer(groups=("14",), hashes=("sha384",), ciphers=("aes192-ctr",)),
        Offer(groups=("15",), hashes=("sha3-512",), kems=()),
    ],
    ids=["as-the-xep", "x25519", "default", "sha384", "sha3"],
)
def test_what_is_sealed_to_options_is_opened_by_their_publisher(offer: Offer) -> None:
    alice, bob = Publisher(), Sender(offer=offer)
    stanza = message(bob.write(alice.publish(offer)))
    introduction = alice.introduced(stanza)
    assert introduction.identity == bob.identity.public
    assert introduction.ended
    found = alice.take(stanza)
    assert found.content[0].text == "Hello, Alice!"
    assert found.way is None


@pytest.mark.parametrize(("one", "other"), [("rsa", "ed25519"), ("ed25519", "rsa"), ("rsa", "rsa")])
def test_either_end_may_have_either_kind_of_key(one: str, other: str) -> None:
    keys = {"rsa": rsa, "ed25519": ed25519}
    alice = Publisher(identity=keys[one]("alice"))
    bob = Sender(identity=keys[other]("bob"), known=(alice.identity.public,))
    assert alice.take(message(bob.write(alice.publish()))).content[0].text == "Hello, Alice!"


def test_one_set_serves_many_senders_and_many_stanzas() -> None:
    alice = Publisher()
    form = alice.publish()
    for name in ("bob", "carol", "dave"):
        sender = Sender(identity=ed25519(name), dice=Dice(name))
        for _ in range(2):
            stanza = message(sender.write(form))
            assert alice.introduced(stanza).identity == ed25519(name).public
            alice.take(stanza)
    assert uses(alice.newest) == 6


def test_options_may_be_signed_with_several_keys_of_which_one_is_known() -> None:
    alice = Publisher()
    kept, form = publish(FAST, (ed25519("old"), alice.identity), Lifetime(NOW, NOW + DAY_MS), alice.dice)
    alice.shelf = Shelf((kept,))
    bob = Sender()
    assert bob.judged(form) is not None
    assert alice.take(message(bob.write(form))).content


def test_a_session_may_go_on_until_the_sender_ends_it() -> None:
    alice, bob = Publisher(), Sender()
    begun = bob.write(alice.publish(), once=False)
    found = alice.take(message(begun))
    assert begun.way is not None
    assert found.way is not None
    way, c = sealed(begun.way, b"<body>second</body>")
    after, content = opened(found.way, follow_up(c), now_ms=NOW)
    assert content[0].text == "second"
    assert not ends(content)
    _, last = sealed(way, termination())
    assert ends(opened(after, follow_up(last), now_ms=NOW)[1])


def test_a_session_may_begin_without_content() -> None:
    alice, bob = Publisher(), Sender()
    stanza = message(bob.write(alice.publish(), once=False))
    empty = replace(stanza, children=stanza.children[:1])
    found = alice.take(empty)
    assert found.content == ()
    assert found.way is not None


def test_content_says_when_it_was_written() -> None:
    alice, bob = Publisher(), Sender()
    content = alice.take(message(bob.write(alice.publish()))).content
    assert created_ms(content) == NOW
    assert created_ms(parse_content(b"<body>x</body>")) is None
    assert created_ms(parse_content(created(NOW).replace(b"2027", b"20x7"))) is None


def test_no_secret_of_a_set_is_in_what_python_prints() -> None:
    alice = Publisher()
    alice.publish()
    printed = repr(alice.shelf)
    assert "secret" not in printed.replace("OptionSet", "")
    for kept in (*alice.newest.secrets, *alice.newest.kem_secrets):
        assert repr(kept.secret)[2:-1] not in printed


# ---------------------------------------------------------------------------------------------------- the options
def test_options_are_a_request_without_acceptance_and_keys() -> None:
    form = Publisher().publish(PLAIN)
    fields = [e.attribute("var") for e in form.elements]
    assert form.attribute("type") == "form"
    assert not {"accept", "init_pubkey", "resp_pubkey", "dhhashes", "sas_algs"} & set(fields)
    assert {"expires", "my_nonce", "dhkeys", "modp", "signs", "stanzas"} <= set(fields)
    assert fields[-1] == SIGNATURES


def test_options_for_one_resource_take_messages_only() -> None:
    offer = replace(FAST, stanzas=("message", "presence"))
    anywhere = read_options(Publisher().publish(offer))
    here = read_options(Publisher().publish(offer, match=True))
    assert anywhere.choices["stanzas"] == ("message", "presence")
    assert here.choices["stanzas"] == ("message",)
    assert here.resource == "pda"


@pytest.mark.parametrize(
    ("var", "values"),
    [
        ("accept", ("1",)),
        ("dhhashes", ("AAAA",)),
        ("sas_algs", ("sas28x5",)),
        ("expires", ("soon",)),
        ("expires", ("2027-02-30T00:00:00Z",)),
        ("stanzas", ("message", "iq")),
        ("my_nonce", ("AAA=",)),
        ("my_nonce", ("not base64",)),
        ("rekey_freq", ("0",)),
        ("rekey_freq", ("4294967296",)),
        ("signs", ("AAAA",) * 5),
        ("match_resource", ("",)),
        ("match_resource", ("r" * 1024,)),
        (names.GROUP_KEYS, ("AAAA", "BBBB")),
        (names.GROUP, ("x25519", "x25519")),
        (names.KEM, ("ml-kem-768", "another")),
    ],
)
def test_malformed_options_are_refused(var: str, values: tuple[str, ...]) -> None:
    with pytest.raises(OfflineRefusal) as refused:
        read_options(with_field(Publisher().publish(), var, *values))
    assert flaw_of(refused) is OfflineFlaw.MALFORMED


@pytest.mark.parametrize(
    "var", ["expires", "my_nonce", names.GROUP_KEYS, "signs", "crypt_algs", "hash_algs", "ver", "rekey_freq", "stanzas"]
)
def test_options_without_a_field_that_they_need_are_refused(var: str) -> None:
    with pytest.raises(OfflineRefusal) as refused:
        read_options(without_field(Publisher().publish(), var))
    assert flaw_of(refused) is OfflineFlaw.MALFORMED


def test_options_with_a_required_field_that_nobody_knows_are_refused() -> None:
    form = Publisher().publish()
    required = Element(names.DATA, "field", (("var", "mystery"),), (Element(names.DATA, "required"),))
    with pytest.raises(OfflineRefusal):
        read_options(replace(form, children=(*form.children, required)))


def test_options_are_used_only_with_a_signature_of_a_known_key() -> None:
    form = Publisher().publish()
    for known in ((), (ed25519("mallory").public,), (rsa("alice").public,)):
        with pytest.raises(OfflineRefusal) as refused:
            Sender(known=known).judged(form)
        assert flaw_of(refused) is OfflineFlaw.UNSIGNED


def test_options_that_somebody_changed_are_not_used() -> None:
    alice = Publisher()
    form = alice.publish()
    later = write_time(NOW + 30 * DAY_MS)
    for var, value in (("expires", later), (names.GROUP_KEYS, base64(b"m" * 32)), ("match_resource", "evil")):
        with pytest.raises(OfflineRefusal) as refused:
            Sender().judged(with_field(form, var, value))
        assert flaw_of(refused) is OfflineFlaw.UNSIGNED


def test_options_are_not_used_when_they_have_expired_or_are_about_to() -> None:
    form = Publisher().publish()
    bob = Sender()
    assert bob.judged(form, now_ms=NOW + LIFETIME_MS - SKEW_MS - 1)
    for now_ms in (NOW + LIFETIME_MS - SKEW_MS, NOW + LIFETIME_MS, NOW + 2 * LIFETIME_MS):
        with pytest.raises(OfflineRefusal) as refused:
            bob.judged(form, now_ms=now_ms)
        assert flaw_of(refused) is OfflineFlaw.EXPIRED


def test_options_that_promise_to_live_absurdly_long_are_not_used() -> None:
    alice = Publisher()
    kept, form = publish(FAST, (alice.identity,), Lifetime(NOW, NOW + LONGEST_MS + 1000), alice.dice)
    assert kept.expires_ms > NOW
    with pytest.raises(OfflineRefusal) as refused:
        Sender().judged(form)
    assert flaw_of(refused) is OfflineFlaw.EXPIRED


def test_options_of_one_address_are_not_used_for_another() -> None:
    form = Publisher().publish()
    with pytest.raises(OfflineRefusal) as refused:
        Sender().judged(form, publisher="carol@example.org")
    assert flaw_of(refused) is OfflineFlaw.MISDIRECTED
    assert Sender().judged(form, publisher="Alice@example.org")
    assert Sender().judged(Publisher().publish(jid=None), publisher="carol@example.org")


def test_options_that_leave_no_choice_are_not_used() -> None:
    alice = Publisher()
    options = read_options(alice.publish())
    for offer in (
        Offer(groups=("14",)),
        Offer(ciphers=("aes192-ctr",)),
        Offer(hashes=("sha384",)),
        Offer(disclosure=("enabled",)),
        Offer(stanzas=("presence",)),
    ):
        with pytest.raises(OfflineRefusal) as refused:
            choose(options, offer, ed25519("bob").public)
        assert flaw_of(refused) is OfflineFlaw.UNACCEPTABLE
    only_rsa = read_options(alice.publish(replace(FAST, signatures=(rsa("bob").public.algorithm.value,))))
    with pytest.raises(OfflineRefusal):
        choose(only_rsa, FAST, ed25519("bob").public)
    assert choose(only_rsa, FAST, rsa("bob").public).suite.group == "x25519"


def test_the_publishers_first_choice_that_both_have_is_taken() -> None:
    theirs = Offer(groups=("x25519", "15"), ciphers=("aes128-ctr", "aes256-ctr"), hashes=("sha256", "sha512"))
    chosen = choose(read_options(Publisher().publish(theirs)), Offer(), ed25519("bob").public)
    assert chosen.suite == Suite("aes128-ctr", "sha256", "x25519", "ml-kem-768")


def test_a_peer_without_key_encapsulation_is_served_without() -> None:
    alice, bob = Publisher(), Sender(offer=replace(FAST, kems=()))
    assert alice.take(message(bob.write(alice.publish()))).content
    chosen = choose(read_options(Publisher().publish(replace(FAST, kems=()))), FAST, bob.identity.public)
    assert chosen.suite.kem is None


@pytest.mark.parametrize("value", [0, 1, GROUPS[14].prime - 1, GROUPS[14].prime, GROUPS[14].prime + 2])
def test_a_publishers_value_that_would_force_the_secret_is_not_used(value: int) -> None:
    alice, bob = Publisher(), Sender(offer=PLAIN)
    form = resigned(alice, with_field(alice.publish(PLAIN), "dhkeys", base64(mpi(value))))
    with pytest.raises(OfflineRefusal) as refused:
        bob.write(form)
    assert flaw_of(refused) is OfflineFlaw.OUT_OF_RANGE


def test_a_publishers_encapsulation_key_that_is_none_is_not_used() -> None:
    alice = Publisher()
    form = resigned(alice, with_field(alice.publish(), names.KEM_KEYS, base64(b"\xff" * 1184)))
    with pytest.raises(OfflineRefusal) as refused:
        Sender().write(form)
    assert flaw_of(refused) is OfflineFlaw.OUT_OF_RANGE


def test_nothing_impossible_is_offered() -> None:
    for wrong in ({"groups": ("2",)}, {"groups": ()}, {"stanzas": ("iq",)}, {"ciphers": ("rot13",)}, {"kems": ("x",)}):
        with pytest.raises(Misuse):
            Offer(**wrong)
    with pytest.raises(Misuse):
        Lifetime(NOW, NOW)
    with pytest.raises(Misuse):
        publish(FAST, (), Lifetime(NOW, NOW + 1000), Dice("a"))


# ---------------------------------------------------------------------------------------------------- what is refused
def test_a_stanza_is_taken_once() -> None:
    alice, bob = Publisher(), Sender()
    stanza = message(bob.write(alice.publish()))
    alice.take(stanza)
    with pytest.raises(OfflineRefusal) as refused:
        alice.introduced(stanza)
    assert flaw_of(refused) is OfflineFlaw.REPLAYED


def test_the_same_public_value_or_the_same_nonce_is_taken_once_by_a_set() -> None:
    alice, bob = Publisher(), Sender()
    form = alice.publish()
    for fixed in ("offline-exponent", "offline-nonce"):
        again = Dice(f"again-{fixed}")

        def draw(name: str, size: int, fixed: str = fixed, again: Dice = again) -> bytes:
            return b"7" * size if name == fixed else again(name, size)

        options = bob.judged(form)
        chosen = choose(options, bob.offer, bob.identity.public)
        alice.take(message(begin(options, chosen, bob.identity, BODY, draw, now_ms=NOW)))
        with pytest.raises(OfflineRefusal) as refused:
            alice.introduced(message(begin(options, chosen, bob.identity, BODY, draw, now_ms=NOW)))
        assert flaw_of(refused) is OfflineFlaw.REPLAYED


def test_a_stanza_that_was_refused_may_come_again_unharmed() -> None:
    alice, bob = Publisher(), Sender()
    stanza = message(bob.write(alice.publish()))
    introduction = alice.introduced(stanza)
    damaged = replace(stanza, children=(stanza.elements[0], message(bob.write(alice.publish())).elements[1]))
    with pytest.raises(OfflineRefusal) as refused:
        taken(introduction, alice.shelf, damaged, now_ms=NOW)
    assert flaw_of(refused) is OfflineFlaw.CONTENT
    assert alice.take(stanza).content


def test_nothing_is_decrypted_once_the_options_have_expired() -> None:
    alice, bob = Publisher(), Sender()
    stanza = message(bob.write(alice.publish()))
    assert alice.introduced(stanza, now_ms=NOW + LIFETIME_MS - 1)
    with pytest.raises(OfflineRefusal) as refused:
        alice.introduced(stanza, now_ms=NOW + LIFETIME_MS)
    assert flaw_of(refused) is OfflineFlaw.EXPIRED
    introduction = alice.introduced(stanza)
    with pytest.raises(OfflineRefusal) as late:
        taken(introduction, alice.shelf, stanza, now_ms=NOW + LIFETIME_MS)
    assert flaw_of(late) is OfflineFlaw.EXPIRED


def test_a_session_that_goes_on_ends_when_the_options_expire() -> None:
    alice, bob = Publisher(), Sender()
    begun = bob.write(alice.publish(), once=False)
    way = alice.take(message(begun)).way
    assert way is not None
    assert begun.way is not None
    with pytest.raises(OfflineRefusal) as refused:
        opened(way, follow_up(sealed(begun.way, BODY)[1]), now_ms=NOW + LIFETIME_MS)
    assert flaw_of(refused) is OfflineFlaw.EXPIRED


def test_stanzas_for_another_resource_are_refused_where_the_options_name_one() -> None:
    alice, bob = Publisher(), Sender()
    begun = bob.write(alice.publish(match=True))
    assert begun.resource == "pda"
    for resource in ("laptop", "", "PDA"):
        with pytest.raises(OfflineRefusal) as refused:
            alice.introduced(message(begun), resource=resource)
        assert flaw_of(refused) is OfflineFlaw.MISDIRECTED
    assert alice.take(message(begun)).content


def test_a_stanza_for_options_that_are_not_kept_is_refused() -> None:
    alice, bob = Publisher(), Sender()
    stanza = message(bob.write(alice.publish()))
    alice.shelf = Shelf()
    with pytest.raises(OfflineRefusal) as refused:
        alice.introduced(stanza)
    assert flaw_of(refused) is OfflineFlaw.UNKNOWN_OPTIONS


def test_an_answer_to_somebody_elses_copy_of_our_values_is_refused() -> None:
    """Eve signs Alice's values as hers and hands what is sealed to them on to Alice."""
    alice, eve = Publisher(), Publisher(identity=ed25519("eve"))
    copied = resigned(eve, with_field(alice.publish(), JID, "eve@example.org"))
    bob = Sender(known=(eve.identity.public,))
    options = bob.judged(copied, publisher="eve@example.org")
    chosen = choose(options, bob.offer, bob.identity.public)
    stanza = message(begin(options, chosen, bob.identity, BODY, bob.dice, now_ms=NOW))
    with pytest.raises(OfflineRefusal) as refused:
        alice.introduced(stanza)
    assert flaw_of(refused) is OfflineFlaw.MISDIRECTED


@pytest.mark.parametrize(
    ("var", "values", "flaw"),
    [
        ("crypt_algs", ("aes192-ctr",), OfflineFlaw.UNACCEPTABLE),
        ("hash_algs", ("md5",), OfflineFlaw.UNACCEPTABLE),
        ("disclosure", ("enabled",), OfflineFlaw.UNACCEPTABLE),
        ("security", ("c2s",), OfflineFlaw.UNACCEPTABLE),
        ("compress", ("zlib",), OfflineFlaw.UNACCEPTABLE),
        ("stanzas", ("iq",), OfflineFlaw.UNACCEPTABLE),
        ("ver", ("0.9",), OfflineFlaw.UNACCEPTABLE),
        ("logging", ("always",), OfflineFlaw.UNACCEPTABLE),
        ("rekey_freq", ("100",), OfflineFlaw.UNACCEPTABLE),
        ("rekey_freq", ("often",), OfflineFlaw.MALFORMED),
        (names.GROUP, ("14",), OfflineFlaw.UNACCEPTABLE),
        ("modp", ("14",), OfflineFlaw.UNACCEPTABLE),
        (names.KEM, ("another",), OfflineFlaw.UNACCEPTABLE),
        ("crypt_algs", ("aes256-ctr", "aes128-ctr"), OfflineFlaw.MALFORMED),
        ("nonce", (base64(b"12345678"),), OfflineFlaw.UNKNOWN_OPTIONS),
        ("nonce", ("?",), OfflineFlaw.MALFORMED),
        ("my_nonce", ("AA==",), OfflineFlaw.MALFORMED),
        ("counter", (base64(bytes(17)),), OfflineFlaw.MALFORMED),
        ("identity", ("",), OfflineFlaw.MALFORMED),
        ("mac", (base64(bytes(64)),), OfflineFlaw.UNPROVED),
        ("terminate", ("0",), OfflineFlaw.UNPROVED),
        ("dhkeys", (base64(bytes(32)),), OfflineFlaw.OUT_OF_RANGE),
        ("dhkeys", (base64(bytes(31)),), OfflineFlaw.OUT_OF_RANGE),
        (names.KEM_KEYS, (base64(bytes(1087)),), OfflineFlaw.OUT_OF_RANGE),
        (names.KEM_KEYS, (base64(bytes(1088)),), OfflineFlaw.UNPROVED),
        (OPTIONS, (base64(bytes(64)),), OfflineFlaw.MISDIRECTED),
    ],
)
def test_a_changed_answer_is_refused(var: str, values: tuple[str, ...], flaw: OfflineFlaw) -> None:
    alice, bob = Publisher(), Sender()
    stanza = message(bob.write(alice.publish()))
    x = offline_form(stanza)
    assert x is not None
    with pytest.raises(OfflineRefusal) as refused:
        alice.introduced(with_form(stanza, with_field(x, var, *values)))
    assert flaw_of(refused) is flaw
    assert alice.take(stanza).content, "the genuine one is still taken"


@pytest.mark.parametrize("value", [0, 1, GROUPS[14].prime - 1, GROUPS[14].prime, GROUPS[14].prime + 2])
def test_a_senders_value_that_would_force_the_secret_is_refused(value: int) -> None:
    alice, bob = Publisher(), Sender(offer=PLAIN)
    stanza = message(bob.write(alice.publish(PLAIN)))
    x = offline_form(stanza)
    assert x is not None
    with pytest.raises(OfflineRefusal) as refused:
        alice.introduced(with_form(stanza, with_field(x, "dhkeys", base64(mpi(value)))))
    assert flaw_of(refused) is OfflineFlaw.OUT_OF_RANGE


def test_a_value_with_leading_zeros_is_the_value_that_was_taken_already() -> None:
    alice, bob = Publisher(), Sender(offer=PLAIN)
    stanza = message(bob.write(alice.publish(PLAIN)))
    alice.take(stanza)
    x = offline_form(stanza)
    assert x is not None
    field = next(e for e in x.elements if e.attribute("var") == "dhkeys")
    value = from_octets(decoded("dhkeys", field.elements[0].text, 1, 1025))
    padded = with_field(x, "dhkeys", base64(b"\0" + mpi(value)))
    with pytest.raises(OfflineRefusal) as refused:
        alice.introduced(with_form(stanza, with_field(padded, "my_nonce", base64(b"another!"))))
    assert flaw_of(refused) is OfflineFlaw.REPLAYED


def test_the_answer_without_our_extension_is_taken() -> None:
    """A sender that knows the XEP only does not say which options it answers: what it proves is the same."""
    alice, bob = Publisher(), Sender(offer=PLAIN)
    options = bob.judged(alice.publish(PLAIN))
    chosen = choose(options, PLAIN, bob.identity.public)
    assert options_digest(chosen.suite, options.form)
    stanza = message(begin(options, chosen, bob.identity, BODY, bob.dice, now_ms=NOW))
    x = offline_form(stanza)
    assert x is not None
    with pytest.raises(OfflineRefusal) as refused:  # but what was said cannot be unsaid
        alice.introduced(with_form(stanza, without_field(x, OPTIONS)))
    assert flaw_of(refused) is OfflineFlaw.UNPROVED


def test_an_online_init_is_no_offline_stanza() -> None:
    x = "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE'><value>urn:xmpp:ssn</value></field></x>"
    stanza = f"<message xmlns='jabber:client'><init xmlns='{names.INIT}'>{x}</init></message>"
    assert offline_form(parse(stanza.encode())) is None
    assert offline_form(parse(b"<message xmlns='jabber:client'><body>x</body></message>")) is None


# ---------------------------------------------------------------------------------------------------- follow-ups
def test_further_stanzas_are_taken_in_order_and_once() -> None:
    alice, bob = Publisher(), Sender()
    begun = bob.write(alice.publish(), once=False)
    way = alice.take(message(begun)).way
    assert begun.way is not None
    assert way is not None
    sending, first = sealed(begun.way, b"<body>1</body>")
    sending, second = sealed(sending, b"<body>2</body>")
    with pytest.raises(OfflineRefusal) as skipped:
        opened(way, follow_up(second), now_ms=NOW)
    assert flaw_of(skipped) is OfflineFlaw.CONTENT
    way, _ = opened(way, follow_up(first), now_ms=NOW)
    with pytest.raises(OfflineRefusal) as repeated:
        opened(way, follow_up(first), now_ms=NOW)
    assert flaw_of(repeated) is OfflineFlaw.REPLAYED
    assert opened(way, follow_up(second), now_ms=NOW)[1][0].text == "2"


def test_content_that_is_no_xml_or_re_keys_is_refused() -> None:
    alice, bob = Publisher(), Sender()
    begun = bob.write(alice.publish(), once=False)
    way = alice.take(message(begun)).way
    assert begun.way is not None
    assert way is not None
    for broken in (b"<body>", b"text between"):
        with pytest.raises(OfflineRefusal) as refused:
            opened(way, follow_up(sealed(begun.way, broken)[1]), now_ms=NOW)
        assert flaw_of(refused) is OfflineFlaw.CONTENT
    for malformed in (b"", b"<data>AAAA</data>", b"<data>?</data><mac>AAAA</mac>"):
        c = b'<c xmlns="' + names.STANZA.encode() + b'">' + malformed + b"</c>"
        with pytest.raises(OfflineRefusal) as refused:
            opened(way, follow_up(c), now_ms=NOW)
        assert flaw_of(refused) is OfflineFlaw.CONTENT
    with pytest.raises(Misuse):
        sealed(begun.way, b"")


# ---------------------------------------------------------------------------------------------------- the shelf
def test_a_set_is_destroyed_when_its_time_is_over() -> None:
    alice = Publisher()
    alice.publish()
    alice.publish(now_ms=NOW + DAY_MS)
    assert len(alice.shelf.tended(NOW + LIFETIME_MS - 1).sets) == 2
    assert len(alice.shelf.tended(NOW + LIFETIME_MS).sets) == 1
    assert alice.shelf.tended(NOW + LIFETIME_MS + DAY_MS) == Shelf()
    assert alice.shelf.next_due_ms() == NOW + LIFETIME_MS
    assert Shelf().next_due_ms() == 0


def test_a_clock_that_was_put_back_destroys_sets_instead_of_prolonging_them() -> None:
    alice = Publisher()
    alice.publish()
    assert alice.shelf.tended(NOW - SKEW_MS) is alice.shelf
    assert alice.shelf.tended(NOW - SKEW_MS - 1) == Shelf()


def test_sets_for_subscribers_go_when_the_publisher_is_back() -> None:
    alice = Publisher()
    alice.publish(audience=Audience.SUBSCRIBERS)
    alice.publish(audience=Audience.EVERYONE)
    back = alice.shelf.withdrawn(Audience.SUBSCRIBERS, until_ms=NOW + 10 * MINUTE_MS)
    assert back.newest(Audience.SUBSCRIBERS) is not None, "what is on its way can still be read"
    kept = back.tended(NOW + 10 * MINUTE_MS)
    assert kept.newest(Audience.SUBSCRIBERS) is None
    assert kept.newest(Audience.EVERYONE) is not None


def test_no_more_sets_are_kept_than_are_needed() -> None:
    alice = Publisher()
    for _ in range(MAX_SETS + 2):
        alice.publish()
    assert len(alice.shelf.sets) == MAX_SETS


def test_a_set_serves_no_more_negotiations_than_are_remembered() -> None:
    alice, bob = Publisher(), Sender()
    stanza = message(bob.write(alice.publish()))
    full = replace(alice.newest, used=bytes(range(256)) * (MAX_USES * 32 // 256))
    assert uses(full) == MAX_USES
    alice.shelf = Shelf((full,))
    with pytest.raises(OfflineRefusal) as refused:
        alice.introduced(stanza)
    assert flaw_of(refused) is OfflineFlaw.USED_UP


# ---------------------------------------------------------------------------------------------------- times
@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2006-06-09T02:56:15Z", 1_149_821_775_000),
        ("2006-06-09T04:56:15.25+02:00", 1_149_821_775_250),
        ("2006-06-08T21:56:15.123456-05:00", 1_149_821_775_123),
        ("2024-02-29T12:00:00Z", 1_709_208_000_000),
        ("9999-12-31T23:59:59Z", 253_402_300_799_000),
    ],
)
def test_times_are_read_as_xmpp_writes_them(text: str, at_ms: int) -> None:
    assert read_time(text) == at_ms
    if text.endswith("Z"):
        assert write_time(at_ms) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2006-06-09",
        "2006-06-09T02:56:15",
        "2006-06-09 02:56:15Z",
        "2006-13-09T02:56:15Z",
        "2006-02-29T02:56:15Z",
        "2006-00-10T02:56:15Z",
        "2006-06-09T24:00:00Z",
        "2006-06-09T02:56:60Z",
        "2006-06-09T02:56:15.Z",
        "2006-06-09T02:56:15+2:00",
        "2006-06-09T02:56:15+24:00",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+01:00",
        "٢٠٠٦-06-09T02:56:15Z",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(OfflineRefusal) as refused:
        read_time(text)
    assert flaw_of(refused) is OfflineFlaw.MALFORMED
