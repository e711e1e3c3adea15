"""Attacks on the XMPP inside half by whoever carries the stanzas, or speaks from another of the user's resources."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from adapters.xmpp.inside_away import policy_for
from adapters.xmpp.inside_identities import known_of
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_state import Leg
from adapters.xmpp.names import ENCRYPTED
from crypto.esession import names, payloads
from crypto.esession.associations import Known, KnownKey
from crypto.esession.conversation import initiate
from crypto.esession.forms import read_form
from crypto.esession.identities import new_ed25519
from crypto.esession.offline_refusals import OfflineFlaw, OfflineRefusal
from crypto.esession.offline_sending import begin as begin_offline
from crypto.esession.offline_sending import choose
from crypto.esession.profiles import Profile
from crypto.esession.terms import Terms
from crypto.primitives.registry import GROUPS
from crypto.xml import parse, serialize
from tests.unit.companion_desk import Desk
from tests.unit.companion_peer import Bob, draw
from tests.unit.esession_keys import ed25519
from tests.unit.offline_world import Sender
from tests.unit.test_xmpp_held_sessions import decide, verified
from tests.unit.test_xmpp_offline import as_arrived
from tests.unit.test_xmpp_offline_half import from_alice, options_of, published_keys
from tests.unit.test_xmpp_offline_half import site as away
from tests.unit.test_xmpp_policy import ANOTHER, begin, showing, site_with
from tests.unit.xmpp_site import ALICE, BOB, Alice, Site

RESPONDED = "<received xmlns='urn:xmpp:receipts' id='{}'/>"


@dataclass
class Mallory(Alice):
    """Shares no secret, and sends the nonce and the hashes of somebody who did."""

    nonce: bytes = b""
    hashes: tuple[bytes, ...] = field(default=())

    def draw(self, name: str, size: int) -> bytes:
        """What was recorded, where it is chosen freely."""
        if name == "esession-nonce":
            return self.nonce
        return b"".join(self.hashes)[:size] if name == "esession-hashes" else super().draw(name, size)


def recorded(site: Site) -> Mallory:
    """Alice begins another session that continues the verified one; somebody on the way keeps what is in the clear."""
    seen: list[bytes] = []

    def keep(octets: bytes) -> bool:
        seen.append(octets)
        return False

    site.lost_from_alice = keep
    site.alice.start(Profile.LETTER, "recorded")
    site.run()
    site.lost_from_alice = lambda _: False
    found: dict[str, tuple[bytes, ...]] = {}
    for octets in seen:
        x = payloads.negotiation_form(parse(b"<message xmlns='jabber:client' " + octets.split(b" ", 1)[1]))
        for var in ("my_nonce", "rshashes"):
            if x is not None and read_form(x).field(var) is not None:
                found.setdefault(var, read_form(x).octet_strings(var, 1, 64))
    return Mallory(site.alice.jid, nonce=found["my_nonce"][0], hashes=found["rshashes"])


def test_who_repeats_hashes_of_secrets_cannot_have_messages_counted_as_delivered() -> None:
    """The chain seems to go on until the first stanza must be made, which only a holder of the secret can."""
    site = verified()
    mallory = recorded(site)
    site.resources(site.alice.jid)
    honest, site.alice = site.alice, mallory
    site.lost_from_alice = lambda octets: b"<error" in octets or b"<value>0</value>" in octets
    site.alice.start(Profile.DEPLOYED, "of-mallory")
    site.run()
    talk = (site.records.get(f"leg/{site.bob.id}", Leg) or Leg()).talk("of-mallory")
    assert talk is not None
    assert talk.active
    assert not talk.held
    site.lost = lambda _: True
    site.message("secret words", "$1")
    site.run()
    sent = [c for c in site.sent(ENCRYPTED) if c.trace][-1]
    mallory.write(RESPONDED.format(sent.values["id"].v).encode(), kind=None, thread=None, id_="r1")
    site.run()
    assert site.step.done == []
    assert "receipt-unauthenticated" in site.step.codes()
    assert honest.shown == []


def test_a_deployed_client_that_shares_the_secret_is_believed_once_it_was_heard() -> None:
    site = verified(Profile.DEPLOYED)
    site.message("words", "$1")
    site.run()
    assert site.step.done == [("bob", "$1")]


def test_distrust_ends_the_sessions_with_all_resources() -> None:
    site = Site().established()
    other = Alice(f"{ALICE}/other")
    site.others.append(other)
    site.resources(site.alice.jid, other.jid)
    other.start(Profile.LETTER, "of-other")
    site.run()
    decide(site, "distrust")
    site.run()
    leg = site.records.get(f"leg/{site.bob.id}", Leg)
    assert leg is not None
    assert not [t for t in leg.talks if t.active]
    site.message("words", "$1")
    assert other.copies == []


def test_distrust_takes_back_what_a_comparison_said_of_keys() -> None:
    site = Site().established()
    key = new_ed25519(b"m" * 32).public
    site.records.put("known", Known((KnownKey(key, (ALICE,), validated=True),)))
    decide(site, "distrust")
    assert not known_of(site.records).keys[0].validated


def test_a_session_that_begins_and_ends_with_one_stanza_does_not_hide_whose_key_it_showed() -> None:
    site = site_with({"three-message": "yes", "own-key": "key", "public-keys": "key"})
    begin(site, "first")
    mallory = Alice(f"{ALICE}/other")
    site.others.append(mallory)
    mallory.terms = showing(ANOTHER, peer_keys=("key",), shield="initiator")
    content = b"<body>words</body>" + payloads.termination()
    mallory._take(initiate("short", mallory.terms, mallory.draw, three_message=True, content=content), "short")
    site.run()
    assert site.bodies() == ["words"]
    assert "identity-changed" in site.step.codes()


@pytest.mark.parametrize("lacks", [{"sas_algs": (names.SAS,)}, {"rekey_freq": names.REKEY_FREQUENCY}])
def test_a_string_that_can_be_tried_out_and_keys_that_stay_are_weaker_than_before(lacks: dict[str, object]) -> None:
    site = Site().established()
    site.alice.terms = replace(site.alice.terms, **lacks)  # type: ignore[arg-type]
    assert "session-weaker" not in site.step.codes()
    site.alice.start(thread="weaker")
    site.run()
    assert site.step.codes().count("session-weaker") == 1


# ---------------------------------------------------------------- offline
def hybrid_away() -> Site:
    """Offline sessions with Bob's contact, where the operator requires what holds against a quantum computer."""
    at = away()
    at.bob = replace(at.bob, options={**at.bob.options, "post-quantum": "require"})
    at.step.account = replace(at.step.account, contacts=(at.bob, *at.step.account.contacts[1:]))
    at.start(resumed=True)
    return at


def test_what_is_sealed_offline_without_the_required_exchange_is_refused_and_nothing_is_sealed_so() -> None:
    at = hybrid_away()
    form, alice = options_of(at), Sender(identity=ed25519("alice"), known=tuple(published_keys(at)))
    options = alice.judged(form, now_ms=at.step.now, publisher=BOB)
    classical = replace(alice.offer, kems=())
    chosen = choose(options, classical, alice.identity.public)
    begun = begin_offline(options, chosen, alice.identity, b"<body>words</body>", alice.dice, now_ms=at.step.now)
    at.arrive(serialize(as_arrived(begun.init + begun.content)))
    assert at.bodies() == []
    assert "offline-unacceptable" in at.step.codes()
    with pytest.raises(OfflineRefusal) as refused:
        choose(replace(options, kems=()), replace(alice.offer, require_hybrid=True), alice.identity.public)
    assert refused.value.flaw is OfflineFlaw.UNACCEPTABLE
    assert policy_for(LegStep(at.step, at.bob)).offer.require_hybrid


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every exponentiation with a peer's value."""
    spent: list[int] = []
    groups = {type(group): group for group in GROUPS.values()}
    for kind in groups:
        real = kind.shared

        def shared(*args: object, real: Callable[..., bytes] = real) -> bytes:
            spent.append(1)
            return real(*args)

        monkeypatch.setattr(kind, "shared", shared)
    return spent


def test_forged_offline_stanzas_cannot_make_the_enclave_compute_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nonce of a set is public: whoever knows it could have an exponentiation for each stanza."""
    at = away()
    stanza = from_alice(at, "words")
    forged = stanza.replace(b"terminate", b"terminatf")
    spent = counted(monkeypatch)
    for _ in range(60):
        at.arrive(forged)
    assert len(spent) <= 25
    at.step.now += 60_000
    at.arrive(stanza)
    assert at.bodies() == ["words"]


@pytest.mark.parametrize("var", ["identity", "mac", "counter", names.KEM_KEYS])
def test_an_offline_stanza_that_lacks_something_costs_nothing(monkeypatch: pytest.MonkeyPatch, var: str) -> None:
    at = away()
    without = from_alice(at, "words").replace(f'var="{var}"'.encode(), b'var="nothing"')
    spent = counted(monkeypatch)
    at.arrive(without)
    assert "offline-malformed" in at.step.codes()
    assert not spent


# ---------------------------------------------------------------- the companion
def test_a_held_session_changes_nothing_that_the_companion_knows_of_the_peer() -> None:
    desk = Desk().online()
    desk.write("alpha")
    desk.command(f"verify bob {desk.bob.sas}")
    mallory = desk.bob = Bob()
    asked = initiate("ab" * 8, Terms(), draw, profile=Profile.DEPLOYED)
    desk.hear(*mallory._keep("ab" * 8, asked))
    peer = desk.peer
    assert peer.held is not None
    assert peer.profile is Profile.LETTER
    assert peer.authentic
