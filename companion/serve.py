"""One run of the companion: its folder, its enclave, its proxy, until it is told to stop."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from bridge.audit import Event, log, set_up
from bridge.cli.keygen import make_key
from bridge.config.reference import BadFile, Reference
from bridge.config.secrets import sealing_key, secret_text
from bridge.errors import ConfigError, Problem, WorldError
from bridge.hardening import undumpable
from bridge.import_guard import stand_guard
from bridge.keeping import Fatal
from bridge.ledger.errors import LedgerError
from companion import app
from companion.config import CompanionConfig
from companion.driver import running
from companion.local_certificate import private_folder
from companion.settings import Local, Settings

SEALING: Final = "sealing"
EXIT_CANNOT_SERVE: Final = 1

_log = log("supervisor")


def run(config: CompanionConfig, ready: Callable[[Local], None]) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status (3: the enclave cannot be locked down here).

    Raises ConfigError for files that cannot be used, WorldError for a taken port or a folder that is in use.
    """
    undumpable()
    stand_guard()
    set_up("warning", "console")
    trouble: WorldError
    try:
        return asyncio.run(_run(config, ready))
    except LedgerError as error:
        found = f"cannot be used ({error.code})"
        remedy = "Is another companion running with this folder?"
        trouble = WorldError(Problem(error.code, str(config.place), found, remedy))
    except OSError as error:
        found = f"cannot be listened on, or the folder not used ({error.strerror})"
        trouble = WorldError(Problem("cannot-listen", config.listen, found, "Choose another port with --listen."))
    raise trouble


async def _run(config: CompanionConfig, ready: Callable[[Local], None]) -> int:
    settings, key = _prepared(config)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with running(config.place, config.jid, key, lockdown=config.lockdown) as (interceptor, broken):
        if not broken.done():
            failed = await _serve(app.run(settings, interceptor, ready=ready), stopping, broken)
            if failed is not None:
                raise failed
        error = broken.exception() if broken.done() else None
    if error is None:
        return 0
    _log.error(Event.STOPPED, error=type(error).__name__)
    return error.status if isinstance(error, Fatal) else EXIT_CANNOT_SERVE


async def _serve(
    proxy: Coroutine[None, None, None], stopping: asyncio.Event, broken: "asyncio.Future[None]"
) -> BaseException | None:
    """Serve until told to stop, or until the enclave cannot be had any more; why it could not be served at all."""
    serving = asyncio.create_task(proxy)
    stopped = asyncio.create_task(stopping.wait())
    ends: list[asyncio.Future[Any]] = [serving, stopped, broken]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    failed = serving.exception() if serving.done() else None
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    return failed


def _prepared(config: CompanionConfig) -> tuple[Settings, bytes]:
    """Make what the first run needs, read what every run needs. Raises ConfigError."""
    private_folder(config.place)
    sealing = config.place / SEALING
    if not sealing.exists():
        make_key(sealing)
    problems: list[Problem] = []
    password, key = "", b""
    try:
        password = secret_text(_reference(config.password_file))
    except BadFile as error:
        problems.append(Problem(error.code, "password_file", error.found, error.remedy))
    try:
        key = sealing_key(_reference(sealing))
    except BadFile as error:
        problems.append(Problem(error.code, str(sealing), error.found, error.remedy))
    if problems:
        raise ConfigError(config.jid, problems)
    server = config.server
    settings = Settings(
        jid=config.jid,
        password=password,
        folder=config.place,
        port=config.port,
        tls_port=config.listen_tls,
        host=server.host,
        server_port=server.port,
        direct_tls=server.direct_tls,
        ca_file=server.ca_file,
        fingerprint=server.fingerprint,
        allow_plain=server.allow_plain,
    )
    return settings, key


def _reference(file: Path) -> Reference:
    return Reference(str(file), file.parent)
