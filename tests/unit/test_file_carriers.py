"""Both networks' servers of files, stood in for by small ones: what is asked of them, and what their answers mean."""

import asyncio
import re
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from adapters.matrix.outside_files import MatrixCarrier
from adapters.matrix.transport import Homeserver
from adapters.outside_api import Outcome
from adapters.xmpp.outside_asks import Asks
from adapters.xmpp.outside_files import Web
from adapters.xmpp.outside_upload import Slot, Uploads

OCTETS = bytes(range(256)) * 1000
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Answers each path as the test says, and keeps what was asked."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[bytes] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        self.seen.append((request.method, request.path_qs, dict(request.headers)))
        if request.method in ("PUT", "POST"):
            self.bodies.append(await request.read())
        handler = self.handlers.get(request.path)
        return (
            await handler(request) if handler is not None else web.json_response({"errcode": "M_NOT_FOUND"}, status=404)
        )

    def says(self, path: str, *, status: int = 200, body: bytes = b"", **headers: str) -> None:
        """Always the same answer."""

        async def answer(_: web.Request) -> web.Response:
            return web.Response(status=status, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})

        self.handlers[path] = answer


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    """One on loopback."""
    made = Server()
    application = web.Application(client_max_size=1 << 24)
    application.router.add_route("*", "/{tail:.*}", made.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


class Taken:
    """A sink."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def __call__(self, octets: bytes) -> None:
        self.pieces.append(octets)

    @property
    def octets(self) -> bytes:
        """All of them."""
        return b"".join(self.pieces)


# ---------------------------------------------------------------- Matrix
@pytest_asyncio.fixture
async def matrix(server: Server) -> AsyncIterator[MatrixCarrier]:
    """A logged-in account."""
    homeserver = Homeserver(server.url, "@alice:one")
    homeserver.client.access_token = "syt_secret"
    yield MatrixCarrier(homeserver)
    await homeserver.close()


MEDIUM = "/_matrix/client/v1/media/download/one/abc"
UPLOAD = "/_matrix/media/v3/upload"


async def test_media_are_downloaded_with_our_token_in_small_pieces(server: Server, matrix: MatrixCarrier) -> None:
    server.says(MEDIUM, body=OCTETS)
    taken = Taken()
    assert await matrix.load("mxc://one/abc", len(OCTETS), taken) == Outcome()
    assert taken.octets == OCTETS
    assert max(map(len, taken.pieces)) <= 64 << 10
    assert server.seen[0][2]["Authorization"] == "Bearer syt_secret"


async def test_media_that_lie_elsewhere_are_fetched_without_the_token(server: Server, matrix: MatrixCarrier) -> None:
    server.says(MEDIUM, status=307, Location="/cdn/abc?sig=1")
    server.says("/cdn/abc", body=b"there")
    taken = Taken()
    assert await matrix.load("mxc://one/abc", 100, taken) == Outcome()
    assert taken.octets == b"there"
    assert "Authorization" not in server.seen[1][2]


async def test_old_homeservers_have_them_where_they_were(server: Server, matrix: MatrixCarrier) -> None:
    server.says(MEDIUM, status=404, body=b'{"errcode": "M_UNRECOGNIZED"}')
    server.says("/_matrix/media/v3/download/one/abc", body=b"old")
    taken = Taken()
    assert await matrix.load("mxc://one/abc", 100, taken) == Outcome()
    assert taken.octets == b"old"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((404, b'{"errcode": "M_NOT_FOUND"}'), ("file-gone", False)),
        ((403, b'{"errcode": "M_FORBIDDEN"}'), ("file-gone", False)),
        ((401, b'{"errcode": "M_UNKNOWN_TOKEN"}'), ("logged-out", True)),
        ((429, b'{"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 2500}'), ("rate-limited", True)),
        ((504, b'{"errcode": "M_NOT_YET_UPLOADED"}'), ("unavailable", True)),
        ((502, b"<html>"), ("unavailable", True)),
    ],
)
async def test_what_a_homeserver_says_instead_of_a_medium(
    server: Server, matrix: MatrixCarrier, answer: tuple[int, bytes], expected: tuple[str, bool]
) -> None:
    server.says(MEDIUM, status=answer[0], body=answer[1])
    outcome = await matrix.load("mxc://one/abc", 100, Taken())
    assert (outcome.code, outcome.retry) == expected
    assert outcome.retry_after_s == (2.5 if answer[0] == 429 else None)


async def test_a_medium_that_is_larger_than_is_taken_is_not_begun(server: Server, matrix: MatrixCarrier) -> None:
    server.says(MEDIUM, body=OCTETS)
    taken = Taken()
    assert await matrix.load("mxc://one/abc", 100, taken) == Outcome("file-too-large")
    assert taken.pieces == []


async def test_a_medium_that_ends_too_early_is_asked_for_again(server: Server, matrix: MatrixCarrier) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"x" * 10)
        assert request.transport is not None
        request.transport.close()
        return response

    server.handlers[MEDIUM] = cut
    assert (await matrix.load("mxc://one/abc", 2000, Taken())).retry


async def test_a_file_is_uploaded_with_its_length_and_without_a_name(
    server: Server, matrix: MatrixCarrier, tmp_path: Path
) -> None:
    file = _file(tmp_path)
    server.says("/_matrix/client/v1/media/config", body=b'{"m.upload.size": 300000}')
    server.says(UPLOAD, body=b'{"content_uri": "mxc://one/new"}')
    outcome = await matrix.upload(file, len(OCTETS), None)
    assert outcome.body == b'{"content_uri": "mxc://one/new"}'
    assert server.bodies == [OCTETS]
    method, path, headers = server.seen[-1]
    assert (method, path) == ("POST", UPLOAD)
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Length"] == str(len(OCTETS))


async def test_what_the_homeserver_does_not_take_is_not_sent_to_it(
    server: Server, matrix: MatrixCarrier, tmp_path: Path
) -> None:
    server.says("/_matrix/client/v1/media/config", body=b'{"m.upload.size": 1000}')
    assert await matrix.upload(_file(tmp_path), len(OCTETS), None) == Outcome("file-too-large")
    assert server.bodies == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((413, b'{"errcode": "M_TOO_LARGE"}'), ("file-too-large", False)),
        ((413, b"<html>"), ("file-too-large", False)),
        ((403, b'{"errcode": "M_FORBIDDEN"}'), ("upload-refused", False)),
        ((429, b'{"errcode": "M_LIMIT_EXCEEDED"}'), ("rate-limited", True)),
        ((500, b""), ("unavailable", True)),
        ((200, b"nothing"), ("malformed-response", True)),
    ],
)
async def test_what_a_homeserver_says_of_an_upload(
    server: Server, matrix: MatrixCarrier, tmp_path: Path, answer: tuple[int, bytes], expected: tuple[str, bool]
) -> None:
    server.says(UPLOAD, status=answer[0], body=answer[1])
    outcome = await matrix.upload(_file(tmp_path), len(OCTETS), None)
    assert (outcome.code, outcome.retry) == expected


def _file(folder: Path) -> Path:
    path = folder / "file"
    path.write_bytes(OCTETS)
    return path


# ---------------------------------------------------------------- XMPP: http
@pytest_asyncio.fixture
async def named(server: Server) -> AsyncIterator[Web]:
    """The operator named the server."""
    made = Web([server.url.removeprefix("http://")])
    yield made
    await made.close()


async def test_a_file_is_fetched_from_a_host_that_was_named(server: Server, named: Web) -> None:
    server.says("/a/b.jpg", body=OCTETS)
    taken = Taken()
    assert await named.get(f"{server.url}/a/b.jpg?x=%2F", len(OCTETS), taken) == Outcome()
    assert taken.octets == OCTETS
    assert server.seen[0][1] == "/a/b.jpg?x=%2F"
    assert not {"Authorization", "Cookie", "Referer"} & server.seen[0][2].keys()


async def test_nothing_is_asked_of_hosts_that_were_not_named(server: Server) -> None:
    web_, taken = Web(), Taken()
    port = server.url.rpartition(":")[2]
    for url in (
        server.url,
        f"https://127.0.0.1:{port}",
        f"https://localhost:{port}",
        f"https://[::ffff:127.0.0.1]:{port}",
    ):
        assert await web_.get(f"{url}/a", 100, taken) == Outcome("file-address-refused")
    assert server.seen == []
    await web_.close()


async def test_a_redirection_leads_nowhere_else(server: Server, named: Web) -> None:
    port = server.url.rpartition(":")[2]
    server.says("/good", status=302, Location="/a")
    server.says("/a", body=b"x")
    server.says("/bad", status=302, Location=f"http://localhost:{port}/a")
    server.says("/loop", status=302, Location="/loop")
    assert await named.get(f"{server.url}/good", 9, Taken()) == Outcome()
    assert await named.get(f"{server.url}/bad", 9, Taken()) == Outcome("file-address-refused")
    assert await named.get(f"{server.url}/loop", 9, Taken()) == Outcome("file-unavailable")
    assert len([path for _, path, _ in server.seen if path == "/loop"]) == 4


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (404, ("file-gone", False)),
        (410, ("file-gone", False)),
        (429, ("file-unavailable", True)),
        (503, ("file-unavailable", True)),
    ],
)
async def test_what_a_server_says_instead_of_a_file(
    server: Server, named: Web, status: int, expected: tuple[str, bool]
) -> None:
    server.says("/a", status=status, Retry_After="7")
    outcome = await named.get(f"{server.url}/a", 9, Taken())
    assert (outcome.code, outcome.retry) == expected
    assert outcome.retry_after_s == (7.0 if outcome.retry else None)


async def test_a_server_that_is_not_there_is_asked_again() -> None:
    web_ = Web(["127.0.0.1:9"])
    assert (await web_.get("http://127.0.0.1:9/a", 9, Taken())).retry
    await web_.close()


async def test_a_file_is_put_where_it_was_said_with_the_headers_that_may_be_asked_for(
    server: Server, named: Web, tmp_path: Path
) -> None:
    server.says("/u/1", status=201)
    slot = Slot(f"{server.url}/u/1", "https://files.example.org/1", (("Authorization", "Bearer x"),))
    outcome = await named.put(slot, _file(tmp_path), len(OCTETS))
    assert outcome.body == b'{"url": "https://files.example.org/1"}'
    assert server.bodies == [OCTETS]
    assert server.seen[0][2]["Authorization"] == "Bearer x"
    assert named.hosts.allows("files.example.org", 443)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(413, ("file-too-large", False)), (403, ("upload-refused", False)), (500, ("file-unavailable", True))],
)
async def test_what_a_server_says_of_an_upload(
    server: Server, named: Web, tmp_path: Path, status: int, expected: tuple[str, bool]
) -> None:
    server.says("/u/1", status=status)
    outcome = await named.put(Slot(f"{server.url}/u/1", "https://x/1"), _file(tmp_path), len(OCTETS))
    assert (outcome.code, outcome.retry) == expected


async def test_nothing_is_put_anywhere_without_tls(named: Web, tmp_path: Path) -> None:
    slot = Slot("http://files.example.org/u", "https://files.example.org/u")
    assert await named.put(slot, _file(tmp_path), len(OCTETS)) == Outcome("upload-insecure")


# ---------------------------------------------------------------- XMPP: places
ITEMS = (
    "<query xmlns='http://jabber.org/protocol/disco#items'><item jid='rooms.example.org'/>"
    "<item jid='files.example.org'/></query>"
)
INFO = (
    "<query xmlns='http://jabber.org/protocol/disco#info'><feature var='urn:xmpp:http:upload:0'/>"
    "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE'><value>urn:xmpp:http:upload:0</value></field>"
    "<field var='max-file-size'><value>5000</value></field></x></query>"
)
SLOT = (
    "<slot xmlns='urn:xmpp:http:upload:0'><put url='https://up.example.org/1'>"
    "<header name='Authorization'>Basic\n x</header><header name='Host'>evil</header></put>"
    "<get url='https://down.example.org/1'/></slot>"
)
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"


class Services:
    """The user's server, as far as files go. `answers`: by whom is asked and what for, the inner XML."""

    def __init__(self) -> None:
        self.asks = Asks(self.write)
        self.uploads = Uploads(self.asks)
        self.asked: list[tuple[str, str]] = []
        empty = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
        self.answers: dict[tuple[str, str], str] = {
            ("example.org", "items"): ITEMS,
            ("example.org", "info"): empty,
            ("rooms.example.org", "info"): empty,
            ("files.example.org", "info"): INFO,
            ("files.example.org", "request"): SLOT,
        }

    def write(self, octets: bytes) -> None:
        """An iq goes out; its answer comes at the next turn of the loop."""
        iq = ET.fromstring(octets)
        what = {"items": "items", "info": "info"}.get(iq[0].tag.partition("#")[2].partition("}")[0], "request")
        to = iq.get("to", "")
        self.asked.append((to, what))
        inner = self.answers.get((to, what))
        if inner is not None:
            kind = "error" if inner.startswith("<error") else "result"
            answer = ET.fromstring(f"<iq type='{kind}' id='{iq.get('id')}' from='{to}'>{inner}</iq>")
            asyncio.get_running_loop().call_soon(self.asks.answered, answer)


async def test_the_upload_service_is_found_once_and_gives_a_place() -> None:
    services = Services()
    for _ in range(2):
        slot = await services.uploads.slot("alice@gate", "example.org", 100, "jpg")
    assert slot == Slot("https://up.example.org/1", "https://down.example.org/1", (("Authorization", "Basic x"),))
    assert services.asked == [
        ("example.org", "items"),
        ("example.org", "info"),
        ("rooms.example.org", "info"),
        ("files.example.org", "info"),
        ("files.example.org", "request"),
        ("files.example.org", "request"),
    ]


async def test_a_file_beyond_the_services_limit_is_refused_before_it_is_asked() -> None:
    services = Services()
    assert await services.uploads.slot("alice@gate", "example.org", 5001, None) == Outcome("file-too-large")
    assert ("files.example.org", "request") not in services.asked


@pytest.mark.parametrize(
    ("error", "code", "retry"),
    [
        (f"<error type='auth'><forbidden xmlns='{STANZAS}'/></error>", "upload-refused", False),
        (f"<error type='cancel'><not-allowed xmlns='{STANZAS}'/></error>", "upload-refused", False),
        (f"<error type='wait'><resource-constraint xmlns='{STANZAS}'/></error>", "upload-refused", False),
        (f"<error type='wait'><internal-server-error xmlns='{STANZAS}'/></error>", "upload-unavailable", True),
        (
            f"<error type='modify'><not-acceptable xmlns='{STANZAS}'/>"
            "<file-too-large xmlns='urn:xmpp:http:upload:0'><max-file-size>20</max-file-size></file-too-large></error>",
            "file-too-large",
            False,
        ),
    ],
)
async def test_why_there_is_no_place(error: str, code: str, retry: bool) -> None:
    services = Services()
    services.answers["files.example.org", "request"] = error
    outcome = await services.uploads.slot("alice@gate", "example.org", 100, None)
    assert isinstance(outcome, Outcome)
    assert (outcome.code, outcome.retry) == (code, retry)


async def test_a_server_without_files_is_told_from_one_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    services = Services()
    services.answers["example.org", "items"] = ITEMS.replace("files.", "other.")
    services.answers["other.example.org", "info"] = services.answers["example.org", "info"]
    assert await services.uploads.slot("alice@gate", "example.org", 1, None) == Outcome("upload-no-service")
    del services.answers["other.example.org", "info"]
    plain = services.asks.ask

    async def hasty(sender: str, to: str, inner: str, *, within_s: float = 0.05) -> ET.Element | None:
        return await plain(sender, to, inner, within_s=0.05)

    monkeypatch.setattr(Asks, "ask", lambda _self, *words, **_: hasty(*words))
    outcome = await services.uploads.slot("alice@gate", "example.org", 1, None)
    assert isinstance(outcome, Outcome)
    assert outcome.retry


async def test_only_who_was_asked_can_answer() -> None:
    written: list[bytes] = []
    asks = Asks(written.append)
    asking = asyncio.create_task(asks.ask("alice@gate", "files.example.org", "<x xmlns='y'/>", within_s=5))
    await asyncio.sleep(0)
    id_ = re.findall(rb"id=['\"]([^'\"]+)", written[0])[0].decode()
    assert not asks.answered(ET.fromstring(f"<iq type='result' id='{id_}' from='evil.example.org'/>"))
    assert asks.answered(ET.fromstring(f"<iq type='result' id='{id_}' from='files.example.org'/>"))
    assert await asking is not None
    assert not asks.answered(ET.fromstring(f"<iq type='result' id='{id_}' from='files.example.org'/>"))
    lost = asyncio.create_task(asks.ask("alice@gate", "files.example.org", "<x xmlns='y'/>", within_s=5))
    await asyncio.sleep(0)
    asks.forget()
    assert await lost is None
