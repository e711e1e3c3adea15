"""A right configuration becomes models, secrets, and the orders for each process."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from bridge.config.handover import (
    assigned_slots,
    enclave_configure,
    gateway_serve,
    route_maps,
)
from bridge.config.load import load, load_config
from bridge.config.models import Config
from tests.unit.config_site import RIGHT, SECRETS, Site

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_what_is_left_out_has_its_default(site: Site) -> None:
    config = site.load().config
    assert (config.xmpp.component.host, config.xmpp.component.port) == ("127.0.0.1", 5347)
    assert config.enclave.lockdown == "enforce"
    assert (config.log.level, config.log.format) == ("info", "console")
    assert config.admin_socket == Path("/var/lib/lockgate/admin.sock")


def test_the_state_folder_moves_the_admin_socket(site: Site) -> None:
    site.file.write_text(f"{RIGHT}state_dir: run\n")
    assert site.load().config.admin_socket == site.folder / "run" / "admin.sock"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///var/x.db", "/var/x.db"),
        ("sqlite:////var/x.db", "/var/x.db"),
        ("sqlite:/var/x.db", "/var/x.db"),
        ("sqlite:x/y.db", "{folder}/x/y.db"),
    ],
)
def test_the_ledgers_url_names_an_absolute_path_or_one_beside_the_file(site: Site, url: str, path: str) -> None:
    site.change(("sqlite:///var/lib/lockgate/ledger.db", url))
    assert str(site.load().config.storage.path) == path.format(folder=site.folder)


def test_paths_are_relative_to_the_files_folder_wherever_it_is_read_from(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    relative = Path(os.path.relpath(site.file, "/"))
    assert load(relative).config.sealing.key_file == site.secrets / "sealing"


def test_addresses_are_taken_in_their_normal_form(site: Site) -> None:
    site.change(("alice@example.org", "ALICE@Exämple.ORG"), ("jid: matrix", "jid: Matrix"))
    config = site.load().config
    assert config.accounts["alice"].xmpp == "alice@exämple.org"
    assert config.xmpp.component.jid == "matrix.example.org"


def test_nothing_of_a_configuration_can_be_changed(site: Site) -> None:
    config = site.load().config
    with pytest.raises(ValidationError):
        config.enclave.lockdown = "best-effort"


def test_secrets_are_read_without_their_end_of_line(site: Site) -> None:
    site.secret("component", "s3cret with space \r\n")
    assert site.load().secrets.component == "s3cret with space "


def test_no_representation_holds_a_secret(site: Site) -> None:
    loaded = site.load()
    texts = f"{loaded!r} {loaded.secrets!r} {gateway_serve(loaded)!r} {enclave_configure(loaded, {'alice': 0})!r}"
    for secret in (*SECRETS.values(), repr(bytes(range(32)))):
        assert secret not in texts


def test_the_secrets_need_not_be_there_for_commands_that_do_not_use_them(site: Site) -> None:
    for file in site.secrets.iterdir():
        file.unlink()
    assert isinstance(load_config(site.file), Config)


def test_an_alias_stands_for_the_value_it_names(site: Site) -> None:
    site.change(
        ('bob:\n        address: "@bob:matrix.org"\n', 'bob:\n        address: &b "@bob:matrix.org"\n'),
        ("sealing:", "  carol: {xmpp: carol@example.org, loopback: {user: *b}}\nsealing:"),
    )
    carol = site.load().config.accounts["carol"]
    assert carol.far_addresses() == {"loopback": "@bob:matrix.org"}


def test_the_gateway_gets_addresses_and_its_own_credentials_and_no_sealing_key(site: Site) -> None:
    order = gateway_serve(site.load())
    networks = {n.network: {s.name: s.value for s in n.settings} for n in order.networks}
    assert networks == {
        "xmpp": {
            "jid": "matrix.example.org",
            "host": "127.0.0.1",
            "port": "5347",
            "secret": SECRETS["component"],
            "spool": "/var/lib/lockgate/ledger.files/xmpp",
            "file_hosts": "",
        },
        "matrix": {"homeserver": "https://matrix.example.org", "spool": "/var/lib/lockgate/ledger.files/matrix"},
    }
    (account,) = order.accounts
    (credentials,) = account.credentials
    assert (credentials.network, credentials.settings[0].value) == ("matrix", SECRETS["alice-matrix"])
    assert [(c.contact, c.alias, c.address) for c in account.contacts] == [
        ("bob", "bob@matrix.example.org", "@bob:matrix.org"),
        ("_gateway", "matrix.example.org", "matrix.example.org"),
    ]
    assert SECRETS["sealing"] not in order.model_dump_json()


def test_the_enclave_gets_the_policy_and_the_sealing_key_and_no_password(site: Site) -> None:
    order = enclave_configure(site.load(), {"alice": 7})
    (account,) = order.accounts
    (contact, itself) = account.contacts
    assert (itself.id, itself.network, itself.alias) == ("_gateway", "control", "matrix.example.org")
    assert order.sealing_key == bytes(range(32))
    assert (account.slot, account.near_address, contact.require) == (7, "alice@example.org", "end-to-end")
    assert [(far.network, far.address) for far in account.far_addresses] == [("matrix", "@alice:example.org")]
    for secret in (SECRETS["component"], SECRETS["alice-matrix"]):
        assert secret not in order.model_dump_json()


def test_a_token_goes_with_its_device(site: Site) -> None:
    site.secret("token", "syt_token")
    site.change(("password_file: secrets/alice-matrix", "token_file: secrets/token, device: DEV"))
    loaded = site.load()
    (account,) = route_maps(loaded.config, loaded.secrets)
    assert {s.name: s.value for s in account.credentials[0].settings} == {"token": "syt_token", "device": "DEV"}


def test_the_map_names_each_contacts_network(site: Site) -> None:
    site.change(
        ("    matrix: {", "    loopback: {user: alice}\n    matrix: {"),
        ("        require: end-to-end", "        require: none\n        network: loopback"),
    )
    (account,) = enclave_configure(site.load(), {"alice": 0}).accounts
    assert account.contacts[0].network == "loopback"


def test_an_account_keeps_its_slot_when_others_come_and_go() -> None:
    first = assigned_slots(["alice", "carol"])
    second = assigned_slots(["bob", "carol"], first)
    assert second["carol"] == first["carol"]
    assert second["bob"] not in first.values()


def test_freed_slots_are_used_when_no_other_is_left() -> None:
    first = assigned_slots([f"a{n}" for n in range(1024)])
    second = assigned_slots(["new"], first)
    assert 0 <= second["new"] < 1024


def test_the_example_has_no_mistake_but_its_missing_secrets(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.file.write_text(EXAMPLE.read_text())
    assert site.problems() == ()
