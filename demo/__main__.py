"""`make demo`: start the servers and the gateway, hold the conversation, show it, judge it, clean up."""

import argparse
import asyncio
import contextlib
import secrets
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from demo import companion, omemo, show
from demo.proof import Claim, Evidence, leg_claims
from demo.texts import Line, conversation
from rig.ejabberd import Ejabberd
from rig.lines import ClientFailed
from rig.prosody import Prosody
from rig.scene import Scene
from rig.services import ROOT, Service, ServiceFailed
from rig.synapse import Synapse
from rig.xmpp import XmppServer

SERVERS: dict[str, type[XmppServer]] = {kind.name: kind for kind in (Prosody, Ejabberd)}
CHAT, PROFANITY, PROFANITY_OMEMO = "chat", "profanity", "profanity-omemo"
LOGS = ROOT / ".cache" / "logs" / "demo"
_started_at = time.monotonic()


def progress(text: str) -> None:
    """One line on what is being done."""
    print(f"demo: [{time.monotonic() - _started_at:5.1f} s] {text}", flush=True)


async def _converse(scene: Scene, alice: list[Line], bob: list[Line]) -> tuple[str, list[str]]:
    """Five exchanges by turns, then the rest of both at once. Returns the room and the ids of Bob's events."""
    await scene.alice.send(alice[0].text, alice[0].id)
    progress("Alice's first message: the ESession is negotiated, the encrypted room is made")
    room = await scene.room(timeout_s=90)
    await scene.bob.wait_messages(1, timeout_s=90)
    events = [await scene.bob.send(room, bob[0].text)]
    await scene.alice.wait_messages(1)
    for number in range(1, 5):
        progress(f"message {number + 1} of 10 each way")
        await scene.alice.send(alice[number].text, alice[number].id)
        await scene.bob.wait_messages(number + 1)
        events.append(await scene.bob.send(room, bob[number].text))
        await scene.alice.wait_messages(number + 1)
    progress("messages 6 to 10 each way, both directions at once")
    for line, answer in zip(alice[5:], bob[5:], strict=True):
        await scene.alice.send(line.text, line.id)
        events.append(await scene.bob.send(room, answer.text))
    await asyncio.gather(scene.bob.wait_messages(len(alice)), scene.alice.wait_messages(len(bob)))
    progress("waiting until everything is acknowledged, and whether anything comes twice")
    await scene.alice.flushed()
    await asyncio.sleep(2)
    return room, events


async def _act(scene: Scene) -> bool:
    """The conversation, shown and judged; returns whether all claims hold."""
    word = f"heron{secrets.token_hex(6)}"
    alice, bob = conversation(word)
    room, events = await _converse(scene, alice, bob)
    session = await scene.alice.session()
    progress("looking for the word of the day in everything that was stored, logged or sent")
    evidence = await asyncio.to_thread(Evidence, scene, room, alice, bob, events)
    claims: list[Claim] = await asyncio.to_thread(evidence.claims, word)
    legs = await asyncio.to_thread(scene.lockgate.legs)
    xmpp, matrix = (next(leg for leg in legs if leg["network"] == network) for network in ("xmpp", "matrix"))
    claims += leg_claims(session, xmpp, matrix)
    console = show.console()
    console.print(show.conversation(evidence.rows, scene.xmpp.title))
    console.print(show.ledger(scene.lockgate.ledger))
    console.print(show.legs(session, xmpp, matrix))
    console.print(show.verdict(claims))
    return all(claim.holds for claim in claims)


def _addresses(scene: Scene) -> str:
    alice, bob = scene.alice_account, scene.bob_account
    password = scene.folder / "alice" / "alice.password"
    return f"""
Everything is left running until Ctrl-C. The demo's own clients have logged out; connect yours:

  Alice (XMPP)    {alice.jid}   password {alice.password}
                  server 127.0.0.1, port {alice.port}, STARTTLS; certificate authority {alice.authority}
                  she writes to {scene.alice.contact}
  Bob (Matrix)    {bob.user_id}   password {bob.password}
                  homeserver {bob.homeserver}
                  he writes to {scene.alice_matrix.user_id}

  Alice in this terminal's neighbour:
    .venv/bin/lockgate chat {scene.alice.contact} --account {alice.jid} --password-file {password} \\
        --host 127.0.0.1 --port {alice.port} --insecure-loopback --store {password.with_name("yours.store")}
  Lockgate:   .venv/bin/lockgate status -c {scene.lockgate.config}
  Logs:       {scene.folder.parent}
"""


def _keep_logs(folder: Path) -> None:
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    for path in [*folder.rglob("*.log"), *folder.rglob("*.trace")]:
        shutil.copy(path, LOGS / path.name)
    progress(f"logs kept in {LOGS.relative_to(ROOT)}; the end of the gateway's:")
    gateway = LOGS / "lockgate.log"
    print("\n".join(gateway.read_text().splitlines()[-12:]) if gateway.exists() else "(none)", flush=True)


async def _servers(folder: Path, kind: str, running: contextlib.ExitStack) -> tuple[XmppServer, Synapse]:
    xmpp, synapse = SERVERS[kind](folder / kind), Synapse(folder / "synapse")
    for server, said in ((xmpp, f"{xmpp.title} (XMPP server)"), (synapse, "Synapse (Matrix homeserver)")):
        progress(f"starting {said}")
        service: Service = server
        running.callback(service.stop)
        await service.begin()
    return xmpp, synapse


async def _play(folder: Path, kind: str, *, keep: bool) -> bool:
    with contextlib.ExitStack() as running:
        xmpp, synapse = await _servers(folder, kind, running)
        progress("creating the accounts of Alice and Bob")
        scene = await asyncio.to_thread(Scene, folder / "scene", xmpp, synapse)
        try:
            await scene.prepare()
            progress(f"lockgate check -c {scene.lockgate.config}")
            print(await scene.check())
            await scene.open(progress)
            good = await _act(scene)
            if keep:
                await asyncio.gather(scene.alice.stop(), scene.bob.stop())
                print(_addresses(scene), flush=True)
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
        finally:
            progress("stopping the gateway, the clients and the servers")
            await scene.close()
    return good


async def _until_interrupted(folder: Path, kind: str, client: str, *, keep: bool) -> int:
    """Exit status: 0 all claims hold, 1 not, 130 interrupted."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt() -> None:
        for number in signals:  # a second signal does not interrupt the cleaning up
            loop.add_signal_handler(number, lambda: progress("already stopping"))
        task.cancel()

    for number in signals:
        loop.add_signal_handler(number, interrupt)
    status = 1
    try:
        if client == PROFANITY:
            status = 0 if await companion.play(folder, progress) else 1
        elif client == PROFANITY_OMEMO:
            # Few components: Profanity asks each of them what it is when it logs in.
            status = 0 if await omemo.play(folder, SERVERS[kind](folder / kind, components=4), progress) else 1
        else:
            status = 0 if await _play(folder, kind, keep=keep) else 1
    except asyncio.CancelledError:
        progress("interrupted")
        return 130
    except (ServiceFailed, ClientFailed, TimeoutError) as error:
        print(f"demo: {error}", file=sys.stderr, flush=True)
    if status != 0:
        _keep_logs(folder)
    return status


def main() -> int:
    """Run the demo in a folder of its own, which is removed at the end."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    parser.add_argument("--server", choices=SERVERS, default=Prosody.name, help="the XMPP server (default: prosody)")
    parser.add_argument(
        "--client", choices=(CHAT, PROFANITY, PROFANITY_OMEMO), default=CHAT, help="Alice's client (default: chat)"
    )
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="lockgate-demo-"))
    try:
        return asyncio.run(_until_interrupted(folder, options.server, options.client, keep=options.keep))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
