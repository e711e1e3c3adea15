"""Adapters of other packages in the configuration: what each process is handed, and every mistake that can be made."""

import sys
from pathlib import Path

import pytest

from bridge.config.handover import enclave_configure, gateway_serve, halves, route_maps
from tests.unit.config_site import SECRETS, Site

NETWORK = """\
adapters:
  carrier:
    outside: lockgate_carrier.outside:CarrierOutside
    inside: lockgate_carrier.inside:CarrierInside
    assurance: transport
    settings: {host: 127.0.0.1}
    secret_files: {token: secrets/carrier-token}
accounts:
"""
LOGIN = "networks: {carrier: {address: alice, secret_files: {pin: secrets/alice-pin}}}"
BOB = """\
      bob:
        address: bob
        network: carrier
        require: transport
"""
TOKEN, PIN = "carrier-token-7f3a", "alice-pin-7f3a"
CHANGES = (
    ("accounts:\n", NETWORK),
    ('matrix: {user: "@alice:example.org", password_file: secrets/alice-matrix}', LOGIN),
    ('      bob:\n        address: "@bob:matrix.org"\n        require: end-to-end\n', BOB),
)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.secret("carrier-token", TOKEN)
    made.secret("alice-pin", PIN)
    made.change(*CHANGES)
    return made


def test_the_gateway_is_told_the_class_the_settings_and_the_secrets(site: Site) -> None:
    order = gateway_serve(site.load())
    networks = {n.network: {s.name: s.value for s in n.settings} for n in order.networks}
    assert networks["carrier"] == {
        "host": "127.0.0.1",
        "token": TOKEN,
        "adapter": "lockgate_carrier.outside:CarrierOutside",
    }
    (account,) = order.accounts
    assert [(far.network, far.address) for far in account.far_addresses] == [("carrier", "alice")]
    (credentials,) = account.credentials
    assert (credentials.network, {s.name: s.value for s in credentials.settings}) == ("carrier", {"pin": PIN})


def test_the_enclave_is_told_the_contact_and_no_secret_of_the_network(site: Site) -> None:
    loaded = site.load()
    order = enclave_configure(loaded, {"alice": 0})
    (contact, _gateway_itself) = order.accounts[0].contacts
    assert (contact.network, contact.address, contact.require) == ("carrier", "bob", "transport")
    assert halves(loaded.config, "carrier").inside == "lockgate_carrier.inside:CarrierInside"
    assert not [secret for secret in (TOKEN, PIN) if secret in order.model_dump_json()]


def test_no_representation_holds_a_secret(site: Site) -> None:
    loaded = site.load()
    for secret in (TOKEN, PIN, SECRETS["component"]):
        assert secret not in f"{loaded!r} {gateway_serve(loaded)!r} {route_maps(loaded.config, loaded.secrets)!r}"


def test_an_adapter_that_no_account_uses_is_not_loaded(site: Site) -> None:
    site.change(CHANGES[0])
    loaded = site.load()
    assert set(loaded.config.networks()) == {"matrix"}
    assert {n.network for n in gateway_serve(loaded).networks} == {"xmpp", "matrix"}


def test_an_account_may_have_built_in_networks_and_others(site: Site) -> None:
    site.change(
        CHANGES[0], ("    contacts:", f"    {LOGIN}\n    contacts:"), ("require", "network: matrix\n        require")
    )
    (account,) = enclave_configure(site.load(), {"alice": 0}).accounts
    assert {far.network for far in account.far_addresses} == {"matrix", "carrier"}
    assert account.contacts[0].network == "matrix"


def test_reading_the_configuration_imports_no_adapter(site: Site) -> None:
    site.load()
    assert not [name for name in sys.modules if name.startswith("lockgate_carrier")]


ADAPTER = "adapters.carrier"
CONTACT = "accounts.alice.contacts.bob"
OUTSIDE, INSIDE = "lockgate_carrier.outside:CarrierOutside", "lockgate_carrier.inside:CarrierInside"
Mistake = tuple[str, str, str, str, str, str]
MISTAKES: list[Mistake] = [
    # old, new, code, where, in what was found, in what would be right
    (OUTSIDE, "lockgate_carrier", "half", f"{ADAPTER}.outside", "is not a module", "lockgate_carrier.outside:Carrier"),
    (OUTSIDE, "outside:Carrier", "half", f"{ADAPTER}.outside", "of a package", "lockgate_carrier.outside:Carrier"),
    (OUTSIDE, "a..b:C", "half", f"{ADAPTER}.outside", "“a..b:C”", "lockgate_carrier.outside:Carrier"),
    (OUTSIDE, "a.outside:C=d", "half", f"{ADAPTER}.outside", "“a.outside:C=d”", "lockgate_carrier.outside:Carrier"),
    (OUTSIDE, INSIDE, "half", f"{ADAPTER}.outside", "refuses to load", "lockgate_carrier.outside:Carrier"),
    (OUTSIDE, "crypto.message:Message", "half", f"{ADAPTER}.outside", "the inside", "lockgate_carrier.outside"),
    (INSIDE, "a.insider:Half", "half", f"{ADAPTER}.inside", "called “inside”", "lockgate_carrier.inside:Carrier"),
    (INSIDE, "5", "wrong-type", f"{ADAPTER}.inside", "found a number", '"5"'),
    (f"    inside: {INSIDE}\n", "", "missing-key", f"{ADAPTER}.inside", "missing", "inside: lockgate_carrier"),
    ("    assurance: transport\n", "", "missing-key", f"{ADAPTER}.assurance", "missing", "assurance: end-to-end"),
    ("assurance: transport", "assurance: best", "not-a-choice", f"{ADAPTER}.assurance", "“best”", "Choices: end"),
    ("assurance: transport", "assurance: none", "require", f"{CONTACT}.require", "at most “none”", "require: none"),
    ("    settings: {", "    setings: {", "unknown-key", f"{ADAPTER}.setings", "no key", "“settings”"),
    ("    settings:", "    token: hunter2\n    settings:", "unknown-key", f"{ADAPTER}.token", "“token”",
     "secret_files: {token: PATH}"),
    ("127.0.0.1}", "127.0.0.1, port: 5222}", "wrong-type", f"{ADAPTER}.settings.port", "found a number", '"5222"'),
    ("127.0.0.1}", "127.0.0.1, Port: x}", "name", f"{ADAPTER}.settings.Port", "name of a setting", "“port” would do"),
    ("127.0.0.1}", "127.0.0.1, 2nd-Port: x}", "name", f"{ADAPTER}.settings.2nd-Port", "setting", "“nd_port”"),
    ("127.0.0.1}", "127.0.0.1, api_key: 4711}", "secret-setting", f"{ADAPTER}.settings.api_key", "not shown",
     "api_key: PATH"),
    ("127.0.0.1}", "127.0.0.1, password: hunter2}", "secret-setting", f"{ADAPTER}.settings.password", "a secret",
     "secret_files: {password: PATH}"),
    ("127.0.0.1}", "127.0.0.1, token: hunter2}", "duplicate-setting", f"{ADAPTER}.settings.token", "as well", "one"),
    ("127.0.0.1}", "127.0.0.1, adapter: x}", "setting-name", f"{ADAPTER}.settings.adapter", "“adapter”", "Remove"),
    ("{host: 127.0.0.1}", "{host: }", "empty", f"{ADAPTER}.settings.host", "no value", "host: 127.0.0.1"),
    ("{host: 127.0.0.1}", "127.0.0.1", "wrong-type", f"{ADAPTER}.settings", "found text", "settings: {"),
    ("secrets/carrier-token", "secrets/none", "secret-missing", f"{ADAPTER}.secret_files.token", "no file", "0600"),
    ("secrets/carrier-token", "hunter2", "secret-missing", f"{ADAPTER}.secret_files.token", "not shown", "0600"),
    ("secrets/alice-pin", "secrets/none", "secret-missing",
     "accounts.alice.networks.carrier.secret_files.pin", "there is no file", "0600"),
    ("  carrier:\n", "  matrix: {outside: a.outside:B, inside: a.inside:B, assurance: none}\n  carrier:\n", "built-in",
     "adapters.matrix", "“matrix” is built in", "another name"),
    ("  carrier:\n", "  xmpp: {outside: a.outside:B, inside: a.inside:B, assurance: none}\n  carrier:\n", "built-in",
     "adapters.xmpp", "“xmpp” is built in", "another name"),
    ("  carrier:\n", "  enclave: {outside: a.outside:B, inside: a.inside:B, assurance: none}\n  carrier:\n", "built-in",
     "adapters.enclave", "“enclave”", "another name"),
    ("  carrier:\n", "  Big_One: {outside: a.outside:B, inside: a.inside:B, assurance: none}\n  carrier:\n", "name",
     "adapters.Big_One", "name of a network", "“big-one” would do"),
    ("networks: {carrier:", "networks: {carier: {address: al}, carrier:", "no-adapter",
     "accounts.alice.networks.carier", "“carier”", "mean “carrier”"),
    ("networks: {carrier:", "networks: {loopback: {address: al}, carrier:", "built-in",
     "accounts.alice.networks.loopback", "“loopback” is built in", "loopback: {…} beside"),
    ("networks: {carrier: {address: alice,", "networks: {carrier: {", "missing-key",
     "accounts.alice.networks.carrier.address", "“address” is missing", "address: alice"),
    ("address: alice,", "address: al ice,", "address", "accounts.alice.networks.carrier.address", "white", "alice"),
    ("address: alice,", "address: bob,", "own-address", f"{CONTACT}.address", "own user", "the person"),
    ("address: bob\n", "address: b ob\n", "address", f"{CONTACT}.address", "white space", "“bob”"),
    ("network: carrier", "network: courier", "not-a-choice", f"{CONTACT}.network", "“courier”", "mean “carrier”"),
    ("network: carrier", "network: matrix", "no-login", f"{CONTACT}.network", "no login for “matrix”", "carrier"),
    (LOGIN, "networks: {}", "no-network", "accounts.alice", "no far network", "matrix:"),
    (LOGIN, "networks: []", "wrong-type", "accounts.alice.networks", "found a list", "carrier:"),
    (LOGIN, "networks:", "empty", "accounts.alice.networks", "no value", "carrier:"),
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake[2]}-{mistake[1]!r:.40}")
def test_a_mistake_is_named_with_its_place_and_what_would_be_right(site: Site, mistake: Mistake) -> None:
    old, new, code, where, found, remedy = mistake
    text = site.file.read_text()
    assert old in text
    site.file.write_text(text.replace(old, new, 1))
    problem = site.problem()
    assert (problem.code, problem.where) == (code, where)
    assert problem.line
    assert found in problem.found
    assert remedy.lower() in problem.remedy.lower()
    assert "hunter2" not in str(problem)
    assert "4711" not in str(problem)


def test_a_contact_needs_no_network_when_the_account_has_one_only(site: Site) -> None:
    site.file.write_text(site.file.read_text().replace("        network: carrier\n", ""))
    (contact, _gateway_itself) = enclave_configure(site.load(), {"alice": 0}).accounts[0].contacts
    assert contact.network == "carrier"
