"""The companion's enclave process: started, configured, watched as the gateway's is (`bridge.enclave_post`)."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable
from typing import Final

from adapters.companion.names import NETWORK
from bridge.audit import Event, log
from bridge.channel import ChannelEnded, ControlChannel
from bridge.keeping import Fatal
from bridge.register_page import RegisterPage
from bridge.spawn import ENCLAVE, Child
from bridge.wire import control
from bridge.wire.codec import FROM_ENCLAVE_CONTROL, TO_ENCLAVE_CONTROL
from bridge.wire.permit import Channel

INSIDE: Final = "adapters.companion.inside:CompanionInside"
ACCOUNT: Final = "companion"
WORD_WITHIN_S: Final = 60.0
ANSWER_WITHIN_S: Final = 5.0
EXIT_LOCKDOWN: Final = 3
EXIT_CANNOT_SERVE: Final = 1

ToEnclave = control.EnclaveConfigure | control.EnclaveRemap | control.AskStatus | control.TrustDecision
FromEnclave = control.Locked | control.Configured | control.Status | control.Decided | control.RecoveryKeyShown

_log = log("supervisor")


def configuration(jid: str, sealing_key: bytes) -> control.EnclaveConfigure:
    """What the enclave is told: its key, and one account without a map: the user talks to whomever they like."""
    account = control.AccountMap(
        id=ACCOUNT, slot=0, near_network=NETWORK, near_address=jid, far_addresses=(), contacts=()
    )
    return control.EnclaveConfigure(sealing_key=sealing_key, accounts=(account,))


class CompanionPost:
    """The enclave's post (`bridge.keeping.Post`). `attach` is given the link of every new enclave."""

    role = ENCLAVE

    def __init__(
        self, configure: control.EnclaveConfigure, lockdown: str, attach: Callable[[socket.socket], None]
    ) -> None:
        self.restarts = 0
        self.ready = False
        self.child: Child | None = None
        self.locked: control.Locked | None = None
        self._configure = configure
        self._lockdown = lockdown
        self._attach = attach
        self._register = RegisterPage()
        self._channel: ControlChannel[ToEnclave, FromEnclave] | None = None
        self._locked_down = asyncio.Event()
        self._configured = asyncio.Event()

    async def begin(self) -> Child:
        """Start an enclave, see that it is locked down, hand it its key, and join it with the driver."""
        ours, theirs = socket.socketpair()
        link, far_link = socket.socketpair()
        self._locked_down.clear()
        self._configured.clear()
        arguments = ["--control-fd", str(theirs.fileno()), "--link-fd", str(far_link.fileno())]
        arguments += ["--register-fd", str(self._register.descriptor), "--lockdown", self._lockdown]
        arguments += ["--adapter", f"{NETWORK}={INSIDE}"]
        self.child = child = Child(ENCLAVE, arguments, [theirs, far_link], [self._register.descriptor])
        self._channel = channel = ControlChannel[ToEnclave, FromEnclave](
            ours,
            TO_ENCLAVE_CONTROL,
            FROM_ENCLAVE_CONTROL,
            side=Channel.SUPERVISOR_FROM_ENCLAVE,
            heard=self._hear,
            broken=self.kill,
        )
        _log.info(Event.STARTED, process=ENCLAVE, pid=child.pid)
        with link, contextlib.suppress(ChannelEnded, TimeoutError):
            await self._until(child, self._locked_down)
            self._require_sufficient()
            await channel.send(self._configure)
            await self._until(child, self._configured)
            self.ready = True
            self._attach(link.dup())
            return child
        self.kill()
        return child

    async def ended(self, child: Child, status: int) -> bool:
        """Forget it. Raises Fatal when it cannot run here at all."""
        self.ready = False
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if status > 0 and self.locked is None:
            raise Fatal(EXIT_CANNOT_SERVE)
        return False

    async def status(self) -> object | None:
        """How it stands; None when it does not say."""
        if self._channel is not None and self.ready:
            with contextlib.suppress(ChannelEnded):
                return await self._channel.ask(lambda nonce: control.AskStatus(nonce=nonce), ANSWER_WITHIN_S)
        return None

    def kill(self) -> None:
        """End it at once."""
        if self.child is not None:
            self.child.signal(signal.SIGKILL)

    async def close(self) -> None:
        """End it: it does by itself when its channel ends. Not before the keeper has left."""
        if self._channel is not None:
            self._channel.close()
        if self.child is not None:
            await self.child.end(ANSWER_WITHIN_S)
        self._register.close()

    def _hear(self, word: FromEnclave) -> None:
        if isinstance(word, control.Locked):
            self.locked = word
            self._locked_down.set()
        elif isinstance(word, control.Configured):
            self._configured.set()

    async def _until(self, child: Child, event: asyncio.Event) -> None:
        waiting = asyncio.create_task(event.wait())
        both: list[asyncio.Future[int] | asyncio.Task[bool]] = [waiting, child.ended]
        await asyncio.wait(both, timeout=WORD_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not event.is_set():
            raise TimeoutError if child.alive else ChannelEnded

    def _require_sufficient(self) -> None:
        assert self.locked is not None
        if not self.locked.sufficient:
            missing = [measure.name for measure in self.locked.measures if not measure.achieved]
            self.kill()
            _log.error(
                Event.LOCKDOWN_REFUSED,
                detail=f"the enclave's lockdown is not sufficient here; not achieved: {', '.join(missing)}",
                remedy="See PRIVSEP.md; lockdown: best-effort runs it nevertheless.",
            )
            raise Fatal(EXIT_LOCKDOWN)
