"""`lockgate run`: starts the gateway and the enclave, keeps them running, and passes the operator's will on.

It opens no connection to any network and never holds a message: it reads the configuration and the sealing key,
and talks to its two children over a control channel each.
"""

import asyncio
import contextlib
import signal
from dataclasses import replace
from pathlib import Path
from typing import Final

from bridge.admin import AdminSocket
from bridge.audit import Event, log, set_up
from bridge.config.handover import account_maps, assigned_slots, route_maps
from bridge.config.load import Loaded, load
from bridge.enclave_post import EnclavePost
from bridge.errors import ConfigError, Problem
from bridge.gateway_post import GatewayPost
from bridge.hardening import undumpable
from bridge.keeping import Fatal, Keeper
from bridge.operator import Operator
from bridge.register_page import RegisterPage
from bridge.statedir import StateDir
from bridge.wire import control, gateway_control

DRAIN_WITHIN_S: Final = 10.0
GRACE_S: Final = 5.0

_log = log("supervisor")


class Supervisor:
    """One run of Lockgate."""

    def __init__(self, file: Path, loaded: Loaded) -> None:
        self._file = file
        self._loaded = loaded
        self._register = RegisterPage()
        self._slots = assigned_slots(loaded.config.accounts)
        self._stopping = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._reloads: set[asyncio.Task[None]] = set()
        self._told_up = False
        self.gateway = GatewayPost(self._state, self._up)
        self.enclave = EnclavePost(self._state, self._register, self.gateway, self._up)
        self._keepers = (Keeper(self.gateway), Keeper(self.enclave))
        self._operator = Operator(self.gateway, self.enclave, lambda: self._loaded.config)

    async def run(self) -> int:
        """Run until told to stop, or until running is pointless; returns the exit status."""
        admin = AdminSocket(self._loaded.config.admin_socket, self._operator.answer)
        await admin.open()
        self._listen_to_signals()
        keeping = [asyncio.create_task(keeper.keep()) for keeper in self._keepers]
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([stopped, *keeping], return_when=asyncio.FIRST_COMPLETED)
            return await self._end(keeping)
        finally:
            stopped.cancel()
            admin.close()
            self._register.close()

    # -------------------------------------------------- what the posts need
    def _state(self) -> tuple[Loaded, dict[str, int]]:
        return self._loaded, dict(self._slots)

    def _up(self) -> None:
        """A process got ready: say once that everything is."""
        if not self._told_up and self.gateway.ready and self.enclave.ready:
            self._told_up = True
            _log.info(Event.UP)

    # -------------------------------------------------- signals
    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._begin_reload)

    def _stop(self) -> None:
        if self._stopping.is_set():  # asked twice: at once
            self.gateway.kill()
            self.enclave.kill()
        self._stopping.set()

    def _begin_reload(self) -> None:
        task = asyncio.create_task(self._reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    # -------------------------------------------------- the end
    async def _end(self, keeping: list[asyncio.Task[None]]) -> int:
        """Drain when all is well; end both processes in any case."""
        fatal = next((error for task in keeping if task.done() and isinstance(error := task.exception(), Fatal)), None)
        _log.info(Event.STOPPING)
        # The enclave is kept running meanwhile: the gateway drains through it.
        self._keepers[0].leave()
        if fatal is None:
            await self.gateway.drain(DRAIN_WITHIN_S)
        self._keepers[1].leave()
        await self.gateway.end(GRACE_S if fatal is None else 0.0)
        await self.enclave.end(GRACE_S)
        for task in keeping:
            task.cancel()
        results = await asyncio.gather(*keeping, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, Fatal):
                raise result
        status = 0 if fatal is None else fatal.status
        _log.info(Event.STOPPED, status=status)
        return status

    # -------------------------------------------------- SIGHUP
    async def _reload(self) -> None:
        """Read the configuration anew; a wrong one changes nothing."""
        async with self._reloading:
            problems: tuple[Problem, ...] = ()
            try:
                loaded = await asyncio.to_thread(load, self._file)
            except ConfigError as error:
                problems = error.problems
            if problems:
                _log_problems(problems)
                return
            await self._take(loaded)

    async def _take(self, loaded: Loaded) -> None:
        """Serve the new contacts. What cannot change while running stays as it was, and is named."""
        if added := loaded.config.networks().keys() - self._loaded.config.networks().keys():
            # Both processes have loaded the adapters of the networks there were.
            _log.error(Event.RELOAD_REFUSED, where="accounts", detail="a restart is needed", network=min(added))
            return
        fixed = _fixed(self._loaded)
        for name, value in _fixed(loaded).items():
            if value != fixed[name]:
                _log.warning(Event.RESTART_NEEDED, where=name)
        config = self._loaded.config.model_copy(update={"accounts": loaded.config.accounts})
        before = self._slots
        self._slots = assigned_slots(config.accounts, before)
        owners = {slot: name for name, slot in before.items()}
        for name, slot in self._slots.items():
            if owners.get(slot, name) != name:
                self._register.clear(slot)
        secrets = replace(self._loaded.secrets, accounts=loaded.secrets.accounts, peers=loaded.secrets.peers)
        self._loaded = Loaded(config, secrets)
        maps = account_maps(config, self._slots, secrets)
        await self.enclave.remap(control.EnclaveRemap(accounts=maps))
        await self.gateway.remap(gateway_control.GatewayRemap(accounts=route_maps(config, secrets)))
        _log.info(Event.RELOADED, count=len(config.accounts))


def _fixed(loaded: Loaded) -> dict[str, object]:
    """What needs a restart to change, by its place in the configuration."""
    config = loaded.config
    return {
        "xmpp": (config.xmpp, loaded.secrets.component),
        "matrix": (config.matrix, loaded.secrets.appservice),
        "adapters": (config.adapters, loaded.secrets.adapters),
        "sealing": (config.sealing, loaded.secrets.sealing_key),
        "storage": config.storage,
        "state_dir": config.state_dir,
        "enclave": config.enclave,
        "log": config.log,
    }


def _log_problems(problems: tuple[Problem, ...]) -> None:
    for problem in problems:
        _log.error(
            Event.RELOAD_REFUSED,
            code=problem.code,
            where=problem.where,
            detail=problem.found,
            remedy=problem.remedy,
        )


def run(file: Path) -> int:
    """Run Lockgate with this configuration until SIGTERM or SIGINT; returns the exit status.

    0 told to stop, 1 a process cannot serve, 3 the enclave's lockdown is not sufficient here. Raises
    ConfigError, and WorldError when another Lockgate runs in the same folder.
    """
    undumpable()
    loaded = load(file)
    set_up(loaded.config.log.level, loaded.config.log.format)
    with contextlib.closing(StateDir(loaded.config)):
        return asyncio.run(_run(file, loaded))


async def _run(file: Path, loaded: Loaded) -> int:
    return await Supervisor(file, loaded).run()
