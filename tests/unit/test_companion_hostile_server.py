"""The companion's login at a server that lies, or at somebody who stands in its place."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from companion.scram import ServerSide, verifier
from companion.settings import Settings
from companion.upstream import Upstream
from companion.upstream_login import LoginFailed
from rig.certificates import Certificates, make_certificates

PASSWORD = "the real password"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
TLS = "urn:ietf:params:xml:ns:xmpp-tls"
HEADER = (
    "<?xml version='1.0'?><stream:stream from='example.org' id='1' version='1.0' xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams'>"
)
_KEPT = verifier("SCRAM-SHA-1", PASSWORD, b"s" * 16, 4096)


def mechanisms(*names: str) -> str:
    offered = "".join(f"<mechanism>{name}</mechanism>" for name in names)
    return f"<stream:features><mechanisms xmlns='{SASL}'>{offered}</mechanisms></stream:features>"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("companion.upstream.LOGIN_TIMEOUT_S", 2.0)


class Hostile:
    """A server that says what it is told to. `answers`: what it says to each element of the login, in turn."""

    def __init__(self, features: str, *answers: str) -> None:
        self.features, self.answers = features, list(answers)
        self.heard = b""
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        answers = list(self.answers)
        while octets := await reader.read(1 << 16):
            self.heard += octets
            if b"<stream:stream" in octets:
                writer.write((HEADER + self.features).encode())
            elif b"</stream:stream" in octets:
                break
            elif answers:
                writer.write(self.answer(answers.pop(0), octets).encode())
        writer.close()

    def answer(self, answer: str, octets: bytes) -> str:
        """A true challenge, if that is asked for; else what was told."""
        if answer != "CHALLENGE":
            return answer
        said = base64.b64decode(octets.partition(b">")[2].partition(b"<")[0]).decode()
        side = ServerSide("SCRAM-SHA-1", {}, plus_offered=False)
        side.read_first(said)
        return challenge(side.first(_KEPT, "more"))


def challenge(text: str) -> str:
    return f"<challenge xmlns='{SASL}'>{base64.b64encode(text.encode()).decode()}</challenge>"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"), "example.org")


@asynccontextmanager
async def serving(hostile: Hostile, certificates: Certificates, *, tls: bool) -> AsyncIterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    server = await asyncio.start_server(hostile.serve, "127.0.0.1", 0, ssl=context if tls else None)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


async def refusal(hostile: Hostile, folder: Path, certificates: Certificates, *, tls: bool = True) -> LoginFailed:
    """Log in at it: why that failed."""
    async with serving(hostile, certificates, tls=tls) as port:
        settings = Settings(
            "alice@example.org",
            PASSWORD,
            folder,
            host="127.0.0.1",
            server_port=port,
            direct_tls=tls,
            ca_file=certificates.authority,
        )
        upstream = Upstream(settings, "en", on_stanza=lambda *_: None, on_lost=lambda _: None, on_progress=lambda: None)
        try:
            with pytest.raises(LoginFailed) as failed:
                await upstream.login()
        finally:
            await upstream.close()
        return failed.value


def shows_password(hostile: Hostile) -> bool:
    marks = (PASSWORD.encode(), base64.b64encode(f"\0alice\0{PASSWORD}".encode()))
    return any(mark in hostile.heard for mark in marks)


@pytest.mark.parametrize(
    ("features", "answers"),
    [
        (mechanisms("PLAIN"), []),
        (mechanisms("SCRAM-SHA-1", "PLAIN"), []),
        (f"<success xmlns='{SASL}'/>", []),
        (challenge("r=x,s=c3Nzcw==,i=1"), []),
        ("<iq type='get' id='1'><query xmlns='jabber:iq:auth'/></iq>", []),
        (f"<stream:features><starttls xmlns='{TLS}'/></stream:features>{mechanisms('PLAIN')}", []),
        (
            f"<stream:features><starttls xmlns='{TLS}'/></stream:features>",
            [f"<failure xmlns='{TLS}'/>{mechanisms('PLAIN')}"],
        ),
        (
            f"<stream:features><starttls xmlns='{TLS}'/></stream:features>",
            [f"<proceed xmlns='{TLS}'/>{mechanisms('PLAIN')}"],
        ),
    ],
)
async def test_nothing_is_said_to_a_server_without_tls(
    features: str, answers: list[str], tmp_path: Path, certificates: Certificates
) -> None:
    hostile = Hostile(features, *answers)
    await refusal(hostile, tmp_path, certificates, tls=False)
    assert b"<auth" not in hostile.heard
    assert not shows_password(hostile)


@pytest.mark.parametrize(
    ("features", "answers", "reason"),
    [
        (mechanisms("PLAIN", "DIGEST-MD5", "X-OAUTH2", "EXTERNAL", "ANONYMOUS"), [], "no login that does not show"),
        (mechanisms(), [], "no login that does not show"),
        (mechanisms("SCRAM-SHA-1"), [f"<success xmlns='{SASL}'/>"], "malformed message"),
        (f"<success xmlns='{SASL}'/>", [], "without being asked"),
        (mechanisms("SCRAM-SHA-1"), ["CHALLENGE", f"<success xmlns='{SASL}'/>"], "malformed message"),
        (mechanisms("SCRAM-SHA-1"), ["CHALLENGE", f"<success xmlns='{SASL}'>dj1XRmhZ</success>"], "does not know"),
        (mechanisms("SCRAM-SHA-1"), [challenge("r=other,s=c3Nzcw==,i=4096")], "the nonce is another"),
        (mechanisms("SCRAM-SHA-1"), ["CHALLENGE", mechanisms("PLAIN")], ""),
        (mechanisms("SCRAM-SHA-1"), ["CHALLENGE", "<stream:features><bind/></stream:features>"], ""),
        (
            "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>127.0.0.1:1</see-other-host>"
            "</stream:error>",
            [],
            "ended the stream",
        ),
        (f"<stream:features><starttls xmlns='{TLS}'/></stream:features>", [], "no login that does not show"),
    ],
)
async def test_a_server_that_does_not_know_the_password_is_not_logged_in_to(
    features: str,
    answers: list[str],
    reason: str,
    tmp_path: Path,
    certificates: Certificates,
) -> None:
    hostile = Hostile(features, *answers)
    failed = await refusal(hostile, tmp_path, certificates)
    assert reason in str(failed)
    assert not shows_password(hostile)
    assert hostile.connections == 1


async def test_a_certificate_for_another_name_is_refused_before_anything_is_said(tmp_path: Path) -> None:
    other = make_certificates(tmp_path, "127.0.0.1.example.net")
    hostile = Hostile(mechanisms("SCRAM-SHA-1"))
    failed = await refusal(hostile, tmp_path, other)
    assert "not trusted" in str(failed)
    assert hostile.heard == b""
