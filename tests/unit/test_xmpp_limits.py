"""The XMPP inside half: what negotiations may cost it, and who can make it pay."""

import re
from dataclasses import replace
from typing import Any

import gmpy2
import pytest

from adapters.xmpp.inside_limits import Pace, half_open
from adapters.xmpp.inside_stanzas import read_stanza
from adapters.xmpp.inside_state import MAX_HALF_OPEN, MAX_HALF_OPEN_IN_ACCOUNT, MAX_TALKS, Leg
from adapters.xmpp.names import ERROR
from bridge.wire.values import Code
from crypto.esession.conversation import initiate
from crypto.xml import serialize
from tests.unit.esession_keys import ed25519, keyed
from tests.unit.offline_world import Dice
from tests.unit.test_xmpp_offline import Table, alice_writes, write
from tests.unit.xmpp_site import ALICE, BOB, Alice, Site, contact


@pytest.fixture
def powers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size in bits of every modular exponentiation with a secret exponent."""
    done: list[int] = []
    real = gmpy2.powmod_sec

    def counted(base: Any, exponent: Any, modulus: Any) -> Any:
        done.append(int(modulus).bit_length())
        return real(base, exponent, modulus)

    monkeypatch.setattr(gmpy2, "powmod_sec", counted)
    return done


def request_of(sender: str, thread: str, to: str = BOB) -> bytes:
    """A request as its octets."""
    client = Alice(f"{ALICE}/desk")
    client.start(thread=thread)
    octets = client.outbox.pop()
    return octets.replace(client.jid.encode(), sender.encode()).replace(BOB.encode(), to.encode())


# ---------------------------------------------------------------- strangers
def test_a_stranger_s_stanza_never_reaches_an_exponentiation(powers: list[int]) -> None:
    site = Site()
    stanzas = [
        request_of("mallory@example.org/x", "t1"),
        request_of(f"{ALICE}.evil.example/x", "t2"),
        request_of(f"{ALICE}/desk", "t3", to="nobody@matrix.example.org"),
    ]
    answers = [s.replace(b"type='form'", b"type='submit'").replace(b'type="form"', b'type="submit"') for s in stanzas]
    powers.clear()
    for octets in (*stanzas, *answers):
        site.arrive(octets)
    assert powers == []
    site.arrive(request_of(f"{ALICE}/desk", "t4"))
    assert powers, "the count counts"


def test_what_is_malformed_or_out_of_place_never_reaches_one_either(powers: list[int]) -> None:
    site = Site()
    good = request_of(f"{ALICE}/desk", "t1")
    powers.clear()
    for octets in (
        good.replace(b"<value>14</value>", b"<value>99</value>"),
        good.replace(b'type="form"', b'type="result"').replace(b"type='form'", b"type='result'"),
        good.replace(b"dhhashes", b"dhashes"),
        good.replace(b"<thread>t1</thread>", b""),
        good.replace(b"type='form'", b"type='cancel'"),
    ):
        if octets != good:
            site.arrive(octets)
    assert powers == []


def test_answering_costs_one_exponentiation_and_a_second_only_for_who_goes_on(powers: list[int]) -> None:
    site = Site()
    octets = request_of(f"{ALICE}/desk", "t1")
    powers.clear()
    site.arrive(octets)
    assert powers == [2048]


# ---------------------------------------------------------------- pace
def test_a_flood_under_invented_names_leaves_the_user_s_own_client_its_share() -> None:
    site = Site()
    site.resources(site.alice.jid)
    for n in range(40):
        site.arrive(request_of(f"{ALICE}/invented{n}", f"f{n}"))
    assert site.step.codes().count("request-too-many") == 20
    site.step.take()
    site.alice.start(thread="mine")
    site.run()
    assert site.alice.current == "mine"


def test_one_client_that_asks_without_end_leaves_another_its_share() -> None:
    site = Site()
    site.resources(f"{ALICE}/mad", site.alice.jid)
    for n in range(40):
        site.arrive(request_of(f"{ALICE}/mad", f"f{n}"))
    site.step.take()
    site.alice.start(thread="mine")
    site.run()
    assert site.alice.current == "mine"


def test_all_known_clients_together_are_answered_so_often_and_not_more() -> None:
    site = Site()
    site.resources(*(f"{ALICE}/c{n}" for n in range(64)))
    for turn in range(6):
        for n in range(64):
            site.arrive(request_of(f"{ALICE}/c{n}", f"f{turn}-{n}"))
    answered = 6 * 64 - site.step.codes().count("request-too-many")
    pace = site.records.get("pace", Pace)
    assert pace is not None
    assert len(pace.shares) <= 8
    assert answered == 8 * 5 + 20
    refused = [c for c in site.step.take() if c.request == ERROR and c.values["code"] == Code(v="busy")]
    assert len(refused) == site.step.codes().count("request-too-many")


def test_a_request_that_costs_two_exponentiations_counts_twice() -> None:
    pace: Pace | None = Pace()
    spent = 0
    while pace is not None:
        pace = pace.used(1000, answers=2)
        spent += pace is not None
    assert spent == 10


@pytest.mark.parametrize("group", [14, "x25519"])
def test_a_request_of_three_messages_counts_twice_in_every_group(group: int | str) -> None:
    site = Site()
    settings = {"three-message": "yes", "public-keys": "key", "groups": str(group)}
    site.bob = replace(contact(), options=settings)
    site.step.account = replace(site.step.account, contacts=(site.bob,))
    terms = replace(keyed(ed25519("alice"), peer_keys=("key",)), groups=(group,))
    for n in range(24):
        asked = initiate(f"f{n}", terms, Dice(f"{n}"), three_message=True).replies[0].payload
        head = f"<message xmlns='jabber:client' from='{ALICE}/x{n}' to='{BOB}'><thread>f{n}</thread>".encode()
        site.arrive(head + asked + b"</message>")
    assert 24 - site.step.codes().count("request-too-many") == 10


def test_what_was_used_up_comes_back_with_time() -> None:
    pace = Pace()
    for _ in range(5):
        pace = pace.used(1000, known="a") or pytest.fail("the share is used up")
    assert pace.left_thousandths == 20_000
    pace = pace.used(1000, known="a") or pytest.fail("the bucket is used up")
    assert pace.left_thousandths == 19_000
    later = pace.used(5001, known="a")
    assert later is not None
    assert later.left_thousandths == 19_000


# ---------------------------------------------------------------- memory
def test_negotiations_that_one_client_leaves_half_open_are_few() -> None:
    site = Site()
    for n in range(12):
        site.arrive(request_of(f"{ALICE}/desk", f"t{n}"))
    leg = site.records.get("leg/bob", Leg)
    assert leg is not None
    assert half_open(leg) == MAX_HALF_OPEN
    assert len(list(site.records.names("session/bob/"))) == MAX_HALF_OPEN


def test_negotiations_left_half_open_are_few_in_the_whole_account() -> None:
    import dataclasses

    site = Site()
    many = tuple(contact(id_=f"c{n}") for n in range(20))
    site.step.account = dataclasses.replace(site.step.account, contacts=many)
    for turn in range(3):
        for n in range(20):
            site.step.now += 1100
            site.arrive(request_of(f"{ALICE}/x{turn}", f"t{turn}-{n}", to=f"c{n}@matrix.example.org"))
    opened = [site.records.get(name, Leg) for name in site.records.names("leg/")]
    assert sum(half_open(leg) for leg in opened if leg is not None) <= MAX_HALF_OPEN_IN_ACCOUNT
    assert "half-open-too-many" in site.step.codes()


def test_what_is_left_half_open_is_forgotten_in_time_with_everything() -> None:
    site = Site()
    site.arrive(request_of(f"{ALICE}/desk", "t1"))
    site.lost = lambda _: True
    site.wait(60)
    leg = site.records.get("leg/bob", Leg)
    assert leg is not None
    assert leg.talks == ()
    assert not list(site.records.names("session/"))
    assert len(leg.talks) <= MAX_TALKS


# ---------------------------------------------------------------- offline sessions
def test_stanzas_for_published_options_that_prove_nothing_are_tried_only_so_often(powers: list[int]) -> None:
    """Whoever may fetch the options knows what to name in a stanza; with them the account's bucket serves as well."""
    table = Table()
    table.renew()
    good, _ = write(table)
    forged = read_stanza(re.sub(rb"(var=.mac.[^>]*><value>)[^<]*", rb"\1" + b"A" * 86 + b"==", serialize(good)))
    assert forged != good
    for _ in range(60):
        assert table.receive(forged) is None
    tried = table.reports.count("offline-unproved")
    assert tried == 20, "the bucket of the account"
    assert table.reports.count("offline-too-many") == 40
    assert table.receive(good) is None, "like everything else until time has passed"
    table.step.now += 1000
    assert table.receive(good) is not None


def test_what_the_user_sealed_is_opened_however_much_it_is() -> None:
    table = Table()
    table.renew()
    for n in range(40):
        stanza, _ = write(table, sender=replace(alice_writes(), dice=Dice(f"{n}")))
        assert table.receive(stanza) is not None
    assert "offline-too-many" not in table.reports


def test_stanzas_of_foreign_keys_count_as_well() -> None:
    table = Table()
    table.renew()
    for _ in range(30):
        stanza, _ = write(table, sender=alice_writes("mallory"))
        assert table.receive(stanza) is None
    assert table.reports.count("offline-key-unknown") == 20
