"""Settings of encrypted sessions: every mistake is named, and what is right reaches the enclave alone."""

import base64
from pathlib import Path

import pytest

from bridge.config.handover import enclave_configure, gateway_serve
from bridge.config.secrets import Secrets
from crypto.enclave.chamber import policy_of
from tests.unit.config_site import RIGHT, Site

CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
OPENPGP = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n"
PIN = "ab" * 32
AT = "accounts.alice.esession"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.secret("word", "between us\n")
    made.secret("ca.pem", CERTIFICATE, 0o644)
    made.secret("alice.asc", OPENPGP, 0o644)
    return made


def give(site: Site, settings: str, contact: str = "") -> None:
    text = RIGHT.replace("    contacts:\n", f"    esession: {settings}\n    contacts:\n")
    if contact:
        text = text.replace("        require: end-to-end\n", f"        esession: {contact}\n")
    site.file.write_text(text)


def options(site: Site) -> dict[str, str]:
    (account,) = enclave_configure(site.load(), {"alice": 0}).accounts
    return dict(policy_of(account).contacts[0].options)


def test_without_settings_the_enclave_is_told_none(site: Site) -> None:
    assert options(site) == {}


def test_every_setting_becomes_a_flat_text(site: Site) -> None:
    give(
        site,
        "{groups: [14, 5, x25519], ciphers: [aes256-ctr], hashes: [sha256, sha3-256], stanzas: [message, iq],"
        " post_quantum: off,"
        " password_file: secrets/word, public_keys: [hash, key], own_key: key, ca_file: secrets/ca.pem,"
        f" certificate_file: secrets/ca.pem, openpgp_file: secrets/alice.asc, pinned: ['{PIN[:2]}:{PIN[2:].upper()}'],"
        " allow_dsa: true, rekey: {messages: 10, minutes: 5}, three_message: off, one_shot: accept, shield: responder,"
        " offline: on,"
        " require_verified: false, weak_string: refuse}",
    )
    assert options(site) == {
        "groups": "14 5 x25519",
        "ciphers": "aes256-ctr",
        "hashes": "sha256 sha3-256",
        "stanzas": "message iq",
        "post-quantum": "off",
        "password": "between us",
        "public-keys": "hash key",
        "own-key": "key",
        "fingerprints": PIN,
        "ca": CERTIFICATE.decode(),
        "certificate": CERTIFICATE.decode(),
        "openpgp": base64.b64encode(OPENPGP).decode(),
        "dsa": "yes",
        "rekey-messages": "10",
        "rekey-minutes": "5",
        "three-message": "no",
        "one-shot": "yes",
        "shield": "responder",
        "offline": "yes",
        "require-verified": "no",
        "weak-string": "refuse",
    }


def test_a_contacts_setting_holds_before_the_accounts_key_by_key(site: Site) -> None:
    give(site, f"{{offline: on, rekey: {{messages: 5}}, pinned: ['{PIN}']}}", "{offline: off, pinned: []}")
    assert options(site) == {"offline": "no", "rekey-messages": "5", "fingerprints": ""}
    (account,) = enclave_configure(site.load(), {"alice": 0}).accounts
    assert policy_of(account).options["offline"] == "yes"


def test_the_gateway_process_is_told_nothing_of_it(site: Site) -> None:
    before = gateway_serve(site.load())
    give(site, "{password_file: secrets/word, groups: [14], ca_file: secrets/ca.pem}", "{password_file: secrets/word}")
    assert gateway_serve(site.load()) == before


def test_no_representation_holds_the_password(site: Site) -> None:
    give(site, "{password_file: secrets/word}")
    loaded = site.load()
    order = enclave_configure(loaded, {"alice": 0})
    policy = policy_of(order.accounts[0])
    shown = f"{loaded!r} {order!r} {policy!r} {policy.contacts!r}"
    assert "between us" not in shown


MISTAKES: list[tuple[str, str, str, str, str]] = [
    # settings, code, where, in what was found, in what would be right
    ("{groups: 14}", "not-a-list", ".groups", "14 is not a list", "[14, 15]"),
    ("{groups: []}", "empty-list", ".groups", "groups is empty", "leave the key out"),
    ("{groups: [2]}", "not-a-choice", ".groups", "2 is none of the groups", "14, 15, 16, 17, 18, 5, x25519"),
    ("{groups: [14, 14]}", "repeated", ".groups", "“14” is in the list twice", "once"),
    ("{groups: [x25518]}", "not-a-choice", ".groups", "x25518", "mean “x25519”"),
    ("{groups: [true]}", "not-a-choice", ".groups", "true", "Choices"),
    ("{ciphers: [aes128-cbc]}", "not-a-choice", ".ciphers", "aes128-cbc", "mean “aes128-ctr”"),
    ("{hashes: [md5]}", "not-a-choice", ".hashes", "md5", "sha256, sha384"),
    ("{post_quantum: yes}", "not-a-choice", ".post_quantum", "“yes”", "prefer, require, off"),
    ("{post_quantum: true}", "not-a-choice", ".post_quantum", "true", "prefer, require, off"),
    ("{public_keys: [keys]}", "not-a-choice", ".public_keys", "keys", "mean “key”"),
    ("{public_key: [key]}", "unknown-key", ".public_key", "public_key", "“public_keys”"),
    ("{password: hunter2}", "unknown-key", ".password", "password", "password_file: PATH"),
    ("{password_file: secrets/none}", "secret-missing", ".password_file", "no file", "0600"),
    ("{password_file: Hunter2}", "secret-missing", ".password_file", "not shown", "0600"),
    ("{password_file: secrets/ca.pem}", "secret-exposed", ".password_file", "0644", "chmod 600"),
    ("{ca_file: secrets/none.pem}", "certificate-missing", ".ca_file", "there is no file", "certificates"),
    ("{ca_file: secrets/word}", "certificate-malformed", ".ca_file", "does not hold", "BEGIN CERTIFICATE"),
    ("{ca_file: secrets/.}", "certificate-malformed", ".ca_file", "is not a file", "Name the file"),
    ("{ca_file: secrets/exposed}", "certificate-exposed", ".ca_file", "0664", "chmod go-w"),
    ("{ca_file: secrets/private}", "certificate-private", ".ca_file", "private key", "public part"),
    ("{ca_file: secrets/huge}", "certificate-malformed", ".ca_file", "too large", "64 KiB"),
    ("{certificate_file: 5}", "not-a-path", ".certificate_file", "5", "Write the path"),
    ("{openpgp_file: secrets/ca.pem}", "certificate-malformed", ".openpgp_file", "OpenPGP", "PGP PUBLIC KEY"),
    ("{pinned: ['zz']}", "fingerprint", ".pinned", "zz", "64 hexadecimal digits"),
    ("{pinned: ab}", "fingerprint", ".pinned", "“ab” is not a list", "64 hexadecimal digits"),
    ("{allow_dsa: yes}", "wrong-type", ".allow_dsa", "true or false", "allow_dsa: false"),
    ("{rekey: 5}", "wrong-type", ".rekey", "a number", "rekey: {messages"),
    ("{rekey: {messages: 0}}", "out-of-bounds", ".rekey.messages", "0 cannot be used", "1 to 2147483648"),
    ("{rekey: {minutes: 600000}}", "out-of-bounds", ".rekey.minutes", "600000", "1 to 525600"),
    ("{rekey: {hours: 1}}", "unknown-key", ".rekey.hours", "hours", "minutes"),
    ("{rekey: }", "empty", ".rekey", "no value", "messages: 100"),
    ("{rekey: {messages: }}", "empty", ".rekey.messages", "no value", "messages: 100"),
    ("{three_message: on}", "not-a-choice", ".three_message", "“on”", "accept, off"),
    ("{shield: both}", "not-a-choice", ".shield", "“both”", "initiator, responder"),
    ("{offline: maybe}", "not-a-choice", ".offline", "“maybe”", "on, off"),
    ("{weak_string: maybe}", "not-a-choice", ".weak_string", "“maybe”", "accept, refuse"),
    ("{require_verified: 1}", "wrong-type", ".require_verified", "a number", "require_verified: true"),
    ("{public_keys: [none], ca_file: secrets/ca.pem}", "esession", ".ca_file", "[none]", "[hash, key]"),
    ("{one_shot: accept, public_keys: [none]}", "esession", ".one_shot", "public key", "[key, hash, none]"),
    ("{shield: initiator}", "esession", ".shield", "three messages", "own_key: key"),
    (
        "{shield: initiator, own_key: key, password_file: secrets/word}",
        "esession",
        ".shield",
        "cannot use a password",
        "one of",
    ),
    ("{groop: [14]}", "unknown-key", ".groop", "groop", "“groups”"),
    ("5", "wrong-type", "", "a number", "esession: {"),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake[1]}-{mistake[0]!r:.30}")
@pytest.mark.parametrize("whose", ["account", "contact"])
def test_a_mistake_is_named_with_its_place_and_what_would_be_right(
    site: Site, mistake: tuple[str, str, str, str, str], whose: str
) -> None:
    settings, code, where, found, remedy = mistake
    site.secret("exposed", CERTIFICATE, 0o664)
    site.secret("private", b"-----BEGIN PRIVATE KEY-----\n", 0o600)
    site.secret("huge", CERTIFICATE + b"\n" * (64 << 10), 0o600)
    if whose == "account":
        give(site, settings)
    else:
        give(site, "{offline: off}", settings)
    at = AT if whose == "account" else "accounts.alice.contacts.bob.esession"
    problem = site.problem()
    assert (problem.code, problem.where) == (code, f"{at}{where}")
    assert problem.line == (9 if whose == "account" else 13)
    assert found in problem.found
    assert remedy in problem.remedy
    assert "hunter2" not in str(problem).lower()


def test_a_contacts_setting_that_contradicts_the_accounts_is_told_where_it_is_written(site: Site) -> None:
    give(site, "{public_keys: [none]}", "{pinned: ['" + PIN + "']}")
    assert site.problem().where == "accounts.alice.contacts.bob.esession.pinned"
    give(site, "{one_shot: accept, public_keys: [key]}", "{public_keys: [none]}")
    assert site.problem().where == "accounts.alice.contacts.bob.esession.public_keys"


def test_files_that_are_too_much_for_one_order_are_refused(site: Site) -> None:
    site.secret("large.asc", OPENPGP + b"\n" * (200 << 10), 0o644)
    contacts = "".join(
        f'      c{n}: {{address: "@c{n}:x.org", esession: {{openpgp_file: secrets/large.asc}}}}\n' for n in range(25)
    )
    site.file.write_text(RIGHT.replace("sealing:", f"{contacts}sealing:", 1))
    assert site.problem().code == "too-large"


def test_a_setting_of_an_adapter_may_be_called_like_a_certificates_key(site: Site) -> None:
    adapter = "adapters: {carrier: {outside: 'a.outside:A', inside: 'a.inside:A', assurance: none,"
    site.change(("accounts:", f"{adapter} secret_files: {{ca_file: secrets/word}}}}}}\naccounts:"))
    secrets: Secrets = site.load().secrets
    assert secrets.adapters["carrier"] == {"ca_file": "between us"}
