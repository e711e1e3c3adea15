"""An adapter of another package: installed, named in the configuration, checked, and used by the real processes."""

import asyncio
import json
import signal
import site
import subprocess
import sys
import venv
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from rig.services import ROOT, quiet_environment
from tests.bench.ends import ALICE_JID, AliceEnd
from tests.bench.stub_component import StubComponentServer
from tests.boundary.running import Running

pytestmark = [pytest.mark.boundary, pytest.mark.timeout(180)]

COMPONENT = "gate.example"
CARRIER = "carrier"
CONFIG = """\
xmpp:
  component: {{jid: {component}, host: 127.0.0.1, port: {port}, secret_file: secrets/component}}
adapters:
  {network}:
    outside: lockgate_carrier.{outside}
    inside: lockgate_carrier.{inside}
    assurance: end-to-end
    settings: {{host: 127.0.0.1}}
    secret_files: {{token: secrets/carrier-token}}
accounts:
  alice:
    xmpp: {alice}
    networks:
      {network}: {{address: alice-there, secret_files: {{pin: secrets/carrier-pin}}}}
    contacts:
      bob: {{address: bob-there, network: {network}}}
sealing: {{key_file: secrets/sealing}}
storage: {{url: "sqlite:ledger/ledger.db"}}
log: {{level: debug, format: json}}
"""
OUTSIDE, INSIDE = "outside:CarrierOutside", "inside:CarrierInside"
LEAKY = """
from lockgate_carrier.inside import CarrierInside as CarrierOutside
"""
TOKEN, PIN = "the carrier's token", "4711"
DEMANDS = f"""
        if settings != {{"host": "127.0.0.1", "token": {TOKEN!r}}}:
            raise ValueError(settings)
"""
CREDENTIALS = f"""
        for route in routes:
            if route.credentials != {{"{CARRIER}": {{"pin": {PIN!r}}}}}:
                raise ValueError(route.credentials)
"""


def as_carrier(text: str) -> str:
    """The loopback adapter's source, as that of another package whose leg is end to end."""
    names = {"adapters.loopback": "lockgate_carrier", "Loopback": "Carrier", "loopback": CARRIER}
    for old, new in {**names, "Assurance.NONE": "Assurance.END_TO_END"}.items():
        text = text.replace(old, new)
    return text


def install(folder: Path) -> Path:
    """An environment with all that this one has and the package; returns its interpreter.

    The same files in the same place as an installer would put them, which needs a network or build tools of its own.
    """
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    here = [path for path in site.getsitepackages() if Path(path).is_dir()]
    lines = [f"import site; site.addsitedir({path!r})\n" for path in here]
    (packages / "as_here.pth").write_text("".join(lines))
    package = packages / "lockgate_carrier"
    package.mkdir()
    for source in (ROOT / "adapters" / "loopback").glob("*.py"):
        (package / source.name).write_text(as_carrier(source.read_text()))
    outside = package / "outside.py"
    text = outside.read_text()
    for place, added in (("self._edge: Edge | None = None\n", DEMANDS), ("self._edge = edge\n", CREDENTIALS)):
        assert text.count(place) == 1
        text = text.replace(place, f"{place}{added}")
    outside.write_text(text)
    (package / "leaky.py").write_text(LEAKY)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the package."""
    return install(tmp_path_factory.mktemp("environment"))


class WithCarrier(Running):
    """A Lockgate of one interpreter, with the package's network."""

    def __init__(self, folder: Path, python: Path, port: int = 9) -> None:
        self._python, self._server = python, port
        super().__init__(folder)
        for name, text in (("carrier-token", TOKEN), ("carrier-pin", PIN)):
            file = folder / "secrets" / name
            file.touch(mode=0o600)
            file.write_text(text)
        self.name()

    def name(self, network: str = CARRIER, outside: str = OUTSIDE, inside: str = INSIDE) -> None:
        """Write the configuration."""
        named = {"network": network, "outside": outside, "inside": inside}
        self.config.write_text(CONFIG.format(component=COMPONENT, port=self._server, alice=ALICE_JID, **named))

    def words(self, *words: str) -> list[str]:
        """A command line of the interpreter's Lockgate."""
        return [str(self._python), "-P", "-m", "bridge.cli", *words, "-c", str(self.config)]

    def command(self) -> list[str]:
        """The command line."""
        return self.words("run")

    def hop(self, name: str) -> dict[str, Any]:
        """What `lockgate check` says about one hop."""
        line = self.words("check", "--json")
        told = subprocess.run(line, env=quiet_environment(), cwd="/", capture_output=True, check=False, timeout=90)
        (found,) = [hop for hop in json.loads(told.stdout) if hop["name"] == name]
        return dict(found)


class Conversation:
    """Alice's client on a stub of her server."""

    def __init__(self) -> None:
        self.alice = AliceEnd()
        self.server = StubComponentServer(COMPONENT, self.alice.jid, self._heard)

    def _heard(self, octets: bytes) -> None:
        payload = octets[octets.index(b">") + 1 : octets.rindex(b"</message>")]
        head, _, rest = payload.partition(b"<thread>")
        for answer in self.alice.hears(head + rest.partition(b"</thread>")[2]):
            self.server.send(answer)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what she sees."""
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110 - her side is driven by the same loop
                await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def conversation() -> AsyncIterator[Conversation]:
    made = Conversation()
    await made.server.start()
    yield made


async def test_a_message_goes_through_the_real_processes_and_the_packages_halves(
    short_path: Path, python: Path, conversation: Conversation
) -> None:
    running = WithCarrier(short_path, python, conversation.server.port)
    alice, server = conversation.alice, conversation.server
    try:
        await asyncio.to_thread(running.up)
        await conversation.until(lambda: server.greeted)
        for stanza in alice.start():
            server.send(stanza)
        await conversation.until(lambda: alice.active)
        server.send(alice.says("round and back"))
        await conversation.until(lambda: alice.receipts == 1 and alice.opened == ["round and back"])
        status = await asyncio.to_thread(running.status)
        assert {(leg["network"], leg["assurance"]) for leg in status["legs"]} >= {(CARRIER, "end-to-end")}
        assert (CARRIER, "up") in {(word["network"], word["state"]) for word in status["health"]}
        running.signal(signal.SIGTERM)
        assert await asyncio.to_thread(running.status_of_exit) == 0
    finally:
        running.end()
    log = running.log.read_text()
    assert not [secret for secret in (TOKEN, "round and back") if secret in log]


async def test_check_tells_that_both_halves_can_be_loaded(short_path: Path, python: Path) -> None:
    hop = WithCarrier(short_path, python).hop(f"adapter {CARRIER}")
    assert hop["state"] == "ok"
    assert "both halves" in hop["found"]


@pytest.mark.parametrize(
    ("named", "found"),
    [
        (
            {"inside": "inside:Courier"},
            "inside half cannot be loaded: the module lockgate_carrier.inside has no Courier",
        ),
        (
            {"inside": "inside:Key"},
            "inside half cannot be loaded: the `network` of lockgate_carrier.inside:Key is another",
        ),
        ({"network": "courier"}, "outside half cannot be loaded: the `network` of lockgate_carrier.outside:Carrier"),
        (
            {"outside": "leaky:CarrierOutside"},
            "outside half cannot be loaded: lockgate_carrier.leaky:CarrierOutside raises",
        ),
    ],
)
async def test_check_tells_which_half_is_wrong(
    short_path: Path, python: Path, named: dict[str, str], found: str
) -> None:
    lockgate = WithCarrier(short_path, python)
    lockgate.name(**named)
    hop = lockgate.hop(f"adapter {named.get('network', CARRIER)}")
    assert hop["state"] == "failed"
    assert found in hop["found"]
    assert str(python) in hop["remedy"]


async def test_without_the_package_check_names_the_module_and_run_ends(short_path: Path) -> None:
    lockgate = WithCarrier(short_path, Path(sys.executable))
    hop = lockgate.hop(f"adapter {CARRIER}")
    assert (hop["state"], "there is no module lockgate_carrier" in hop["found"]) == ("failed", True)
    try:
        lockgate.begin()
        assert lockgate.status_of_exit() == 1
    finally:
        lockgate.end()
    (refused,) = lockgate.events("supervisor.enclave-refused")
    assert "lockgate check" in refused["remedy"]


async def test_an_inside_half_that_is_for_another_network_is_not_run(short_path: Path, python: Path) -> None:
    lockgate = WithCarrier(short_path, python)
    lockgate.name(inside="inside:Key")
    try:
        lockgate.begin()
        assert lockgate.status_of_exit() == 1
    finally:
        lockgate.end()
    assert len(lockgate.events("supervisor.enclave-refused")) == 1
