"""Every mistake a person can make in the configuration gets one message: where, what was found, what is right."""

from pathlib import Path

import pytest

from tests.unit.config_site import RIGHT, Site

LOOPBACK = ('{user: "@alice:example.org", password_file: secrets/alice-matrix}', "{user: alice}")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_the_right_configuration_has_no_problem(site: Site) -> None:
    assert site.problems() == ()


BOB = "accounts.alice.contacts.bob"
Mistake = tuple[str, str, str, str, int, str, str]
MISTAKES: list[Mistake] = [
    # old, new, code, where, line, in what was found, in what would be right
    ("matrix:\n  home", "matrx:\n  home", "unknown-key", "matrx", 3, "“matrx”", "Did you mean “matrix”?"),
    ("secret_file", "secret-file", "unknown-key", "xmpp.component.secret-file", 2, "no key", "“secret_file”"),
    ("        require", "        requires", "unknown-key", f"{BOB}.requires", 12, "“requires”", "“require”"),
    ("xmpp: alice@", "port: 1\n    xmpp: alice@", "unknown-key", "accounts.alice.port", 7, "“port”",
     "“xmpp.component”"),
    ("password_file: secrets/alice-matrix", "password_file: secrets/alice-matrix, password: hunter2", "unknown-key",
     "accounts.alice.matrix.password", 8, "“password”", "write password_file: PATH"),
    ("sealing:", "files: {allow_hosts: files.local}\nsealing:", "not-a-list", "files.allow_hosts", 13, "“files.local”",
     "[files.example.org]"),
    ("sealing:", "files: {allow_hosts: [\"https://x\"]}\nsealing:", "host", "files.allow_hosts", 13, "“https://x”",
     "hosts as they stand"),
    ("https://matrix.example.org", "5", "wrong-type", "matrix.homeserver", 4, "found a number", '"5"'),
    ("https://matrix.example.org", "[]", "wrong-type", "matrix.homeserver", 4, "found a list", "https://"),
    ("https://matrix.example.org", "", "empty", "matrix.homeserver", 4, "no value", "https://"),
    ("https://matrix.example.org", "ftp://example.org", "url", "matrix.homeserver", 4, "“ftp://", "https://"),
    ("https://matrix.example.org", "https://example.org:port", "url", "matrix.homeserver", 4, "URL", "https://"),
    ("https://matrix.example.org", "https://example.org/_matrix", "url", "matrix.homeserver", 4, "after the", "base"),
    ("https://matrix.example.org", "https://me:hunter2@example.org", "url-secret", "matrix.homeserver", 4,
     "(not", "URL"),
    ("jid: matrix.example.org", "jid: gw@matrix.example.org", "address", "xmpp.component.jid", 2, "host name",
     "matrix.example.org"),
    ("jid: matrix.example.org", 'jid: ""', "address", "xmpp.component.jid", 2, "no domain", "matrix.example.org"),
    ("jid: matrix.example.org", "jid: example.org", "component-is-user-domain", "accounts.alice.xmpp", 7,
     "the component's own", "matrix.example.org"),
    ("secret_file: s", "port: 0, secret_file: s", "port", "xmpp.component.port", 2, "0 is not a port", "1 to 65535"),
    ("secret_file: s", "port: 65536, secret_file: s", "port", "xmpp.component.port", 2, "65536", "5347"),
    ("secret_file: s", 'port: "5347", secret_file: s', "wrong-type", "xmpp.component.port", 2, "text",
     "quotes out: 5347"),
    ("secret_file: s", "port: true, secret_file: s", "wrong-type", "xmpp.component.port", 2, "true or false", "5347"),
    ("secret_file: s", "port: 5347.5, secret_file: s", "wrong-type", "xmpp.component.port", 2, "number", "5347"),
    ("secret_file: s", 'host: "127.0.0.1:5347", secret_file: s', "host", "xmpp.component.host", 2, "a host", "alone"),
    (", secret_file: secrets/component", "", "missing-key", "xmpp.component.secret_file", 2, "missing",
     "secret_file: "),
    ("xmpp: alice@example.org", "xmpp: alice", "address", "accounts.alice.xmpp", 7, "has no “@”", "alice@example.org"),
    ("xmpp: alice@example.org", "xmpp: alice@example.org/phone", "address", "accounts.alice.xmpp", 7, "a resource",
     "“alice@example.org”"),
    ("xmpp: alice@example.org", "xmpp: al ice@example.org", "address", "accounts.alice.xmpp", 7, "a space", "alice@"),
    ("xmpp: alice@example.org", "xmpp: straße@example.org", "address", "accounts.alice.xmpp", 7, "servers", "strasse"),
    ("xmpp: alice@example.org", "xmpp: alice@-example.org", "address", "accounts.alice.xmpp", 7, "host name", "alice@"),
    ('"@alice:example.org"', '"alice:example.org"', "address", "accounts.alice.matrix.user", 8, "“@”",
     "“@alice:example"),
    ('"@alice:example.org"', '"@alice"', "address", "accounts.alice.matrix.user", 8, "no “:”", "@alice:example.org"),
    ('"@alice:example.org"', '"@alice:Example.org"', "address", "accounts.alice.matrix.user", 8, "capital",
     "“@alice:example.org”"),
    ('"@alice:example.org"', "@alice:example.org", "unquoted", "", 8, "“@”", '"@bob:matrix.org"'),
    ('"@bob:matrix.org"', '"@bob"', "address", f"{BOB}.address", 11, "no “:”", "@bob:matrix.org"),
    ('"@bob:matrix.org"', '"bob@example.org"', "address", f"{BOB}.address", 11, "“@”", "@bob:matrix.org"),
    ('"@bob:matrix.org"', '"@bob:matrix.org:0"', "address", f"{BOB}.address", 11, "server name", "@bob:"),
    ('"@bob:matrix.org"', '"@alice:example.org"', "own-address", f"{BOB}.address", 11, "own user", "person"),
    ('        address: "@bob:matrix.org"\n', "", "missing-key", f"{BOB}.address", 10, "missing", "address:"),
    ("require: end-to-end", "require: e2e", "not-a-choice", f"{BOB}.require", 12, "“e2e”", "Choices: end-to-end,"),
    ("require: end-to-end", "require: no", "not-a-choice", f"{BOB}.require", 12, "“no”", "none"),
    ("require: end-to-end", "network: loopback", "no-login", f"{BOB}.network", 12, "“loopback”", "matrix"),
    ("require: end-to-end", "network: signal", "not-a-choice", f"{BOB}.network", 12, "“signal”", "matrix, loopback"),
    ("bob:\n", "Bob:\n", "name", "accounts.alice.contacts.Bob", 10, "“Bob”", "“bob” would do"),
    ("bob:\n", "b b@x:\n", "name", "accounts.alice.contacts.b b@x", 10, "XMPP address", "“b-b-x”"),
    ("bob:\n", "5:\n", "key-not-text", "accounts.alice.contacts", 10, "5 is a number", '"5"'),
    ("alice:\n", "Alice:\n", "name", "accounts.Alice", 6, "“Alice”", "“alice” would do"),
    ("contacts:\n      bob:", "contacts:\n      bob: {address: \"@x:y.org\"}\n      bob:", "duplicate-key",
     BOB, 11, "line 10", "one"),
    (", password_file: secrets/alice-matrix", "", "login", "accounts.alice.matrix", 8, "no way", "password_file"),
    ("password_file:", "device: X, password_file:", "device", "accounts.alice.matrix.device", 8, "token", "Remove"),
    ("matrix:\n  homeserver: https://matrix.example.org\n", "", "no-homeserver", "accounts.alice.matrix", 6,
     "no homeserver", "homeserver:"),
    ('    matrix: {user: "@alice:example.org", password_file: secrets/alice-matrix}\n', "", "no-network",
     "accounts.alice", 6, "no far network", "matrix:"),
    ("key_file: secrets/sealing", "key_file: secrets/none", "secret-missing", "sealing.key_file", 13,
     "there is no file",
     "lockgate keygen"),
    ("sealing: {key_file: secrets/sealing}\n", "", "missing-key", "sealing", 1, "missing", "sealing:"),
    ("sqlite:///var", "postgresql://u:hunter2@x/var", "storage-postgres", "storage.url", 14, "yet", "sqlite:///"),
    ("sqlite:///var", "mysql://u:hunter2@x/var", "storage-url", "storage.url", 14, "not shown", "sqlite:///"),
    ("sqlite:///var", "sqlite://var", "storage-url", "storage.url", 14, "does not name a file", "three slashes"),
    ("sqlite:///var/lib/lockgate/", f"sqlite:///var/{'x' * 98}/", "socket-path", "state_dir", 1, "107", "state_dir"),
    ("storage:", "enclave: {lockdown: on}\nstorage:", "not-a-choice", "enclave.lockdown", 14, "“on”", "best-effort"),
    ("storage:", "log: {level: INFO}\nstorage:", "not-a-choice", "log.level", 14, "“INFO”", "mean “info”"),
    ("storage:", "log: {format: xml}\nstorage:", "not-a-choice", "log.format", 14, "“xml”", "console, json"),
    ("storage:", "log:\nstorage:", "empty", "log", 14, "no value", "level: info"),
    ("storage:", "state_dir: 5\nstorage:", "not-a-path", "state_dir", 14, "5", "path"),
    ("accounts:\n", "accounts: {}\nother:\n", "accounts", "accounts", 5, "no account", "alice"),
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake[2]}-{mistake[1]!r:.30}")
def test_a_mistake_is_named_with_its_place_and_what_would_be_right(site: Site, mistake: Mistake) -> None:
    old, new, code, where, line, found, remedy = mistake
    site.change((old, new))
    problems = [problem for problem in site.problems() if problem.where != "other"]
    assert [(p.code, p.where, p.line) for p in problems] == [(code, where, line)]
    assert found in problems[0].found
    assert remedy.lower() in problems[0].remedy.lower()
    assert "hunter2" not in str(problems)


def test_all_mistakes_of_a_file_are_reported_together_in_the_order_of_their_lines(site: Site) -> None:
    site.change(
        ("jid:", "gid:"),
        ("https://", "ftp://"),
        ("alice@example.org", "alice"),
        ('"@bob:matrix.org"', "bob"),
        ("secrets/sealing", "secrets/none"),
    )
    problems = site.problems()
    assert [p.line for p in problems] == [2, 4, 7, 11, 13]
    assert {p.code for p in problems} == {"unknown-key", "url", "address", "secret-missing"}


def test_two_contacts_of_one_account_may_not_have_one_address(site: Site) -> None:
    site.change(("      bob:\n", '      rob: {address: "@bob:matrix.org"}\n      bob:\n'))
    problem = site.problem()
    assert (problem.code, problem.where, problem.line) == ("duplicate-address", f"{BOB}.address", 12)
    assert "“rob”" in problem.found


def test_two_accounts_may_not_have_one_xmpp_user_however_it_is_written(site: Site) -> None:
    carol = "  carol: {xmpp: ALICE@Example.org, loopback: {user: carol}}\n"
    site.change(("sealing:", f"{carol}sealing:"))
    problem = site.problem()
    assert (problem.code, problem.where, problem.line) == ("duplicate-user", "accounts.carol.xmpp", 13)


def test_two_accounts_may_have_contacts_of_the_same_name(site: Site) -> None:
    carol = (
        "  carol: {xmpp: carol@example.org, loopback: {user: carol}, contacts: {bob: {address: echo, require: none}}}\n"
    )
    site.change(("sealing:", f"{carol}sealing:"))
    assert site.problems() == ()


def test_a_network_that_gives_less_than_is_required_is_refused(site: Site) -> None:
    site.change(("    matrix: {", "    loopback: {"), LOOPBACK, ('"@bob:matrix.org"', "echo"))
    problem = site.problem()
    assert (problem.code, problem.where) == ("require", f"{BOB}.require")
    assert "“none”" in problem.found
    assert "require: none" in problem.remedy


def test_end_to_end_is_required_unless_something_else_is_asked_for(site: Site) -> None:
    site.change(
        ("    matrix: {", "    loopback: {"),
        LOOPBACK,
        ('"@bob:matrix.org"', "echo"),
        ("        require: end-to-end\n", ""),
    )
    problem = site.problem()
    assert problem.code == "require"
    assert "by default" in problem.found


def test_an_account_with_two_networks_must_say_which_a_contact_is_on(site: Site) -> None:
    site.change(("    matrix: {", "    loopback: {user: alice}\n    matrix: {"))
    problem = site.problem()
    assert (problem.code, problem.where) == ("which-network", BOB)


@pytest.mark.parametrize("words", ["hunter2", "Tr0ub4dor/3", "K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols="])
def test_a_secret_written_where_its_file_belongs_is_not_repeated(site: Site, words: str) -> None:
    site.change(("secret_file: secrets/component", f"secret_file: {words}"))
    problem = site.problem()
    assert problem.code == "secret-missing"
    assert words not in str(problem)
    assert "not shown" in problem.found


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_a_secret_that_others_can_touch_is_refused(site: Site, mode: int) -> None:
    (site.secrets / "component").chmod(mode)
    problem = site.problem()
    assert (problem.code, problem.where, problem.line) == ("secret-exposed", "xmpp.component.secret_file", 2)
    assert f"{mode:04o}" in problem.found
    assert "chmod 600" in problem.remedy


@pytest.mark.parametrize("text", ["", "\n", "  \n"])
def test_an_empty_secret_is_refused(site: Site, text: str) -> None:
    site.secret("alice-matrix", text)
    problem = site.problem()
    assert (problem.code, problem.where) == ("secret-empty", "accounts.alice.matrix.password_file")


@pytest.mark.parametrize("text", [b"one\ntwo\n", b"\xff\xfe", b"a\0b", b"x" * 5000])
def test_a_secret_that_is_not_one_line_of_text_is_refused(site: Site, text: bytes) -> None:
    site.secret("component", text)
    assert site.problem().code == "secret-malformed"


def test_a_folder_is_no_secret(site: Site) -> None:
    site.change(("secrets/component", "secrets/."))
    assert site.problem().code == "secret-malformed"


@pytest.mark.parametrize("text", ["short", "AAAA", "!" * 44, "A" * 43])
def test_a_sealing_key_must_be_32_octets_in_base64(site: Site, text: str) -> None:
    site.secret("sealing", text)
    problem = site.problem()
    assert (problem.code, problem.where) == ("sealing-key", "sealing.key_file")
    assert "keygen" in problem.remedy
    assert text not in str(problem)


def test_a_missing_file_is_a_problem_without_a_line(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.file.unlink()
    problem = site.problem()
    assert (problem.code, problem.line) == ("no-file", None)


def test_a_folder_instead_of_the_file_is_named_as_one(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.file = tmp_path
    assert "folder" in site.problem().found


YAML_MISTAKES: list[tuple[str, str, int | None]] = [
    ("", "empty", None),
    ("# nothing\n", "empty", None),
    ("- a\n", "not-a-mapping", 1),
    ("words\n", "not-a-mapping", 1),
    ("xmpp:\n\tcomponent: {}\n", "tab", 2),
    ("xmpp: {component: {jid: x}\n", "syntax", 1),
    ("xmpp: 'x\n", "syntax", 1),
    ("a: b: c\n", "syntax", 1),
    ("xmpp:\n    a: 1\n  b: 2\n", "syntax", 3),
    ("a: *nope\n", "unknown-alias", 1),
    ("a: &a [*a]\n", "unknown-alias", 1),
    ("a: 1\n---\nb: 2\n", "two-documents", 2),
    ("a: !!python/object:os.system x\n", "tag", 1),
    ("? [a]\n: 1\n", "key-not-text", 1),
    ("a: &x y\n*x : 1\n", "key-not-text", 2),
    ("<<: {a: 1}\n", "merge-key", 1),
    ("[" * 100 + "]" * 100, "too-deep", 1),
    ("{" * 100_000, "key-not-text", 1),
    ("a: \x07\n", "control", 1),
    ('a: "\\q"\n', "syntax", 1),
]


@pytest.mark.parametrize(("text", "code", "line"), YAML_MISTAKES)
def test_broken_yaml_is_named_with_its_line(site: Site, text: str, code: str, line: int | None) -> None:
    site.file.write_text(text)
    first = next(problem for problem in site.problems() if problem.code == code)
    assert first.line == line


def test_text_that_is_not_utf_8_is_named_with_its_line(site: Site) -> None:
    site.file.write_bytes(RIGHT.encode() + b"# \xe4\n")
    problem = site.problem()
    assert (problem.code, problem.line) == ("not-utf-8", 15)


def test_a_bomb_of_aliases_is_refused_before_it_grows(site: Site) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    site.file.write_text("\n".join(levels))
    assert site.problem().code == "too-many-aliases"


def test_a_huge_file_is_refused(site: Site) -> None:
    site.file.write_bytes(b"#" * ((16 << 20) + 1))
    assert site.problem().code == "too-large"
