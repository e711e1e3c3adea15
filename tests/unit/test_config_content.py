"""What may pass beside text, as the configuration says it."""

from pathlib import Path

import pytest

from bridge.config.handover import account_maps, assigned_slots
from bridge.errors import ConfigError, Problem
from bridge.wire.control import AccountMap
from crypto.content import MIB, ContentPolicy
from crypto.enclave.chamber import policy_of
from tests.unit.config_site import Site

REQUIRE = "require: end-to-end"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def mapped(site: Site) -> AccountMap:
    """What the enclave is told of the account."""
    loaded = site.load()
    (account,) = account_maps(loaded.config, assigned_slots(loaded.config.accounts), loaded.secrets)
    return account


def problem(site: Site, setting: str) -> Problem:
    """What is wrong with a setting."""
    site.change((REQUIRE, f"content: {{{setting}}}"))
    with pytest.raises(ConfigError) as raised:
        site.load()
    (found,) = raised.value.problems
    return found


def test_what_was_written_reaches_the_enclave_and_a_contacts_own_holds_before_the_accounts(site: Site) -> None:
    switches = "reactions: true, retractions: false, receipts: false, typing: true, presence: true, profile: false"
    site.change(
        ("    contacts:", f"    content: {{{switches}, files: 20 MiB}}\n    contacts:"),
        (REQUIRE, "content: {reactions: false, files: off}"),
    )
    account = mapped(site)
    assert ("content-file-octets", str(20 * MIB)) in {(o.name, o.value) for o in account.options}
    policy = policy_of(account)
    assert ContentPolicy.of(policy.options) == ContentPolicy(True, False, False, True, True, False, 20 * MIB)
    bob = policy.contacts[0]
    assert ContentPolicy.of(bob.options) == ContentPolicy(False, False, False, True, True, False, 0)


def test_what_was_not_written_is_as_by_default(site: Site) -> None:
    account = mapped(site)
    assert account.options == ()
    assert ContentPolicy.of(policy_of(account).contacts[0].options) == ContentPolicy()


@pytest.mark.parametrize(("text", "octets"), [("1 KiB", 1024), ("20MiB", 20 * MIB), ("2 GiB", 2048 * MIB), ("off", 0)])
def test_sizes_have_a_unit(site: Site, text: str, octets: int) -> None:
    site.change((REQUIRE, f"content: {{files: {text}}}"))
    assert ContentPolicy.of(policy_of(mapped(site)).contacts[0].options).file_octets == octets


@pytest.mark.parametrize(
    ("setting", "key", "right"),
    [
        ("files: 100", "files", "100 MiB"),
        ("files: 100 MB", "files", "100 MiB"),
        ("files: 0 MiB", "files", "off"),
        ("files: 9999999 GiB", "files", "1024 GiB"),
        ("files: lots", "files", "100 MiB"),
        ("files: true", "files", "100 MiB"),
        ("reactions: 'yes'", "reactions", "true"),
        ("reaction: true", "reaction", "reactions"),
    ],
)
def test_a_mistake_says_what_would_be_right(site: Site, setting: str, key: str, right: str) -> None:
    found = problem(site, setting)
    assert found.where == f"accounts.alice.contacts.bob.content.{key}"
    assert right in found.remedy
