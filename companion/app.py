"""The companion as one coroutine: `run` serves the local client until it is cancelled."""

import asyncio
import functools
import hashlib
from collections.abc import Callable

from companion.hook import Interceptor, PassThrough
from companion.local_certificate import (
    certificate_der,
    fingerprint,
    kept_certificate,
    kept_password,
    private_folder,
    public_part,
)
from companion.local_door import Door
from companion.local_sasl import accounts
from companion.local_server import Connection
from companion.local_tls import server_context
from companion.settings import Local, Settings

HOST = "127.0.0.1"


async def run(
    settings: Settings, interceptor: Interceptor | None = None, *, ready: Callable[[Local], None] = lambda local: None
) -> None:
    """Serve until cancelled; `ready` is told where. Raises OSError when a port is taken or the folder not usable."""
    private_folder(settings.folder)
    pem = kept_certificate(settings.folder, settings.domain)
    der = certificate_der(pem)
    password, password_file = settings.local_password, None
    if password is None:
        password, password_file = kept_password(settings.folder)
    context = server_context(pem)
    door = Door(settings, interceptor or PassThrough(), accounts(settings.jid, password), context, der)
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(functools.partial(Connection, door, False), HOST, settings.port)]
    try:
        if settings.tls_port is not None:
            servers.append(await loop.create_server(functools.partial(Connection, door, True), HOST, settings.tls_port))
        ports = [int(server.sockets[0].getsockname()[1]) for server in servers]
        ready(
            Local(
                HOST,
                ports[0],
                ports[1] if len(ports) > 1 else None,
                password_file,
                public_part(settings.folder, pem),
                fingerprint(der),
                hashlib.sha1(der, usedforsecurity=False).hexdigest(),
            )
        )
        await asyncio.Event().wait()
    finally:
        for server in servers:
            server.close()
        await door.close()
