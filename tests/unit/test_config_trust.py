"""Which of a Matrix contact's devices are trusted, as the configuration says it."""

from pathlib import Path

import pytest

from bridge.config.handover import account_maps, assigned_slots
from bridge.errors import ConfigError
from bridge.probe.journey import _policy
from tests.unit.config_site import Site

REQUIRE = "require: end-to-end"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize("word", ["cross-signed", "verified", "any-device"])
def test_the_word_reaches_the_enclave_with_the_contact(site: Site, word: str) -> None:
    site.change((REQUIRE, f"trust: {word}"))
    loaded = site.load()
    (account,) = account_maps(loaded.config, assigned_slots(loaded.config.accounts), loaded.secrets)
    assert [(option.name, option.value) for option in account.contacts[0].options] == [("trust", word)]
    assert account.options == ()


def test_what_was_not_written_is_not_handed_over(site: Site) -> None:
    loaded = site.load()
    (account,) = account_maps(loaded.config, assigned_slots(loaded.config.accounts), loaded.secrets)
    assert account.contacts[0].options == ()


def test_another_word_is_a_mistake_with_the_choices(site: Site) -> None:
    site.change((REQUIRE, "trust: any-devise"))
    with pytest.raises(ConfigError) as raised:
        site.load()
    (problem,) = raised.value.problems
    assert problem.where == "accounts.alice.contacts.bob.trust"
    assert "any-devise" in problem.found
    assert "any-device" in problem.remedy


def test_elsewhere_than_on_matrix_it_is_a_mistake(site: Site) -> None:
    site.change(
        ('matrix: {user: "@alice:example.org", password_file: secrets/alice-matrix}', "loopback: {user: alice}"),
        ('"@bob:matrix.org"', "echo"),
        (REQUIRE, "require: none\n        trust: verified"),
    )
    with pytest.raises(ConfigError) as raised:
        site.load()
    (problem,) = raised.value.problems
    assert (problem.where, problem.code) == ("accounts.alice.contacts.bob.trust", "trust")
    assert "loopback" in problem.found


def test_check_names_the_contacts_whose_every_device_is_trusted(site: Site) -> None:
    site.change((REQUIRE, "trust: any-device"))
    hop = _policy(site.load().config)
    assert hop.state == "warning"
    assert "alice/bob" in hop.found
