"""OMEMO in the configuration: off unless it is asked for."""

from pathlib import Path

import pytest

from adapters.xmpp.inside_omemo_beside import beside_counts
from adapters.xmpp.inside_omemo_choice import protocols
from adapters.xmpp.inside_omemo_own import omemo_on
from adapters.xmpp.inside_omemo_trust import only_verified
from adapters.xmpp.inside_omemo_vouching import automatic
from bridge.config.handover import account_maps, assigned_slots
from bridge.errors import ConfigError
from crypto.enclave.chamber import policy_of
from tests.unit.config_site import Site

REQUIRE = "require: end-to-end"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def standing(site: Site) -> tuple[bool, bool]:
    """Whether Bob is an OMEMO device, and whether only verified devices count."""
    loaded = site.load()
    (account,) = account_maps(loaded.config, assigned_slots(loaded.config.accounts), loaded.secrets)
    bob = policy_of(account).contacts[0]
    return omemo_on(bob), only_verified(bob)


def test_it_is_off_unless_it_is_asked_for(site: Site) -> None:
    assert standing(site) == (False, False)


@pytest.mark.parametrize("word", ["on", "true"])
def test_it_may_be_on_for_an_account_and_off_for_a_contact(site: Site, word: str) -> None:
    account = ("    contacts:", f"    omemo: {{use: {word}, trust: verified-only}}\n    contacts:")
    site.change(account)
    assert standing(site) == (True, True)
    site.change(account, (REQUIRE, "omemo: {use: off}"))
    assert standing(site) == (False, True)


@pytest.mark.parametrize(
    ("account", "contact", "on"),
    [("", "", True), (", automatic: off", "", False), (", automatic: off", ", automatic: on", True)],
)
def test_devices_may_vouch_for_each_other_unless_it_is_turned_off(
    site: Site, account: str, contact: str, on: bool
) -> None:
    of_account = ("    contacts:", f"    omemo: {{use: on{account}}}\n    contacts:")
    site.change(of_account, (REQUIRE, f"omemo: {{use: on{contact}}}"))
    loaded = site.load()
    (mapped,) = account_maps(loaded.config, assigned_slots(loaded.config.accounts), loaded.secrets)
    assert automatic(policy_of(mapped).contacts[0]) is on


def test_the_order_of_protocols_reaches_the_enclave(site: Site) -> None:
    site.change((REQUIRE, "omemo: {use: on, protocols: [axolotl, esession]}"))
    loaded = site.load()
    (account,) = account_maps(loaded.config, assigned_slots(loaded.config.accounts), loaded.secrets)
    assert protocols(policy_of(account).contacts[0]) == ("axolotl", "esession")


def test_what_stands_beside_the_older_form_counts_where_it_is_asked_for(site: Site) -> None:
    def counts() -> bool:
        loaded = site.load()
        (account,) = account_maps(loaded.config, assigned_slots(loaded.config.accounts), loaded.secrets)
        return beside_counts(policy_of(account).contacts[0])

    for settings, wanted in (("use: on", False), ("use: on, beside: all", True), ("use: off, beside: all", False)):
        site.change((REQUIRE, f"omemo: {{{settings}}}"))
        assert counts() is wanted


@pytest.mark.parametrize(
    ("setting", "key", "right"),
    [
        ("use: maybe", "use", "on or off"),
        ("use: 1", "use", "on or off"),
        ("trust: blind", "trust", "blind-until-verified"),
        ("automatic: sometimes", "automatic", "on or off"),
        ("protocols: [openpgp]", "protocols", "omemo:2"),
        ("beside: everything", "beside", "receipts"),
        ("protocols: []", "protocols", "axolotl"),
    ],
)
def test_a_mistake_says_what_would_be_right(site: Site, setting: str, key: str, right: str) -> None:
    site.change((REQUIRE, f"omemo: {{{setting}}}"))
    with pytest.raises(ConfigError) as raised:
        site.load()
    (found,) = raised.value.problems
    assert found.where == f"accounts.alice.contacts.bob.omemo.{key}"
    assert right in found.remedy
