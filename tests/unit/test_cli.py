"""The `lockgate` command: help, exit statuses, errors in sentences, terminal and pipe."""

import base64
import json
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.cli import app, output
from tests.unit.config_site import Site


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bridge.cli", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What the command prints on a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "bridge.cli", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, "TERM": "xterm", **environment},
    )
    os.close(theirs)
    printed = bytearray()
    try:
        while part := os.read(ours, 4096):
            printed += part
    except OSError:
        pass  # the other end was closed
    process.wait(30)
    os.close(ours)
    return printed.decode()


def run(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the command in this process; returns its exit status."""
    monkeypatch.setattr(sys, "argv", ["lockgate", *arguments])
    with pytest.raises(SystemExit) as ended:
        app.main()
    return int(ended.value.code or 0)


COMMANDS = ["run", "check", "chat", "send", "status", "trace", "parked", "keygen", "version", "trust"]


def test_help_names_every_command_and_the_exit_statuses_in_plain_text() -> None:
    done = command("--help")
    assert done.returncode == 0
    assert done.stderr == ""
    for name in COMMANDS:
        assert f"  {name} " in done.stdout
    assert "Exit status" in done.stdout
    assert "\x1b" not in done.stdout
    assert "╭" not in done.stdout


def test_help_on_a_terminal_is_coloured_unless_that_is_not_wanted() -> None:
    assert "\x1b[" in on_a_terminal("--help")
    # Bold and dim are no colours.
    assert "\x1b[3" not in on_a_terminal("--help", NO_COLOR="1")


def test_without_a_command_it_shows_its_help() -> None:
    done = command()
    assert "Usage:" in done.stdout + done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize("arguments", [["nonsense"], ["check", "--nonsense"], ["keygen"], ["trace", "--limit", "0"]])
def test_wrong_usage_ends_with_status_2_and_says_why(arguments: list[str]) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert "Usage:" in done.stderr
    assert "Traceback" not in done.stderr


def test_version_loads_nothing_it_does_not_need() -> None:
    code = (
        "import sys; sys.argv = ['lockgate', 'version']\n"
        "from bridge.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'slixmpp', 'nio', 'aiohttp', 'crypto', 'ruamel', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, loaded = done.stdout.splitlines()
    assert first.startswith("lockgate ")
    assert loaded == "[]"


def test_no_command_loads_what_can_decrypt() -> None:
    modules = "app, check, keygen, status, traces, trust"
    code = f"import sys; from bridge.cli import {modules}; print('crypto' in sys.modules, 'vodozemac' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("name", ["check", "run", "status", "trace", "parked"])
def test_mistakes_of_the_configuration_are_told_in_sentences(tmp_path: Path, name: str) -> None:
    site = Site(tmp_path)
    site.change(("alice@example.org", "alice"), ("https:", "ftp:"))
    done = command(name, "-c", str(site.file))
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0] == f"{site.file} cannot be used: 2 mistakes."
    assert lines[1].startswith(f"{site.file}:4  matrix.homeserver: “ftp://")
    assert lines[3].startswith(f"{site.file}:7  accounts.alice.xmpp: “alice” is not an XMPP address")
    assert lines[2].startswith("    ")
    assert "Traceback" not in done.stderr


def test_a_missing_configuration_is_told_with_what_to_do(tmp_path: Path) -> None:
    done = command("check", "-c", str(tmp_path / "none.yaml"))
    assert done.returncode == 2
    assert "there is no such file" in done.stderr
    assert "config.example.yaml" in done.stderr


def test_the_configuration_may_be_named_in_the_environment(tmp_path: Path) -> None:
    done = command("check", LOCKGATE_CONFIG=str(tmp_path / "elsewhere.yaml"))
    assert "elsewhere.yaml" in done.stderr


@pytest.mark.parametrize("name", ["status", "trust"])
def test_a_gateway_that_does_not_run_is_told_as_such(tmp_path: Path, name: str) -> None:
    site = Site(tmp_path)
    site.change(("sqlite:///var/lib/lockgate/ledger.db", "sqlite:ledger.db"))
    arguments = ["trust", "show"] if name == "trust" else [name]
    done = command(*arguments, "-c", str(site.file))
    assert done.returncode == 1
    assert "the gateway is not running" in done.stderr
    assert str(tmp_path / "admin.sock") in done.stderr


def test_chat_is_another_program_and_gets_all_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    executed: list[list[str]] = []

    def execv(program: str, arguments: list[str]) -> None:
        executed.append([program, *arguments])

    monkeypatch.setattr(os, "execv", execv)
    run("chat", "bob@x.org", "--json", "--port", "5222", "--help", monkeypatch=monkeypatch)
    assert executed == [
        [sys.executable, sys.executable, "-m", "client.chat", "bob@x.org", "--json", "--port", "5222", "--help"]
    ]


def test_keygen_makes_a_key_that_the_configuration_accepts(tmp_path: Path) -> None:
    site = Site(tmp_path)
    file = site.secrets / "new"
    done = command("keygen", str(file))
    assert done.returncode == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key = base64.b64decode(file.read_text())
    assert len(key) == 32
    assert file.read_text().strip() not in done.stdout
    site.change(("secrets/sealing", "secrets/new"))
    assert site.load().secrets.sealing_key == key


def test_keygen_makes_a_private_file_whatever_the_umask(tmp_path: Path) -> None:
    file = tmp_path / "key"
    before = os.umask(0)
    try:
        command("keygen", str(file))
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_two_keys_differ(tmp_path: Path) -> None:
    files = [tmp_path / "one", tmp_path / "two"]
    for file in files:
        command("keygen", str(file))
    assert files[0].read_text() != files[1].read_text()


def test_keygen_never_overwrites(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("precious")
    done = command("keygen", str(file))
    assert done.returncode == 2
    assert "is left as it is" in done.stderr
    assert file.read_text() == "precious"


def test_keygen_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    assert command("keygen", str(tmp_path / "link")).returncode != 0
    assert not (tmp_path / "target").exists()


def test_keygen_says_how_to_make_a_missing_folder(tmp_path: Path) -> None:
    done = command("keygen", str(tmp_path / "none" / "key"))
    assert done.returncode == 2
    assert "mkdir -m 700" in done.stderr


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    shell = f"{sys.executable} -m bridge.cli --help | head -1"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_a_text_from_outside_cannot_move_the_cursor() -> None:
    assert "\x1b" not in output.safe("\x1b[2Jgone\u202e")
    assert "\u202e" not in output.safe("\x1b[2Jgone\u202e")


def test_a_table_in_a_pipe_is_lines_with_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("A", "B"), [(1, "x\ty"), (2, "z")])
    assert capsys.readouterr().out == "A\tB\n1\tx�y\n2\tz\n"


def test_json_in_a_pipe_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.as_json({"a": ["é"]})
    assert json.loads(capsys.readouterr().out) == {"a": ["é"]}
