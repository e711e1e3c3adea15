"""The application service in the configuration: mistakes, tokens, registration, and what the gateway is told."""

import json
import re
from pathlib import Path

import pytest
from aiohttp import web
from ruamel.yaml import YAML

from bridge.config.appservice import Users, namespace
from bridge.config.handover import enclave_configure, gateway_serve
from bridge.config.jid import NotAnAddress
from bridge.config.models import MatrixLogin
from bridge.probe.homeserver import probe_login
from bridge.probe.http import Homeserver
from tests.unit.config_site import Site
from tests.unit.test_cli_running import Lockgate, lockgate, site
from tests.unit.test_config_probe import Serve, serve

__all__ = ["lockgate", "serve", "site"]

LOGIN = '{user: "@alice:example.org", password_file: secrets/alice-matrix}'
GHOST = '{user: "@xmpp_alice:example.org", appservice: true}'
HOMESERVER = "homeserver: https://matrix.example.org"
FILES = "as_token_file: secrets/as, hs_token_file: secrets/hs"
SERVICE = f'{HOMESERVER}\n  appservice: {{users: "@xmpp_*:example.org", {FILES}}}'
AS_TOKEN, HS_TOKEN = "as-" + "7f3a" * 10, "hs-" + "7f3a" * 10


def registered(site: Site, service: str = SERVICE, ghost: str = GHOST) -> Site:
    """Alice is a ghost."""
    site.change((HOMESERVER, service), (LOGIN, ghost))
    return site


def with_tokens(site: Site) -> Site:
    site.secret("as", AS_TOKEN)
    site.secret("hs", HS_TOKEN)
    return site


def test_the_gateway_is_told_where_to_listen_and_both_tokens_and_the_enclave_neither(site: Site) -> None:
    loaded = registered(with_tokens(site)).load()
    serve = gateway_serve(loaded)
    (matrix,) = [given for given in serve.networks if given.network == "matrix"]
    told = {setting.name: setting.value for setting in matrix.settings}
    wanted = {
        "homeserver": "https://matrix.example.org",
        "appservice_id": "lockgate",
        "appservice_host": "127.0.0.1",
        "appservice_port": "29333",
        "as_token": AS_TOKEN,
        "hs_token": HS_TOKEN,
    }
    assert told.items() >= wanted.items()
    (credentials,) = serve.accounts[0].credentials
    assert {setting.name: setting.value for setting in credentials.settings} == {"as_token": AS_TOKEN}
    for secret in (AS_TOKEN, HS_TOKEN):
        assert secret not in repr(serve)
        assert secret not in repr(loaded)
        assert secret not in enclave_configure(loaded, {"alice": 0}).model_dump_json()


MISTAKES = [
    # the service, the login, code, where, in what was found or would be right
    (HOMESERVER, GHOST, "no-appservice", "accounts.alice.matrix.appservice", "no application service is set"),
    (SERVICE, GHOST.replace("xmpp_", ""), "appservice-user", "accounts.alice.matrix.user", "@xmpp_alice:example.org"),
    (SERVICE, GHOST.replace("xmpp_alice", "xmpp_"), "appservice-user", "accounts.alice.matrix.user", "none of"),
    (SERVICE, GHOST.replace("xmpp_alice", "xmpp_Alice"), "appservice-user", "accounts.alice.matrix.user", "none of"),
    (SERVICE, GHOST.replace("example.org", "example.com"), "appservice-user", "accounts.alice.matrix.user", "none of"),
    (SERVICE, GHOST.replace("true", "false"), "login", "accounts.alice.matrix", "no way to log in"),
    (SERVICE, GHOST.replace("true", "true, password_file: secrets/alice-matrix"), "login", "accounts.alice.matrix",
     "both password_file and appservice"),
    (SERVICE, GHOST.replace("true", "yes"), "wrong-type", "accounts.alice.matrix.appservice", "text"),
    (SERVICE.replace("@xmpp_*", "@*"), GHOST, "users", "matrix.appservice.users", "no beginning"),
    (SERVICE.replace("@xmpp_*", "@xmpp_"), GHOST, "users", "matrix.appservice.users", "“*”"),
    (SERVICE.replace("@xmpp_*", "@XMPP_*"), GHOST, "users", "matrix.appservice.users", "small letters"),
    (SERVICE.replace("@xmpp_*", "@xmpp_*x"), GHOST, "users", "matrix.appservice.users", "between"),
    (SERVICE.replace("{users", "{listen: 29333, users"), GHOST, "wrong-type", "matrix.appservice.listen", "number"),
    (SERVICE.replace("{users", "{listen: localhost, users"), GHOST, "listen", "matrix.appservice.listen", "port"),
    (SERVICE.replace("{users", "{listen: \"a b:1\", users"), GHOST, "host", "matrix.appservice.listen", "a host"),
    (SERVICE.replace("{users", "{url: matrix, users"), GHOST, "url", "matrix.appservice.url", "http"),
    (SERVICE.replace("{users", "{id: My Gate, users"), GHOST, "appservice-id", "matrix.appservice.id", "My Gate"),
    (SERVICE.replace(", hs_token_file: secrets/hs", ""), GHOST, "missing-key", "matrix.appservice.hs_token_file",
     "missing"),
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=[f"{mistake[2]} {mistake[4]}" for mistake in MISTAKES])
def test_a_mistake_is_named_with_its_place_and_what_would_be_right(
    site: Site, mistake: tuple[str, str, str, str, str]
) -> None:
    service, ghost, code, where, words = mistake
    registered(with_tokens(site), service, ghost)
    found = [problem for problem in site.problems() if problem.where == where]
    assert [problem.code for problem in found] == [code]
    assert words in f"{found[0].found} {found[0].remedy}"


@pytest.mark.parametrize("content", ["short", "with space " * 8, "é" * 40])
def test_a_token_that_no_header_can_hold_is_refused_and_not_shown(site: Site, content: str) -> None:
    registered(with_tokens(site))
    site.secret("as", content)
    problem = site.problem()
    assert problem.code == "secret-malformed"
    assert content not in f"{problem.found} {problem.remedy}"


def test_a_missing_token_names_the_command_that_makes_it(site: Site) -> None:
    assert all("lockgate matrix registration" in problem.remedy for problem in registered(site).problems())
    assert len(site.problems()) == 2


# ---------------------------------------------------------------- the registration
def test_the_registration_is_printed_without_its_tokens_which_are_made(
    site: Site, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]
) -> None:
    registered(site)
    assert lockgate("matrix", "registration") == 0
    printed = capsys.readouterr().out
    tokens = [(site.secrets / name).read_text().strip() for name in ("as", "hs")]
    assert len(set(tokens)) == 2
    for name, token in zip(("as", "hs"), tokens, strict=True):
        assert (site.secrets / name).stat().st_mode & 0o777 == 0o600
        assert len(token) == 64
        assert token not in printed
    assert site.problems() == ()


def test_the_registration_is_written_with_its_tokens_for_its_owner_only_and_never_over_another(
    site: Site, lockgate: Lockgate, capsys: pytest.CaptureFixture[str]
) -> None:
    registered(with_tokens(site))
    file = site.folder / "registration.yaml"
    assert lockgate("matrix", "registration", "--write", str(file)) == 0
    printed = capsys.readouterr().out
    assert file.stat().st_mode & 0o777 == 0o600
    document = YAML(typ="safe", pure=True).load(file.read_text())
    assert document == {
        "id": "lockgate",
        "url": "http://127.0.0.1:29333",
        "as_token": AS_TOKEN,
        "hs_token": HS_TOKEN,
        "sender_localpart": "lockgate",
        "namespaces": {
            "users": [{"exclusive": True, "regex": r"^@xmpp_.+:example\.org$"}],
            "aliases": [],
            "rooms": [],
        },
        "rate_limited": False,
        "receive_ephemeral": True,
        "org.matrix.msc3202": True,
        "io.element.msc4190": True,
    }
    assert str(file) in printed
    assert "msc2409_to_device_messages_enabled: true" in printed
    assert AS_TOKEN not in printed
    assert HS_TOKEN not in printed
    assert lockgate("matrix", "registration", "--write", str(file)) == 2
    assert YAML(typ="safe", pure=True).load(file.read_text()) == document


def test_without_an_application_service_there_is_no_registration(site: Site, lockgate: Lockgate) -> None:
    assert lockgate("matrix", "registration") == 2


def test_the_url_may_be_another_than_the_address_that_is_listened_on(site: Site, lockgate: Lockgate) -> None:
    where = '{listen: "[::1]:8080", url: https://gate.example.org/matrix/, users'
    registered(with_tokens(site), SERVICE.replace("{users", where))
    service = site.load().config.matrix
    assert service is not None
    assert service.appservice is not None
    assert (service.appservice.address, service.appservice.reached_at) == (
        ("::1", "8080"),
        "https://gate.example.org/matrix",
    )


@pytest.mark.parametrize("pattern", ["@xmpp_*:example.org", "@x.y+*:[2001:db8::1]:8448", "@a=b-*:10.0.0.1"])
def test_the_namespace_holds_exactly_the_users_of_the_pattern(pattern: str) -> None:
    users = namespace(pattern)
    assert users.has(users.example("alice"))
    assert re.match(users.regex(), users.example("alice"))
    for other in (users.example(""), users.example("alice") + "x", users.example("a").replace(users.prefix, "yy", 1)):
        assert not re.match(users.regex(), other)
        assert not users.has(other)


def test_what_is_escaped_means_itself() -> None:
    assert not re.match(Users("x.", "a.b").regex(), "@xyz:a.b")
    with pytest.raises(NotAnAddress):
        namespace("@xmpp_*:")


def test_the_example_of_the_page_is_right(site: Site, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "matrix.md").read_text()
    example = next(part for part in page.split("```yaml\n")[1:] if "appservice:" in part).partition("```")[0]
    written = json.dumps(YAML(typ="safe", pure=True).load(example))
    for key in ("users", "as_token_file", "hs_token_file", "appservice"):
        assert f'"{key}"' in written


# ---------------------------------------------------------------- lockgate check
SENDER, ALICE = "@lockgate:example.org", "@xmpp_alice:example.org"
Said = tuple[int, dict[str, str]]


@pytest.mark.parametrize(
    ("itself", "as_alice", "state", "words"),
    [
        ((200, {"user_id": SENDER}), (200, {"user_id": ALICE}), "ok", "belongs to"),
        ((200, {"user_id": SENDER}), (403, {"errcode": "M_FORBIDDEN"}), "ok", "will be made"),
        ((401, {"errcode": "M_UNKNOWN_TOKEN"}), (500, {}), "failed", "matrix registration"),
        ((200, {"user_id": "@lockgate:example.com"}), (403, {}), "failed", "is not on the homeserver"),
        ((200, {"user_id": SENDER}), (400, {"errcode": "M_EXCLUSIVE"}), "failed", "M_EXCLUSIVE"),
        ((200, {"user_id": SENDER}), (200, {"user_id": SENDER}), "failed", "200"),
        ((502, {}), (502, {}), "failed", "502"),
    ],
)
async def test_check_tells_whether_the_homeserver_knows_the_service_and_its_ghost(
    serve: Serve, itself: Said, as_alice: Said, state: str, words: str
) -> None:
    def whoami(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {AS_TOKEN}"
        status, body = as_alice if request.query.get("user_id") == ALICE else itself
        return web.json_response(body, status=status)

    login = MatrixLogin(user=ALICE, appservice=True)
    async with Homeserver(await serve({"/_matrix/client/v3/account/whoami": whoami})) as server:
        hop, *_ = await probe_login(server, "alice", login, {"as_token": AS_TOKEN})
    assert hop.state == state
    assert words in f"{hop.found} {hop.remedy}"
    assert AS_TOKEN not in f"{hop.found} {hop.remedy}"
