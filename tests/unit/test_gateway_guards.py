"""What keeps an outside process clean: the import guard, the log's enumeration, and the search for a deadly input."""

import io
import json
import logging
import subprocess
import sys

import pytest

from bridge.audit import Event, log, set_up
from bridge.suspects import DEATHS_ALONE, DEATHS_TOGETHER, Suspects

GUARDED = """
import sys
from bridge.import_guard import InsideImport, stand_guard
stand_guard()
import importlib
for name in sys.argv[2:]:
    try:
        importlib.import_module(name)
    except InsideImport:
        refused = True
    else:
        refused = False
    print(name, refused)
"""


def guarded(*names: str) -> dict[str, bool]:
    ran = subprocess.run([sys.executable, "-c", GUARDED, "-", *names], capture_output=True, text=True, check=True)
    return {name: word == "True" for name, word in (line.split() for line in ran.stdout.splitlines())}


def test_an_outside_process_cannot_import_the_inside() -> None:
    ours = ("crypto", "crypto.message", "adapters.xmpp.inside", "adapters.matrix.inside_olm")
    inside = (*ours, "vodozemac", "gmpy2", "doubleratchet.kdf", "xeddsa", "_libxeddsa")
    assert guarded(*inside) == dict.fromkeys(inside, True)


def test_everything_else_can_be_imported() -> None:
    outside = ("bridge.worker", "adapters.loopback.outside", "adapters.loopback.names", "cryptography", "inspect")
    assert guarded(*outside) == dict.fromkeys(outside, False)


def test_the_guard_is_not_set_up_when_it_is_too_late() -> None:
    code = "import crypto.message\nfrom bridge.import_guard import stand_guard\nstand_guard()"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "InsideImport" in ran.stderr


@pytest.fixture
def stream() -> io.StringIO:
    made = io.StringIO()
    set_up("info", "json", made)
    return made


def test_the_log_keeps_known_events_and_known_fields_only(stream: io.StringIO) -> None:
    log("edge").info(Event.HEALTH, network="xmpp", body="hello", detail=b"octets", count=2)
    log("edge").info("hello Bob", network="xmpp")
    log("edge").debug(Event.HEALTH)
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert {key: first[key] for key in first if key != "timestamp"} == {
        "event": "network.health",
        "level": "info",
        "component": "edge",
        "network": "xmpp",
        "count": 2,
    }
    assert second["event"] == "library"
    assert "hello" not in stream.getvalue()


def test_what_libraries_log_is_noted_without_their_words(stream: io.StringIO) -> None:
    logging.getLogger("aiohttp.client").warning("could not parse %s", "<body>hello</body>")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["logger"] == "aiohttp.client"
    assert "hello" not in line


def test_an_input_that_stands_alone_at_every_death_is_found_guilty() -> None:
    suspects = Suspects()
    for _ in range(DEATHS_TOGETHER):
        assert suspects.died([7, 20], in_flight=9) is None
    assert suspects.careful
    verdicts = [suspects.died([7], in_flight=1) for _ in range(DEATHS_ALONE)]
    assert verdicts == [None] * (DEATHS_ALONE - 1) + [7]
    assert not suspects.careful


def test_deaths_at_ever_new_inputs_condemn_none() -> None:
    suspects = Suspects()
    for position in range(100):
        assert suspects.died([position], in_flight=1) is None
        assert suspects.died([position], in_flight=3) is None
        assert not suspects.careful


def test_an_input_that_was_consumed_is_no_suspect_any_more() -> None:
    suspects = Suspects()
    for _ in range(DEATHS_TOGETHER):
        suspects.died([7], in_flight=2)
    suspects.cleared([7])
    assert not suspects.careful


def test_a_death_without_inputs_blames_nothing() -> None:
    suspects = Suspects()
    for _ in range(10):
        assert suspects.died([], in_flight=0) is None
    assert not suspects.careful
