"""OAuth 2.0 against servers that misbehave, the session file, and logins that end."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from adapters.matrix import outside_oauth, outside_session_login
from adapters.matrix import outside_oauth_answers as answers
from adapters.matrix.outside_login import NEW_DEVICE
from adapters.matrix.outside_oauth import STABLE, UNSTABLE, Web, discovered, granted, registered, renewed
from adapters.matrix.outside_oauth_answers import OAuthFailed, safe_url
from adapters.matrix.outside_session import BadSession, Session, locked, read_session, write_session
from adapters.matrix.outside_session_login import CANNOT_WRITE, ENDED, FORGOTTEN, NOT_YET, OTHER, UNUSABLE
from bridge.cli import login as cli_login
from bridge.cli.login import login
from bridge.errors import WorldError
from bridge.urls import is_loopback
from tests.unit.config_site import Site
from tests.unit.matrix_server import ALICE, FakeHomeserver, Misdeed, RecordingEdge, refusal
from tests.unit.oauth_server import OAuthServer
from tests.unit.test_matrix_outside import Rig

pytestmark = pytest.mark.timeout(60)
METADATA = "/_matrix/client/v1/auth_metadata"
UNSTABLE_METADATA = "/_matrix/client/unstable/org.matrix.msc2965/auth_metadata"
NOT_THERE = (404, {"errcode": "M_UNRECOGNIZED"})


@pytest_asyncio.fixture
async def server() -> AsyncIterator[OAuthServer]:
    made = await OAuthServer().start()
    yield made
    await made.stop()


@pytest_asyncio.fixture
async def web() -> AsyncIterator[Web]:
    async with Web() as made:
        yield made


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited between two questions, without waiting."""
    found: list[float] = []
    really = asyncio.sleep

    async def sleep(delay: float, result: object = None) -> object:
        found.append(delay)
        return await really(0, result)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return found


def session_of(server: OAuthServer, **changes: Any) -> Session:
    """A login whose first refresh token the server knows."""
    whole = Session(
        grant="0011",
        user=ALICE,
        homeserver=server.url,
        device_id="ABCDEFGHIJ",
        issuer=f"{server.url}/",
        client_id="client",
        token_endpoint=f"{server.url}/token",
        access_token="access0",
        refresh_token="refresh0",
    )
    return replace(whole, **changes)


@pytest.fixture
def stored(server: OAuthServer, tmp_path: Path) -> Path:
    """A session file."""
    write_session(tmp_path / "session", session_of(server))
    return tmp_path / "session"


async def code_of(action: Any) -> str:
    """Why it failed; nothing of answers or secrets may hang on the error."""
    with pytest.raises(Exception, match=r"did not do|cannot be used") as raised:
        await action
    assert isinstance(raised.value, OAuthFailed | BadSession)
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    assert "access" not in repr(raised.value)
    assert "refresh" not in repr(raised.value)
    return raised.value.code


# ---------------------------------------------------------------- discovery and registration
async def test_metadata_is_found_under_its_stable_and_its_unstable_name(server: OAuthServer, web: Web) -> None:
    found, names = await discovered(web, server.url)
    assert (found.issuer, names) == (f"{server.url}/", STABLE)
    assert names.scope("X") == "urn:matrix:client:api:* urn:matrix:client:device:X"
    server.answers = {METADATA: [NOT_THERE], UNSTABLE_METADATA: [(200, server.metadata())]}
    assert (await discovered(web, server.url))[1] == UNSTABLE
    server.answers = {METADATA: [NOT_THERE]}
    assert await code_of(discovered(web, server.url)) == answers.NO_OAUTH


async def test_a_homeserver_that_is_down_is_not_taken_for_one_without_oauth(server: OAuthServer, web: Web) -> None:
    server.answers = {METADATA: [(502, b"")]}
    assert await code_of(discovered(web, server.url)) == answers.UNREACHABLE


async def test_redirections_are_not_followed(server: OAuthServer, web: Web, stored: Path) -> None:
    other = await OAuthServer().start()
    try:
        server.redirect_to = other.url
        assert await code_of(discovered(web, server.url)) == answers.UNREACHABLE
        assert await code_of(renewed(web, stored, "access0")) == answers.UNREACHABLE
        assert other.requests == []
    finally:
        await other.stop()


async def test_an_answer_without_end_is_not_read_to_its_end(server: OAuthServer, web: Web) -> None:
    server.answers = {METADATA: [(200, b" " * (outside_oauth.MAX_ANSWER + 1))]}
    assert await code_of(discovered(web, server.url)) == answers.MALFORMED


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"issuer": "http://login.example/"}, answers.UNSAFE_URL),
        ({"issuer": "https://login.example/?tenant=1"}, answers.UNSAFE_URL),
        ({"issuer": "https://user@login.example/"}, answers.UNSAFE_URL),
        ({"token_endpoint": "http://login.example/token"}, answers.UNSAFE_URL),
        ({"token_endpoint": "http://127.0.0.1.example/token"}, answers.UNSAFE_URL),
        ({"token_endpoint": "http://localhost@login.example/"}, answers.UNSAFE_URL),
        ({"token_endpoint": "file:///etc/passwd"}, answers.UNSAFE_URL),
        ({"token_endpoint": None}, answers.MALFORMED),
        ({"device_authorization_endpoint": "http://login.example/"}, answers.UNSAFE_URL),
        ({"issuer": 5}, answers.MALFORMED),
        ({"grant_types_supported": 5}, answers.MALFORMED),
    ],
)
async def test_tokens_go_nowhere_in_clear(server: OAuthServer, web: Web, changes: dict[str, object], code: str) -> None:
    server.answers = {METADATA: [(200, server.metadata(**changes))]}
    assert await code_of(discovered(web, server.url)) == code


@given(st.text(alphabet="htps:/@\\.#?[]l1270ocaexmp", max_size=40).map(lambda end: "http" + end))
def test_a_url_that_is_taken_is_https_or_this_machine_also_to_another_parser(url: str) -> None:
    try:
        safe_url(url)
    except OAuthFailed:
        return
    parsed = URL(url)
    assert parsed.scheme == "https" or is_loopback(parsed.host or "")
    assert parsed.user is None


async def test_a_registration_says_what_it_needs_and_no_more(server: OAuthServer, web: Web) -> None:
    found, _ = await discovered(web, server.url)
    assert await registered(web, found) == "client"
    (asked,) = server.asked("/register")
    assert json.loads(asked["token_endpoint_auth_method"]) == "none"
    assert json.loads(asked["grant_types"]) == [answers.DEVICE_GRANT, "refresh_token"]
    server.answers = {"/register": [(403, {"error": "access_denied"})]}
    assert await code_of(registered(web, found)) == answers.NO_REGISTRATION


# ---------------------------------------------------------------- the device authorization grant
async def test_the_server_is_asked_as_often_as_it_wants(server: OAuthServer, web: Web, pauses: list[float]) -> None:
    found, names = await discovered(web, server.url)
    begun = await outside_oauth.authorization(web, found, "client", names.scope("X"))
    pending, slower = (400, {"error": "authorization_pending"}), (400, {"error": "slow_down"})
    server.answers = {"/token": [pending, slower, pending, (503, b""), pending]}
    tokens = await granted(web, found, "client", begun)
    assert tokens.access_token == "access1"
    assert pauses == [5, 5, 10, 10, 15, 15]


@pytest.mark.parametrize(
    ("error", "code"),
    [("access_denied", answers.ACCESS_DENIED), ("expired_token", answers.EXPIRED), ("what", answers.REFUSED)],
)
async def test_a_refusal_ends_the_asking(
    server: OAuthServer, web: Web, pauses: list[float], error: str, code: str
) -> None:
    found, names = await discovered(web, server.url)
    begun = await outside_oauth.authorization(web, found, "client", names.scope("X"))
    server.answers = {"/token": [(400, {"error": error})]}
    assert await code_of(granted(web, found, "client", begun)) == code
    server.answers = {"/token": [(400, {"error": "authorization_pending"})] * 20}
    assert await code_of(granted(web, found, "client", begun)) == answers.EXPIRED
    assert sum(pauses[1:]) <= 65


# ---------------------------------------------------------------- exchanging tokens
async def test_an_exchange_keeps_the_new_tokens_and_the_device(server: OAuthServer, web: Web, stored: Path) -> None:
    session = await renewed(web, stored, "access0")
    assert read_session(stored) == session
    assert (session.access_token, session.refresh_token, session.device_id) == ("access1", "refresh1", "ABCDEFGHIJ")
    server.answers = {"/token": [(200, {"access_token": "next", "token_type": "bearer"})]}
    session = await renewed(web, stored, "access1")
    assert (session.access_token, session.refresh_token) == ("next", "refresh1")


async def test_two_who_notice_at_once_exchange_once(server: OAuthServer, web: Web, stored: Path) -> None:
    one, other = await asyncio.gather(renewed(web, stored, "access0"), renewed(web, stored, "access0"))
    assert one == other
    assert len(server.asked("/token")) == 1


async def test_after_an_answer_was_lost_the_old_token_is_tried_again(
    server: OAuthServer, web: Web, stored: Path
) -> None:
    server.hang_up = 1
    assert await code_of(renewed(web, stored, "access0")) == answers.UNREACHABLE
    assert (await renewed(web, stored, "access0")).access_token == "access2"


async def test_a_server_that_forgives_no_lost_answer_ends_the_login(
    server: OAuthServer, web: Web, stored: Path
) -> None:
    server.hang_up, server.forgiving = 1, False
    assert await code_of(renewed(web, stored, "access0")) == answers.UNREACHABLE
    assert await code_of(renewed(web, stored, "access0")) == answers.INVALID_GRANT


async def test_tokens_are_not_spent_when_new_ones_could_not_be_kept(
    server: OAuthServer, web: Web, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    before = read_session(stored)
    monkeypatch.setattr(os, "fsync", full)
    assert await code_of(renewed(web, stored, "access0")) == "unwritable"
    assert server.asked("/token") == []
    assert read_session(stored) == before
    assert set(os.listdir(stored.parent)) == {"session", ".session.lock"}


async def test_a_server_that_moved_is_followed_only_by_the_same_issuer(
    server: OAuthServer, web: Web, stored: Path
) -> None:
    server.answers = {"/token": [(404, b"")], METADATA: [(200, server.metadata(issuer="https://other.example/"))]}
    assert await code_of(renewed(web, stored, "access0")) == answers.OTHER_ISSUER
    assert len(server.asked("/token")) == 1
    server.answers = {"/token": [(404, b"")]}
    assert (await renewed(web, stored, "access0")).access_token == "access1"


# ---------------------------------------------------------------- the file
def test_a_session_file_is_private_and_its_tokens_are_not_shown(server: OAuthServer, stored: Path) -> None:
    session = read_session(stored)
    assert session is not None
    assert stored.stat().st_mode & 0o777 == 0o600
    assert "access0" not in repr(session)
    assert "refresh0" not in repr(session)
    stored.chmod(0o640)
    with pytest.raises(BadSession) as raised:
        read_session(stored)
    assert raised.value.code == "exposed"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2}', "\udcff", "null", '{"version": 1, "grant": 5}'])
def test_a_damaged_file_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "session"
    path.touch(0o600)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BadSession) as raised:
        read_session(path)
    assert raised.value.code == "damaged"
    assert raised.value.__context__ is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_what_root_writes_belongs_to_the_owner_of_the_folder(server: OAuthServer, tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    write_session(tmp_path / "session", session_of(server))
    assert (tmp_path / "session").stat().st_uid == 12345


def test_no_file_is_nobody_logged_in(tmp_path: Path) -> None:
    assert read_session(tmp_path / "session") is None


async def test_one_at_a_time_may_change_it(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.matrix.outside_session.LOCK_WITHIN_S", 0.2)
    async with locked(stored):
        assert await code_of(_lock(stored)) == "busy"
    async with locked(stored):
        pass


async def _lock(path: Path) -> None:
    async with locked(path):
        pass


# ---------------------------------------------------------------- the gateway with a session file
class SessionRig(Rig):
    """A homeserver, an OAuth 2.0 server, a session file, and the outside half between them."""

    def __init__(self, homeserver: FakeHomeserver, oauth: OAuthServer, file: Path) -> None:
        super().__init__(homeserver)
        self.oauth, self.file = oauth, file
        self.edge: DetailedEdge = DetailedEdge()
        homeserver.token, homeserver.device = "access0", "ABCDEFGHIJ"

    def log_in(self, **changes: Any) -> None:
        """As the command does it."""
        write_session(self.file, session_of(self.oauth, homeserver=self.server.url, **changes))

    async def begin(self) -> None:
        await self.connect(session=str(self.file))


class DetailedEdge(RecordingEdge):
    """Also keeps what the operator is told."""

    def __init__(self) -> None:
        super().__init__()
        self.details: list[str] = []

    def health(self, account: str | None, state: str, detail: str) -> None:
        """See Edge."""
        super().health(account, state, detail)
        self.details.append(detail)


@pytest_asyncio.fixture
async def rig(server: OAuthServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SessionRig]:
    monkeypatch.setattr(outside_session_login, "LOOK_AGAIN_S", 0.05)
    made = SessionRig(await FakeHomeserver().start(), server, tmp_path / "session")
    yield made
    await made.half.close()
    await made.server.stop()


async def test_the_gateway_waits_until_somebody_has_logged_in(rig: SessionRig) -> None:
    await rig.begin()
    await rig.until(lambda: rig.edge.details[-1:] == [NOT_YET])
    rig.log_in()
    await rig.ready()
    assert rig.edge.states[-1] == "up"
    assert rig.edge.named("device") == [{"user_id": ALICE, "device_id": "ABCDEFGHIJ"}]


async def test_a_token_that_ran_out_is_exchanged_and_nothing_is_lost(rig: SessionRig) -> None:
    rig.log_in()
    await rig.begin()
    await rig.ready()
    rig.server.token = "access1"  # the next one
    await rig.until(lambda: len(rig.edge.named("device")) == 2)
    assert (await rig.send()).code == "ok"
    assert {body["device_id"] for body in rig.edge.named("device")} == {"ABCDEFGHIJ"}
    assert "refused" not in rig.edge.states


async def test_a_token_is_exchanged_before_it_runs_out(rig: SessionRig) -> None:
    rig.oauth.answers = {"/token": [(200, _tokens("soon1", 1)), (200, _tokens("soon1", 600))]}
    rig.server.token = "soon1"
    rig.log_in(access_token="soon1", expires_s=1)
    await rig.begin()
    await rig.until(lambda: bool(rig.oauth.asked("/token")))
    await rig.ready()
    assert not [request for request in rig.server.asked("GET /account/whoami")][1:]


def _listed(devices: dict[str, Any]) -> Misdeed:
    return Misdeed(200, json.dumps({"device_keys": {ALICE: devices}}).encode())


def _tokens(access: str, lifetime_s: int) -> dict[str, object]:
    return {"access_token": access, "refresh_token": "r", "expires_in": lifetime_s, "token_type": "Bearer"}


async def test_an_ended_login_is_told_and_the_server_is_not_asked_again_and_again(rig: SessionRig) -> None:
    rig.log_in(refresh_token="revoked")
    await rig.begin()
    await rig.ready()
    rig.server.token = "other"
    await rig.until(lambda: rig.edge.details[-1] == ENDED)
    await asyncio.sleep(0.3)
    assert len(rig.oauth.asked("/token")) == 1
    assert rig.edge.states[-1] == "refused"
    rig.server.token = "again"
    rig.server.misdeeds["POST /keys/query"] = [_listed({"ABCDEFGHIJ": {}})]
    rig.log_in(access_token="again", grant="0022")
    await rig.until(lambda: rig.edge.states[-1] == "up")


async def test_a_device_the_homeserver_forgot_is_published_anew(rig: SessionRig) -> None:
    rig.log_in()
    rig.server.misdeeds["POST /keys/query"] = [
        _listed({"ABCDEFGHIJ": {}}),
        _listed({}),
    ]
    await rig.begin()
    await rig.ready()
    assert rig.server.asked("POST /keys/query") == []  # the first login of a device
    for grant, forgotten in (("0022", False), ("0033", True)):
        rig.log_in(grant=grant)
        rig.server.misdeeds["GET /sync"] = [refusal(401, "M_UNKNOWN_TOKEN")]
        await _until_mark(rig, grant)
        assert rig.edge.named("device")[-1].get("forgotten", False) is forgotten
    assert FORGOTTEN in rig.edge.details


async def _until_mark(rig: SessionRig, grant: str) -> None:
    await rig.until(lambda: rig.edge.marks.get("grant") == grant)


async def test_a_session_of_somebody_else_or_for_another_server_is_not_used(rig: SessionRig) -> None:
    rig.log_in(user="@mallory:one.example")
    await rig.begin()
    await rig.until(lambda: rig.edge.details[-1:] == [OTHER])
    write_session(rig.file, session_of(rig.oauth, homeserver="https://elsewhere.example"))
    await asyncio.sleep(0.2)
    assert rig.edge.details[-1] == OTHER
    assert rig.server.requests == []
    rig.file.chmod(0o644)
    await rig.until(lambda: rig.edge.details[-1] == UNUSABLE)


async def test_a_file_that_cannot_be_written_is_told(rig: SessionRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.log_in()

    def unwritable(path: Path, session: Session) -> None:
        raise BadSession("unwritable")

    monkeypatch.setattr(outside_oauth, "write_session", unwritable)
    rig.server.token = "other"
    await rig.begin()
    await rig.until(lambda: rig.edge.details[-1:] == [CANNOT_WRITE])
    assert rig.oauth.asked("/token") == []


async def test_closing_waits_for_an_exchange_that_is_under_way(
    rig: SessionRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.log_in()
    rig.server.token = "access1"
    begun = asyncio.Event()
    really = outside_oauth._refreshed

    async def slowly(web: Web, session: Session) -> answers.Tokens:
        begun.set()
        await asyncio.sleep(0.3)
        return await really(web, session)

    monkeypatch.setattr(outside_oauth, "_refreshed", slowly)
    await rig.begin()
    await begun.wait()
    await rig.half.close()
    session = read_session(rig.file)
    assert session is not None
    assert session.access_token == "access1"


# ---------------------------------------------------------------- the homeserver's own logins
@pytest_asyncio.fixture
async def own() -> AsyncIterator[Rig]:
    made = Rig(await FakeHomeserver().start())
    made.edge = DetailedEdge()
    yield made
    await made.half.close()
    await made.server.stop()


def _login(token: str, refresh: str, device: str = "DEVICE") -> Misdeed:
    answer = {"user_id": ALICE, "access_token": token, "refresh_token": refresh, "device_id": device}
    return Misdeed(200, json.dumps({**answer, "expires_in_ms": 600_000}).encode())


async def test_a_refresh_token_is_asked_for_and_used_instead_of_the_password(own: Rig) -> None:
    own.server.misdeeds["POST /login"] = [_login("one", "r1")]
    own.server.misdeeds["POST /refresh"] = [Misdeed(200, b'{"access_token": "two", "refresh_token": "r2"}')]
    own.server.token, own.server.device = "one", "DEVICE"
    await own.connect()
    await own.ready()
    assert json.loads(own.server.asked("POST /login")[0][2])["refresh_token"] is True
    own.server.token = "two"
    await own.until(lambda: len(own.edge.named("device")) == 2)
    assert json.loads(own.server.asked("POST /refresh")[0][2]) == {"refresh_token": "r1"}
    assert (own.edge.marks["token"], own.edge.marks["refresh"]) == ("two", "r2")
    assert len(own.server.asked("POST /login")) == 1


@pytest.mark.parametrize(("soft", "device"), [(True, "DEVICE"), (False, None)])
async def test_a_refresh_token_that_is_refused_leads_back_to_the_password(
    own: Rig, soft: bool, device: str | None
) -> None:
    own.server.misdeeds["POST /login"] = [_login("one", "r1"), _login("two", "r2")]
    own.server.misdeeds["POST /refresh"] = [refusal(401, "M_UNKNOWN_TOKEN", soft_logout=soft)]
    own.server.token, own.server.device = "two", "DEVICE"
    own.server.misdeeds["whoami"] = [refusal(401, "M_UNKNOWN_TOKEN", soft_logout=soft)]
    await own.connect()
    await own.until(lambda: len(own.edge.named("device")) == 2)
    assert json.loads(own.server.asked("POST /login")[1][2]).get("device_id") == device
    assert isinstance(own.edge, DetailedEdge)
    assert (NEW_DEVICE in own.edge.details) is not soft


async def test_a_server_that_does_not_answer_keeps_the_refresh_token(own: Rig) -> None:
    own.server.misdeeds["POST /login"] = [_login("one", "r1")]
    own.server.misdeeds["POST /refresh"] = [
        Misdeed(502, b""),
        Misdeed(200, b'{"access_token": "two"}'),
    ]
    own.server.token, own.server.device = "one", "DEVICE"
    await own.connect()
    await own.ready()
    own.server.token = "two"
    await own.until(lambda: len(own.edge.named("device")) == 2)
    assert own.edge.marks["refresh"] == "r1"
    assert len(own.server.asked("POST /login")) == 1


# ---------------------------------------------------------------- the configuration
LOGIN = 'matrix: {user: "@alice:example.org", password_file: secrets/alice-matrix}'


def test_a_session_file_need_not_be_there_and_reaches_the_gateway_as_a_path(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.change((LOGIN, 'matrix: {user: "@alice:example.org", session_file: secrets/alice-session}'))
    loaded = site.load()
    assert loaded.secrets.accounts["alice"] == {"matrix": {"session": str(tmp_path / "secrets" / "alice-session")}}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"device_authorization_endpoint": None}, answers.NO_DEVICE_GRANT),
        ({"grant_types_supported": ["authorization_code"]}, answers.NO_DEVICE_GRANT),
        ({"registration_endpoint": None}, answers.NO_REGISTRATION),
        ({"token_endpoint": "http://login.example/"}, answers.UNSAFE_URL),
    ],
)
async def test_the_command_says_why_it_cannot_log_in(
    server: OAuthServer, tmp_path: Path, changes: dict[str, object], code: str
) -> None:
    site = Site(tmp_path)
    site.change(
        (LOGIN, 'matrix: {user: "@alice:example.org", session_file: sessions/alice}'),
        ("https://matrix.example.org", server.url),
    )
    server.answers = {METADATA: [(200, server.metadata(**changes))]}
    with pytest.raises(WorldError) as raised:
        await asyncio.to_thread(login, site.file, "alice")
    assert raised.value.problems[0].code == code
    assert raised.value.__context__ is None
    assert not (tmp_path / "sessions" / "alice").exists()


async def test_the_command_goes_on_with_its_registration_or_makes_another(
    server: OAuthServer, tmp_path: Path, pauses: list[float]
) -> None:
    file = tmp_path / "session"
    whoami = {"user_id": ALICE, "device_id": "ABCDEFGHIJ"}
    path = "/_matrix/client/v3/account/whoami"
    write_session(file, session_of(server))
    server.answers = {path: [(200, whoami)]}
    await cli_login._login(file, server.url, ALICE, None)
    assert server.asked("/register") == []
    assert server.asked("/device")[0]["scope"] == STABLE.scope("ABCDEFGHIJ")
    server.answers = {path: [(200, whoami)], "/device": [(401, {"error": "invalid_client"})]}
    await cli_login._login(file, server.url, ALICE, None)
    assert len(server.asked("/register")) == 1
    server.answers = {path: [(200, whoami)], "/device": [(400, {"error": "invalid_scope"})]}
    await cli_login._login(file, server.url, ALICE, None)
    assert server.asked("/device")[-1]["scope"] == UNSTABLE.scope("ABCDEFGHIJ")


async def test_the_command_takes_no_tokens_of_another_user_or_device(
    server: OAuthServer, tmp_path: Path, pauses: list[float]
) -> None:
    path = "/_matrix/client/v3/account/whoami"
    for found, code in (
        ({"user_id": "@mallory:one.example", "device_id": "X"}, "other-user"),
        ({"user_id": ALICE, "device_id": "Y"}, "other-device"),
    ):
        server.answers = {
            path: [(200, found)],
            METADATA: [(200, server.metadata(revocation_endpoint=f"{server.url}/revoke"))],
        }
        with pytest.raises(WorldError) as raised:
            await cli_login._login(tmp_path / "session", server.url, ALICE, "X")
        assert raised.value.problems[0].code == code
        assert "refresh" in server.asked("/revoke")[-1]["token"]
    assert read_session(tmp_path / "session") is None


@pytest.mark.parametrize("other", ["password_file: secrets/alice-matrix", "token_file: secrets/alice-matrix"])
def test_one_way_to_log_in_is_enough(tmp_path: Path, other: str) -> None:
    site = Site(tmp_path)
    site.change((LOGIN, f'matrix: {{user: "@alice:example.org", session_file: secrets/s, {other}}}'))
    assert site.problem().code == "login"
    assert "session_file" in site.problem().remedy


@pytest.mark.parametrize(
    ("login", "found"),
    [
        ('{user: "@alice:example.org", password_file: secrets/alice-matrix}', "already the Matrix user of"),
        ('{user: "@carol:example.org", session_file: secrets/../secrets/s}', "already the session file of"),
    ],
)
def test_a_matrix_user_and_a_session_file_belong_to_one_account(tmp_path: Path, login: str, found: str) -> None:
    site = Site(tmp_path)
    second = f"""
  carol:
    xmpp: carol@example.org
    matrix: {login}
sealing:"""
    site.change((LOGIN, 'matrix: {user: "@alice:example.org", session_file: secrets/s}'), ("\nsealing:", second))
    problem = site.problem()
    assert problem.code == "duplicate-login"
    assert found in problem.found
    assert "alice" in problem.found
