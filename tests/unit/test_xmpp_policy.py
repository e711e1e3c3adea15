"""The XMPP inside half: what the operator asks of sessions, and the keys that stand behind them."""

import dataclasses
from collections.abc import Mapping

import pytest

from adapters.xmpp.inside_identities import Own, known_of
from adapters.xmpp.inside_policy import CLOSED, MalformedPolicy, policy_of, read_policy
from adapters.xmpp.names import NEGOTIATE, NOTICE, PLAIN
from adapters.xmpp.pep.names import FETCH, OPTIONS, PUBLISH, RETRACT
from bridge.wire.values import Code
from crypto.esession.identities import Identity, new_ed25519, new_rsa
from crypto.esession.key_values import SignAlgorithm
from crypto.esession.passwords import password_octets
from crypto.esession.session import Session
from crypto.esession.terms import Terms
from crypto.message import Assurance
from tests.unit.xmpp_site import ALICE, Alice, Site, contact

ALICES = new_ed25519(b"a" * 32)
ANOTHER = new_ed25519(b"b" * 32)


def site_with(options: Mapping[str, str]) -> Site:
    """A site whose contact has these settings."""
    site = Site()
    site.bob = dataclasses.replace(contact(), options=dict(options))
    site.step.account = dataclasses.replace(site.step.account, contacts=(site.bob,))
    return site


def showing(identity: Identity | None, **more: object) -> Terms:
    """Terms of a client with a key."""
    return dataclasses.replace(
        Terms(groups=(14,), identity=identity, peer_keys=("none", "key"), own_keys=("key",) if identity else ("none",)),
        **more,  # type: ignore[arg-type]
    )


def session_of(site: Site) -> Session:
    """The client's current session."""
    session = site.alice.conversations[site.alice.current or ""].session
    assert session is not None
    return session


def begin(site: Site, thread: str = "t", identity: Identity | None = ALICES) -> Site:
    """The client asks for a session, showing a key."""
    site.alice.terms = showing(identity)
    site.alice.start(thread=thread)
    site.run()
    return site


def notices(site: Site) -> list[str]:
    """Codes of what the user was told."""
    return [c.values["code"].v for c in site.sent(NOTICE) if isinstance(c.values["code"], Code)]


# ---------------------------------------------------------------- reading
def test_settings_become_terms() -> None:
    policy = read_policy(
        {
            "groups": "x25519 16",
            "ciphers": "aes128-ctr",
            "hashes": "sha512 sha256",
            "stanzas": "message iq",
            "post-quantum": "require",
            "rekey-messages": "5",
            "rekey-minutes": "60",
            "password": "cafe\u0301 ",
            "public-keys": "hash key",
            "own-key": "key",
            "dsa": "yes",
        }
    )
    terms = policy.terms(Assurance.END_TO_END, (ALICES,))
    assert (terms.groups, terms.ciphers, terms.hashes) == (("x25519", 16), ("aes128-ctr",), ("sha512", "sha256"))
    assert (terms.stanzas, terms.require_hybrid, terms.rekey_freq) == (("message", "iq"), True, 1)
    assert terms.password == "caf\xe9".encode()
    assert (terms.peer_keys, terms.own_keys, terms.identity) == (("hash", "key"), ("key", "none"), ALICES)
    assert SignAlgorithm.DSA in terms.sign_algs
    assert (policy.rekey.stanzas, policy.rekey.interval_ms) == (5, 3_600_000)


def test_without_settings_sessions_are_as_they_always_were() -> None:
    terms = policy_of(contact()).terms(Assurance.END_TO_END)
    assert (terms.groups, terms.identity, terms.peer_keys, terms.password) == (
        (14, 15, 16, 17, 18),
        None,
        ("none",),
        None,
    )
    assert (terms.disclosure, terms.three_message, terms.require_hybrid) == (("never",), False, False)
    assert policy_of(contact()).terms(Assurance.NONE).disclosure == ("enabled",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("groups", "1"),
        ("groups", "14 14"),
        ("groups", ""),
        ("ciphers", "none"),
        ("hashes", "md5"),
        ("stanzas", "all"),
        ("post-quantum", "perhaps"),
        ("rekey-messages", "-1"),
        ("rekey-minutes", "1e3"),
        ("password", ""),
        ("public-keys", "any"),
        ("own-key", "both"),
        ("fingerprints", "abc"),
        ("ca", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("openpgp", "%%%"),
        ("dsa", "true"),
        ("three-message", "1"),
        ("shield", "nobody"),
        ("require-verified", "maybe"),
        ("weak-string", "perhaps"),
    ],
)
def test_settings_that_cannot_be_read_make_no_session_and_are_not_guessed(name: str, value: str) -> None:
    with pytest.raises(MalformedPolicy) as raised:
        read_policy({"password": "hidden words", name: value})
    assert raised.value.__context__ is None
    assert "hidden words" not in repr(raised.value)
    site = site_with({name: value})
    assert policy_of(site.bob) is CLOSED
    site.resources(site.alice.jid)
    site.alice.start()
    site.message("waits", "$1", site.bob)
    site.run()
    site.wait(60)
    assert site.alice.current is None
    assert not site.sent(NEGOTIATE, PLAIN)
    assert "policy-malformed" in site.step.codes()


def test_a_password_is_not_shown() -> None:
    assert "hidden words" not in repr(read_policy({"password": "hidden words"}))


# ---------------------------------------------------------------- agreed
def test_a_session_with_a_password_needs_the_same_password() -> None:
    site = site_with({"password": "a word"})
    site.alice.terms = Terms(groups=(14,), password=password_octets("a word"))
    site.established()
    site.alice.say("hello", "a1")
    site.run()
    assert site.bodies() == ["hello"]
    other = site_with({"password": "a word"})
    other.alice.terms = Terms(groups=(14,), password=password_octets("another"))
    other.alice.start()
    other.run()
    if other.alice.current:
        other.alice.say("hello", "a1")
        other.run()
    assert other.bodies() == []


def test_who_cannot_hold_against_a_quantum_computer_is_refused_where_that_is_required() -> None:
    site = site_with({"post-quantum": "require"})
    site.alice.terms = Terms(groups=(14,), kems=())
    site.alice.start()
    site.run()
    assert site.alice.current is None
    site.alice.terms = Terms(groups=(14,))
    site.established()
    assert session_of(site).agreed.hybrid


def test_the_user_is_told_which_sessions_hold_against_one_where_that_is_asked_for() -> None:
    for kems, code in (((), "session-classical"), (("ml-kem-768",), "session-quantum-safe")):
        site = site_with({"post-quantum": "prefer"})
        site.alice.terms = Terms(groups=(14,), kems=kems)
        site.established()
        assert notices(site) == [code]


def test_a_session_that_is_weaker_than_the_one_before_is_told() -> None:
    site = Site().established()
    site.alice.terms = Terms(groups=(14,), kems=())
    site.alice.start(thread="weaker")
    site.run()
    assert "session-weaker" in site.step.codes()
    assert notices(site) == ["identity-weaker"]


def test_keys_are_made_anew_as_often_as_is_asked_for() -> None:
    site = site_with({"rekey-messages": "5"})
    site.alice.terms = Terms(groups=(14,), rekey_freq=1)
    site.established()
    for n in range(20):
        site.message(f"m{n}", f"${n}", site.bob)
        site.run()
    assert site.alice.shown == [f"m{n}" for n in range(20)]
    rekeying = session_of(site).rekeying
    assert rekeying is not None
    assert rekeying.received >= 2


def test_keys_are_made_anew_in_silence_when_their_time_has_come() -> None:
    site = site_with({"rekey-minutes": "5"})
    site.alice.terms = Terms(groups=(14,), rekey_freq=1)
    site.established()
    site.message("one", "$1", site.bob)
    site.run()
    before = session_of(site).rekeying
    site.wait(600)
    after = session_of(site).rekeying
    assert before is not None
    assert after is not None
    assert after.received > before.received
    site.message("two", "$2", site.bob)
    site.run()
    assert site.alice.shown == ["one", "two"]


# ---------------------------------------------------------------- verified only
def test_where_only_verified_sessions_will_do_the_first_is_held_until_it_is_compared() -> None:
    site = site_with({"require-verified": "yes"}).established()
    site.message("for the user", "$1", site.bob)
    site.alice.tell("mine", "a1")
    site.run()
    assert (site.alice.shown, site.bodies()) == ([], [])
    assert site.half.trust(site.step, site.bob, "verify") == "ok"
    site.wait(10)
    assert (site.alice.shown, site.bodies()) == (["for the user"], ["mine"])


# ---------------------------------------------------------------- the contact's key
def test_a_contact_has_keys_of_its_own_once_they_are_needed_and_keeps_them() -> None:
    site = site_with({"own-key": "key"})
    site.alice.terms = Terms(groups=(14,), peer_keys=("key",))
    site.established()
    own = site.records.get("identity/bob", Own)
    assert own is not None
    fingerprint = session_of(site).agreed.peer_fingerprint
    assert fingerprint is not None
    assert any(fingerprint == i.public.fingerprint(session_of(site).agreed.suite.hash) for i in own.identities)
    site.alice.start(thread="again")
    site.run()
    assert site.records.get("identity/bob", Own) == own
    assert "secret" not in repr(own)


def test_no_keys_are_made_where_none_are_asked_for() -> None:
    site = Site().established()
    assert not list(site.records.names("identity/"))


# ---------------------------------------------------------------- the user's key
def test_a_key_seen_for_the_first_time_is_told_once() -> None:
    site = begin(site_with({"public-keys": "key none"}))
    begin(site, "again")
    assert notices(site) == ["identity-new"]
    assert [k.public for k in known_of(site.records).keys] == [ALICES.public]


def test_another_key_than_before_is_told_every_time() -> None:
    site = begin(site_with({"public-keys": "key none"}))
    begin(site, "t2", ANOTHER)
    begin(site, "t3", ANOTHER)
    assert notices(site) == ["identity-new", "identity-changed", "identity-changed"]
    assert site.step.codes().count("identity-changed") == 2


def test_a_client_that_shows_no_key_any_more_is_told() -> None:
    site = begin(site_with({"public-keys": "key none"}))
    begin(site, "t2", None)
    assert "identity-weaker" in notices(site)


def test_the_contact_s_own_key_shown_by_the_user_is_another_s_key() -> None:
    site = site_with({"public-keys": "key none", "own-key": "key"})
    site.alice.terms = Terms(groups=(14,), peer_keys=("key",))
    site.established()
    own = site.records.get("identity/bob", Own)
    assert own is not None
    begin(site, "mirror", own.identities[0])
    assert "identity-elsewhere" in notices(site)


def test_a_pinned_key_makes_a_session_verified_and_another_is_refused() -> None:
    site = site_with({"fingerprints": ALICES.public.fingerprint().hex()})
    site.resources(site.alice.jid)
    begin(site)
    status = site.half.status(site.records, site.step.account)[0]
    assert (status.state, status.verified) == ("active", True)
    assert "session-vouched" in site.step.codes()
    assert notices(site) == []
    intruder = Site()
    intruder.bob, intruder.records, intruder.step = site.bob, site.records, site.step
    intruder.half = site.half
    intruder.alice = Alice(f"{ALICE}/other")
    begin(intruder, "forged", ANOTHER)
    assert intruder.alice.current is None
    begin(intruder, "without", None)
    assert intruder.alice.current is None


def test_a_key_whose_session_was_compared_is_the_user_s() -> None:
    site = begin(site_with({"public-keys": "key none"}))
    assert not any(k.validated for k in known_of(site.records).keys)
    site.do(lambda: _ok(site.half.trust(site.step, site.bob, "verify")))
    assert [k.validated for k in known_of(site.records).keys] == [True]


def _ok(code: str) -> None:
    assert code == "ok"


# ---------------------------------------------------------------- three messages, and one stanza alone
RSA = new_rsa(2048)


def test_a_session_of_three_messages_begins_where_that_is_allowed() -> None:
    for allowed in ("yes", "no"):
        site = site_with({"three-message": allowed, "own-key": "key", "public-keys": "key"})
        site.resources(site.alice.jid)
        site.alice.terms = showing(ALICES, peer_keys=("key",), shield="initiator")
        site.alice.start(thread="three")
        site.run()
        assert (site.alice.current is not None) is (allowed == "yes")
    site = site_with({"three-message": "yes", "own-key": "key", "public-keys": "key"})
    site.alice.terms = showing(ALICES, peer_keys=("key",), shield="initiator")
    site.alice.start(thread="three")
    site.run()
    site.alice.say("by three", "a1")
    site.run()
    assert site.bodies() == ["by three"]
    assert site.half.trust(site.step, site.bob, "verify") in ("ok", "no-string")


@pytest.mark.parametrize(("one_shot", "bodies"), [("yes", ["alone"]), ("no", [])])
def test_a_stanza_sealed_alone_is_taken_where_that_is_allowed(one_shot: str, bodies: list[str]) -> None:
    site = site_with({"one-shot": one_shot, "three-message": "yes", "own-key": "key", "public-keys": "key"})
    once(site, "alone")
    assert site.bodies() == bodies
    assert not list(site.records.names("session/"))


def test_a_stanza_sealed_alone_by_an_unknown_key_is_refused_once_a_string_was_compared() -> None:
    site = site_with({"one-shot": "yes", "own-key": "key", "public-keys": "key"})
    site.resources(site.alice.jid)
    begin(site)
    site.do(lambda: _ok(site.half.trust(site.step, site.bob, "verify")))
    once(site, "forged", ANOTHER)
    assert site.bodies() == []
    assert site.alice.errors[-1][1] == "policy-violation"
    once(site, "mine", ALICES)
    assert site.bodies() == ["mine"]


def once(site: Site, body: str, identity: Identity = ALICES) -> None:
    """The client seals one message, sends it and has no session."""
    from crypto.esession.conversation import initiate

    alice = site.alice
    alice.terms = showing(identity, peer_keys=("key",))
    thread = f"once-{body}"
    content = f"<body>{body}</body><origin-id xmlns='urn:xmpp:sid:0' id='{thread}'/>".encode()
    alice._take(initiate(thread, alice.terms, alice.draw, once=content), thread)
    site.run()


# ---------------------------------------------------------------- offline
def published(site: Site) -> int:
    """How often options were published."""
    return [c.values["node"] for c in site.sent(PUBLISH)].count(Code(v=OPTIONS))


def test_offline_options_are_published_once_the_user_s_key_is_known_and_taken_back_when_switched_off() -> None:
    options = {"offline": "yes", "fingerprints": ALICES.public.fingerprint().hex()}
    site = site_with(options)
    site.start(resumed=True)
    site.run()
    assert not site.sent(PUBLISH, RETRACT)
    begin(site)
    assert published(site) == 1
    site.start(resumed=True)
    site.run()
    assert published(site) == 1
    site.bob = dataclasses.replace(site.bob, options={**options, "offline": "no"})
    site.step.account = dataclasses.replace(site.step.account, contacts=(site.bob,))
    site.start(resumed=True)
    site.run()
    assert Code(v=OPTIONS) in [c.values["node"] for c in site.sent(RETRACT)]
    assert not list(site.records.names("offline/"))


def test_a_compared_session_makes_its_key_one_that_offline_sessions_go_by() -> None:
    site = begin(site_with({"offline": "yes", "public-keys": "key none"}))
    assert not site.sent(PUBLISH)
    site.do(lambda: _ok(site.half.trust(site.step, site.bob, "verify")))
    site.run()
    assert published(site) == 1


def test_while_the_user_is_away_their_published_options_are_asked_for() -> None:
    site = site_with({"offline": "yes", "fingerprints": ALICES.public.fingerprint().hex()})
    site.resources(site.alice.jid)
    begin(site)
    site.resources()
    site.message("for later", "$1", site.bob)
    site.run()
    assert len(site.sent(FETCH)) == 1
    assert b"for later" not in repr(site.carried).encode()
