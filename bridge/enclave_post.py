"""The enclave's post: what it takes to start an enclave and to bring it to work."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Final

from adapters.registry import CONTROL_INSIDE
from bridge.audit import Event, log
from bridge.channel import ChannelEnded, ControlChannel
from bridge.config.handover import account_maps, enclave_configure, halves
from bridge.config.load import Loaded
from bridge.config.networks import NEAR_NETWORK
from bridge.gateway_post import GatewayPost
from bridge.keeping import Fatal, State
from bridge.register_page import RegisterPage
from bridge.spawn import ENCLAVE, Child
from bridge.wire import control
from bridge.wire.codec import FROM_ENCLAVE_CONTROL, TO_ENCLAVE_CONTROL
from bridge.wire.permit import Channel
from bridge.wire.values import CONTROL

WORD_WITHIN_S: Final = 60.0
ANSWER_WITHIN_S: Final = 5.0
AFTER_LINK_S: Final = 2.0
"""How long an enclave whose link has ended may take to end itself."""
GATEWAY_ENDING_S: Final = 0.3
EXIT_CANNOT_SERVE: Final = 1
EXIT_LOCKDOWN: Final = 3
EXIT_ADAPTER: Final = 5
"""The enclave's: one of its adapters cannot be loaded."""
NO_ADAPTER: Final = "the inside half of an adapter cannot be loaded"

ToEnclave = (
    control.EnclaveConfigure
    | control.EnclaveRemap
    | control.AskStatus
    | control.TrustDecision
    | control.ShowRecoveryKey
    | control.Recover
    | control.Verify
)
FromEnclave = (
    control.Locked
    | control.Configured
    | control.Status
    | control.Decided
    | control.RecoveryKeyShown
    | control.VerificationTold
)

_log = log("supervisor")


class EnclavePost:
    """The enclave's."""

    role = ENCLAVE

    def __init__(
        self, state: State, register: RegisterPage, gateway: GatewayPost, got_ready: Callable[[], None]
    ) -> None:
        self.restarts = 0
        self.ready = False
        self.child: Child | None = None
        self.locked: control.Locked | None = None
        self._state = state
        self._register = register
        self._gateway = gateway
        self._got_ready = got_ready
        self._channel: ControlChannel[ToEnclave, FromEnclave] | None = None
        self._locked_down = asyncio.Event()
        self._configured = asyncio.Event()
        self._lockdown_logged = False
        self._served_by: Child | None = None
        self._watch: asyncio.Task[None] | None = None

    # -------------------------------------------------- the keeper's
    async def begin(self) -> Child:
        """Start an enclave, see that it is locked down, hand it key and map, and join it with the gateway."""
        loaded, slots = self._state()
        ours, theirs = socket.socketpair()
        link, far_link = socket.socketpair()
        self._locked_down.clear()
        self._configured.clear()
        self._served_by = None
        arguments = self._arguments(loaded, theirs, far_link)
        self.child = child = Child(ENCLAVE, arguments, [theirs, far_link], [self._register.descriptor])
        side = Channel.SUPERVISOR_FROM_ENCLAVE
        self._channel = channel = ControlChannel[ToEnclave, FromEnclave](
            ours, TO_ENCLAVE_CONTROL, FROM_ENCLAVE_CONTROL, side=side, heard=self._hear, broken=self.kill
        )
        _log.info(Event.STARTED, process=ENCLAVE, pid=child.pid)
        with link, contextlib.suppress(ChannelEnded, TimeoutError):
            await self._until(child, self._locked_down)
            self._require_sufficient()
            loaded, slots = self._state()  # the operator may have changed the map meanwhile
            await channel.send(enclave_configure(loaded, slots))
            await self._until(child, self._configured)
            self.ready = True
            await self._catch_up(loaded)
            taker = await self._gateway.attach(link.dup())
            self._watch = asyncio.create_task(self._end_with_gateway(child, taker))
            self._got_ready()
            return child
        child.signal(signal.SIGKILL)
        return child

    async def _catch_up(self, given: Loaded) -> None:
        """What changed while the enclave took its first map was not passed on."""
        loaded, slots = self._state()
        if loaded is not given:
            await self.remap(control.EnclaveRemap(accounts=account_maps(loaded.config, slots, loaded.secrets)))

    async def ended(self, child: Child, status: int) -> bool:
        """Forget it. Expected is its end after the gateway's, which closed the link. Raises Fatal when the first
        enclave cannot load its adapters."""
        self.ready = False
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._channel is not None:
            if self._channel.violated:
                _log.error(Event.CHANNEL_VIOLATED, process=ENCLAVE)
            self._channel.close()
            self._channel = None
        if status == EXIT_ADAPTER and self.locked is None:
            _log.error(Event.ENCLAVE_REFUSED, detail=NO_ADAPTER, remedy="lockgate check tells which, and why.")
            raise Fatal(EXIT_CANNOT_SERVE)
        if self._served_by is None or status != 0:
            return False
        # The gateway's descriptors go before the gateway does: its end may not have been told yet.
        await asyncio.wait([self._served_by.ended], timeout=GATEWAY_ENDING_S)
        return not self._served_by.alive

    def _arguments(self, loaded: Loaded, theirs: socket.socket, link: socket.socket) -> list[str]:
        arguments = ["--control-fd", str(theirs.fileno()), "--link-fd", str(link.fileno())]
        arguments += ["--register-fd", str(self._register.descriptor)]
        arguments += ["--lockdown", loaded.config.enclave.lockdown]
        for network in (NEAR_NETWORK, *sorted(loaded.config.networks())):
            arguments += ["--adapter", f"{network}={halves(loaded.config, network).inside}"]
        arguments += ["--adapter", f"{CONTROL}={CONTROL_INSIDE}"]
        return arguments

    def _hear(self, word: FromEnclave) -> None:
        match word:
            case control.Locked():
                self.locked = word
                self._locked_down.set()
            case control.Configured():
                self._configured.set()
            case _:
                pass

    async def _until(self, child: Child, event: asyncio.Event) -> None:
        """Wait for its next word. Raises ChannelEnded when it ends before, TimeoutError when it takes too long."""
        waiting = asyncio.create_task(event.wait())
        both: list[asyncio.Future[int] | asyncio.Task[bool]] = [waiting, child.ended]
        await asyncio.wait(both, timeout=WORD_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if event.is_set():
            return
        raise TimeoutError if child.alive else ChannelEnded

    def _require_sufficient(self) -> None:
        assert self.locked is not None
        missing = [measure.name for measure in self.locked.measures if not measure.achieved]
        if not self.locked.sufficient:
            self.kill()
            _log.error(
                Event.LOCKDOWN_REFUSED,
                detail=f"the enclave's lockdown is not sufficient here; not achieved: {', '.join(missing)}",
                remedy="See PRIVSEP.md; enclave.lockdown: best-effort runs it nevertheless.",
            )
            raise Fatal(EXIT_LOCKDOWN)
        if not self._lockdown_logged:
            self._lockdown_logged = True
            reached = len(self.locked.measures) - len(missing)
            detail = f"not available here: {', '.join(missing)}" if missing else "all measures"
            _log.info(Event.LOCKDOWN, count=reached, detail=detail)

    async def _end_with_gateway(self, child: Child, taker: asyncio.Future[Child]) -> None:
        """An enclave without its gateway ends itself; see to it that it does."""
        self._served_by = gateway = await taker
        await asyncio.shield(gateway.ended)
        await child.end(AFTER_LINK_S)

    # -------------------------------------------------- the operator's
    async def remap(self, order: control.EnclaveRemap) -> None:
        """Pass a new map on, and wait until it is taken."""
        if self._channel is None or self.child is None or not self.ready:
            return
        self._configured.clear()
        with contextlib.suppress(ChannelEnded, TimeoutError):
            await self._channel.send(order)
            await self._until(self.child, self._configured)

    async def status(self) -> control.Status | None:
        """How the legs stand; None when it does not say."""
        answer = await self._ask(lambda nonce: control.AskStatus(nonce=nonce))
        return answer if isinstance(answer, control.Status) else None

    async def decide(
        self,
        account: str,
        contact: str,
        network: str,
        decision: str,
        *,
        sas: str | None = None,
        key: str | None = None,
        device_key: str | None = None,
    ) -> str:
        """Have a trust decision carried out, for the session with that string or that identity; returns its code."""
        where = {"account": account, "contact": contact, "network": network}
        told = {**where, "decision": decision, "sas": sas, "key": key, "device_key": device_key}
        answer = await self._ask(lambda nonce: control.TrustDecision.model_validate({**told, "nonce": nonce}))
        return answer.code if isinstance(answer, control.Decided) else "no-answer"

    async def recovery_key(self, account: str, network: str) -> tuple[str, str | None]:
        """A code, and with `ok` the recovery key of the account's identity. Not to be logged or kept."""
        order = {"account": account, "network": network}
        answer = await self._ask(lambda nonce: control.ShowRecoveryKey.model_validate({**order, "nonce": nonce}))
        return (answer.code, answer.key) if isinstance(answer, control.RecoveryKeyShown) else ("no-answer", None)

    async def recover(self, account: str, network: str, secret: str) -> str:
        """Have the account join its identity by recovery key or passphrase; returns a code."""
        order = {"account": account, "network": network, "secret": secret}
        answer = await self._ask(lambda nonce: control.Recover.model_validate({**order, "nonce": nonce}))
        return answer.code if isinstance(answer, control.Decided) else "no-answer"

    async def verify(self, order: Mapping[str, str | None]) -> control.VerificationTold | None:
        """Take part in the verification of a contact: `account`, `contact`, `network`, `action`, `compared`."""
        answer = await self._ask(lambda nonce: control.Verify.model_validate({**order, "nonce": nonce}))
        return answer if isinstance(answer, control.VerificationTold) else None

    async def _ask(self, question: Callable[[int], ToEnclave]) -> FromEnclave | None:
        if self._channel is not None and self.ready:
            with contextlib.suppress(ChannelEnded):
                return await self._channel.ask(question, ANSWER_WITHIN_S)
        return None

    # -------------------------------------------------- the end
    async def end(self, within_s: float) -> None:
        """Have it end: it does when a channel of its ends."""
        if self._channel is not None:
            self._channel.close()
        if self.child is not None:
            await self.child.end(within_s)

    def kill(self) -> None:
        """End it at once."""
        if self.child is not None:
            self.child.signal(signal.SIGKILL)
