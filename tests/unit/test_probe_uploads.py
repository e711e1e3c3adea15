"""`lockgate check` connects to where files go to and come from, and says why that does not work."""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from adapters.xmpp.outside_upload import Slot
from bridge.probe.hop import Hop, State
from bridge.probe.uploads import _reached
from rig.services import free_port

DAY = datetime.timedelta(days=1)
HERE = "127.0.0.1"


@dataclass
class Server:
    """An upload service on the loopback, with a certificate that it signed itself."""

    port: int
    pem: Path

    async def hop(self) -> Hop | None:
        """What the check says of it."""
        return await _reached(Slot(f"https://127.0.0.1:{self.port}/put/1", f"https://127.0.0.1:{self.port}/get/1"))


def certificate(pem: Path, address: str = HERE, until: datetime.timedelta = DAY) -> ssl.SSLContext:
    """A server's settings with a fresh certificate, which stands in the file as well."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "files")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - 30 * DAY)
        .not_valid_after(now + until)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(4096)
    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    writer.close()


Serve = Callable[[ssl.SSLContext | None], Awaitable[int]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    started: list[asyncio.Server] = []

    async def begin(context: ssl.SSLContext | None) -> int:
        started.append(await asyncio.start_server(_answer, "127.0.0.1", 0, ssl=context))
        port: int = started[-1].sockets[0].getsockname()[1]
        return port

    yield begin
    for server in started:
        server.close()


async def test_a_certificate_that_is_trusted_is_no_trouble_whatever_the_service_answers(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = tmp_path / "pem"
    server = Server(await serve(certificate(pem)), pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    assert await server.hop() is None


async def test_a_certificate_that_this_machine_does_not_trust_is_named(serve: Serve, tmp_path: Path) -> None:
    pem = tmp_path / "pem"
    server = Server(await serve(certificate(pem)), pem)
    hop = await server.hop()
    assert hop is not None
    assert hop.state is State.WARNING
    assert f"https://127.0.0.1:{server.port} shows a certificate that this machine does not trust" in hop.found
    assert "SSL_CERT_FILE" in hop.remedy


@pytest.mark.parametrize(
    "wrong",
    [
        (HERE, -DAY, "has expired", "Renew"),
        ("127.0.0.2", DAY, "for another name", "http_external_url"),
    ],
)
async def test_a_certificate_that_expired_or_has_another_name_is_named(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: tuple[str, datetime.timedelta, str, str]
) -> None:
    address, until, found, remedy = wrong
    pem = tmp_path / "pem"
    server = Server(await serve(certificate(pem, address, until)), pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    hop = await server.hop()
    assert hop is not None
    assert found in hop.found
    assert remedy in hop.remedy


async def test_a_service_that_is_not_there_or_speaks_no_tls_is_named(serve: Serve, tmp_path: Path) -> None:
    closed = await Server(free_port(), tmp_path).hop()
    plain = await Server(await serve(None), tmp_path).hop()
    assert closed is not None
    assert plain is not None
    assert "accepts no connections" in closed.found
    assert "does not speak TLS" in plain.found


async def test_the_place_to_fetch_from_is_tried_too(serve: Serve, tmp_path: Path) -> None:
    port = free_port()
    pem = tmp_path / "pem"
    good = await serve(certificate(pem))
    hop = await _reached(Slot(f"https://127.0.0.1:{good}/put", f"https://127.0.0.1:{port}/get"))
    assert hop is not None
    assert f":{port} accepts no connections" in hop.found
