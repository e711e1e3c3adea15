"""The `lockgate` command: its subcommands and their options. What they need is imported when they run."""

import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from bridge.cli import output
from bridge.errors import Failure

EPILOG = (
    "Exit status: 0 all is well, 1 something failed, 2 wrong usage or configuration, "
    "3 the enclave cannot be locked down here."
)

app = typer.Typer(
    name="lockgate",
    help="A gateway between end-to-end-encrypted XMPP and Matrix. Messages that enter encrypted leave encrypted.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
trust_app = typer.Typer(name="trust", help="See and decide whom to trust.", no_args_is_help=True)
app.add_typer(trust_app)
matrix_app = typer.Typer(
    name="matrix", help="Accounts on Matrix: log-in, identity, verification.", no_args_is_help=True
)
app.add_typer(matrix_app)
parked_app = typer.Typer(name="parked", invoke_without_command=True)
app.add_typer(parked_app)

ConfigFile = Annotated[
    Path, typer.Option("-c", "--config", metavar="FILE", envvar="LOCKGATE_CONFIG", help="The configuration file.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
AccountName = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account's name in the configuration.")]
ContactName = Annotated[str, typer.Argument(metavar="CONTACT", help="The contact's name in the configuration.")]
DEFAULT_CONFIG = Path("config.yaml")
DEVICE_ID = re.compile(r"[A-Za-z0-9._~-]{1,255}")


@app.command(short_help="Run the gateway until it is stopped.")
def run(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Run the gateway until SIGTERM or Ctrl-C. SIGHUP reads the contacts anew."""
    from bridge.supervisor import run as run_supervisor

    raise typer.Exit(run_supervisor(config))


@app.command(short_help="Check the configuration and every connection.")
def check(config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """Check the configuration, then every connection it describes: one line per hop, the broken one named."""
    from bridge.cli.check import check as run_check

    raise typer.Exit(run_check(config, as_json=json))


@app.command(
    short_help="Chat with a contact over encrypted sessions.",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def chat(context: typer.Context) -> None:
    """Chat from a terminal with a contact over encrypted sessions (`lockgate chat --help` for its options)."""
    # Another program: this one must never load what can decrypt.
    os.execv(sys.executable, [sys.executable, "-m", "client.chat", *context.args])  # noqa: S606


@app.command(short_help="Let an ordinary client use encrypted sessions.")
def companion(
    config: Annotated[Path | None, typer.Option("-c", "--config", metavar="FILE", help="Its configuration.")] = None,
    jid: Annotated[str | None, typer.Option("--jid", help="Your address.")] = None,
    password_file: Annotated[str | None, typer.Option("--password-file", help="File with its password.")] = None,
    listen: Annotated[str | None, typer.Option("--listen", metavar="HOST:PORT", help="127.0.0.1:5222.")] = None,
    folder: Annotated[str | None, typer.Option("--folder", help="Where it keeps its keys and state.")] = None,
) -> None:
    """A local proxy: your client logs in to it, and chats with contacts that have ESessions are encrypted."""
    from bridge.cli.companion import companion as run_companion

    if config is None and (jid is None or password_file is None):
        raise typer.BadParameter("give -c FILE, or --jid and --password-file")
    if config is not None and any(option is not None for option in (jid, password_file, listen, folder)):
        raise typer.BadParameter("with -c FILE, everything else is in that file")
    raise typer.Exit(run_companion(config, jid, password_file, listen, folder))


@app.command(
    short_help="Send one message to a contact, encrypted.",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def send(context: typer.Context) -> None:
    """Send one message, sealed, sent and over at once (`lockgate send --help` for its options)."""
    # Another program, and the user's: the gateway's processes never see what it sends.
    os.execv(sys.executable, [sys.executable, "-m", "client.send", *context.args])  # noqa: S606


@app.command(short_help="Show how a running gateway stands.")
def status(config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """How a running gateway stands: processes, connections, and each leg's encryption."""
    from bridge.cli.status import show_status

    show_status(config, as_json=json)


@app.command(short_help="Show the newest messages and their stages.")
def trace(
    config: ConfigFile = DEFAULT_CONFIG,
    message: Annotated[int | None, typer.Option("--message", help="Only the message with this number.")] = None,
    account: Annotated[str | None, typer.Option("--account", help="Only messages of this account.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many messages.")] = 20,
    json: AsJson = False,
) -> None:
    """The newest messages and the stages each has reached, from RECEIVED to ACKNOWLEDGED, PARKED or REFUSED."""
    from bridge.cli.traces import show_traces

    show_traces(config, message=message, account=account, limit=limit, as_json=json)


@parked_app.callback(short_help="Show what was set aside, and why; try it again.")
def parked(context: typer.Context, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """What was set aside, and why. `lockgate parked release` has it tried again."""
    if context.invoked_subcommand is None:
        parked_list(config, json)


@parked_app.command("list", short_help="Show what was set aside, and why.")
def parked_list(config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """What was set aside, and why."""
    from bridge.cli.traces import show_parked

    show_parked(config, as_json=json)


@parked_app.command("release", short_help="Have it tried again.")
def parked_release(
    numbers: Annotated[list[int] | None, typer.Argument(metavar="[NUMBER]...", min=1, help="As listed.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All that are listed.")] = False,
    account: Annotated[str | None, typer.Option("--account", help="With --all: only this account's.")] = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Have a running gateway take inputs that were set aside once more, after the reason for it was mended."""
    from bridge.cli.traces import release_parked

    if bool(numbers) == all_ or (account is not None and not all_):
        raise typer.BadParameter("give numbers, or --all (with or without --account)")
    release_parked(config, None if all_ else numbers, account)


@app.command(short_help="Make a sealing key.")
def keygen(file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to put the key; must not exist.")]) -> None:
    """Make a sealing key. Keep a copy in a safe place: without it the gateway's stored state cannot be read."""
    from bridge.cli.keygen import make_key

    make_key(file)
    output.line(f"{file} holds a new sealing key. Keep a copy in a safe place.")


@app.command()
def version() -> None:
    """Print the version."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        number = installed("lockgate")
    except PackageNotFoundError:
        number = "(not installed)"
    output.line(f"lockgate {number}")


@trust_app.command("show", short_help="Show each leg's string, and what was verified.")
def trust_show(
    account: Annotated[str | None, typer.Argument(metavar="[ACCOUNT]", help="Only this account.")] = None,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
    qr: Annotated[bool, typer.Option("--qr", help="The keys of contacts' OMEMO devices, as codes to scan.")] = False,
    contact: Annotated[str | None, typer.Option(help="With --qr: only this contact; `_gateway` itself.")] = None,
    omemo2: Annotated[bool, typer.Option("--omemo2", help="With --qr: as Kaidan scans them.")] = False,
) -> None:
    """Each leg's short authentication string, and whether it was verified.

    With `--qr`: instead, for each contact that is an OMEMO device, a code that the user scans with their own client
    (Conversations, Monal and others), and the address that stands in it. Kaidan scans another: `--omemo2`.
    """
    from bridge.cli.trust import show_codes, show_trust

    if qr:
        show_codes(config, account, contact, omemo_2=omemo2)
        return
    show_trust(config, account, as_json=json)


@trust_app.command("verify", short_help="Compare a session's string or an identity, and remember it.")
def trust_verify(
    account: AccountName,
    contact: ContactName,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    network: Annotated[str | None, typer.Option(help="The leg's network; the one with a string by default.")] = None,
    sas: Annotated[
        str | None, typer.Option("--sas", "--key", help="What the other end shows; compared, not asked.")
    ] = None,
    weak_string: Annotated[
        bool, typer.Option("--weak-string", help="Count a string of the old kind, which can be made to match.")
    ] = False,
    device: Annotated[int | None, typer.Option(help="Verify this OMEMO device of the user's instead.")] = None,
) -> None:
    """Compare a session's short authentication string with what the other end shows, and remember the result.

    With `--network matrix`: compare the master key of the contact's Matrix identity.

    A string of the old kind, which older clients have, is shown as `weak`: somebody in between can make it the same at
    both ends within seconds. It counts only with `--weak-string`.

    A session that is `held`, because it is not linked to an earlier one that was compared, is shown first; its messages
    flow once it is verified.

    With `--device NUMBER`, or a fingerprint after `--key`: one of the user's own OMEMO devices, whichever the contact.
    """
    from bridge.cli.devices import read_fingerprint
    from bridge.cli.trust import decide_device, verify

    if device is not None or read_fingerprint(sas) is not None:
        decide_device(config, account, contact, "verify", device=device, shown_there=sas)
        return
    verify(config, account, contact, network=network, shown_there=sas, weak_string=weak_string)


@trust_app.command("approve", short_help="Take a contact's new identity.")
def trust_approve(
    account: AccountName,
    contact: ContactName,
    config: ConfigFile = DEFAULT_CONFIG,
    network: Annotated[str | None, typer.Option(help="The leg's network; the one with identities by default.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="The contact's master key; compared, not asked.")] = None,
) -> None:
    """Take the identity that a contact shows in place of the one that was known. What was held because of it passes."""
    from bridge.cli.trust import approve

    approve(config, account, contact, network=network, shown_there=key)


@trust_app.command("distrust", short_help="Take a verification back.")
def trust_distrust(
    account: AccountName,
    contact: ContactName,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    network: Annotated[str | None, typer.Option(help="The leg's network; the one with a string by default.")] = None,
    device: Annotated[int | None, typer.Option(help="Distrust this OMEMO device of the user's instead.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="The same, by its fingerprint.")] = None,
) -> None:
    """Take an earlier verification back and end the session. The next one counts as the first, and is not held.

    With `--device NUMBER` or `--key FINGERPRINT`: one of the user's own OMEMO devices gets nothing any more.
    """
    from bridge.cli.trust import decide_device, distrust

    if device is not None or key is not None:
        decide_device(config, account, contact, "distrust", device=device, shown_there=key)
        return
    distrust(config, account, contact, network=network)


@matrix_app.command("identity", short_help="Show how an account's own identity stands.")
def matrix_identity(account: AccountName, config: ConfigFile = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """How the account's own identity on Matrix stands, and what is to be done about it."""
    from bridge.cli.matrix import show_identity

    show_identity(config, account, as_json=json)


@matrix_app.command("recovery-key", short_help="Show the account's recovery key, once.")
def matrix_recovery_key(account: AccountName, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Show the recovery key of the account's secret storage, once. Whoever has it can become this Matrix user."""
    from bridge.cli.matrix import show_recovery_key

    show_recovery_key(config, account)


@matrix_app.command("recover", short_help="Join the identity that another client made.")
def matrix_recover(
    account: AccountName,
    config: ConfigFile = DEFAULT_CONFIG,
    key_file: Annotated[
        Path | None, typer.Option("--key-file", metavar="FILE", help="Read it from this file; asked for by default.")
    ] = None,
) -> None:
    """Join the identity that another client made for this account, with its recovery key or security phrase."""
    from bridge.cli.matrix import recover

    recover(config, account, key_file)


@matrix_app.command("registration", short_help="Make the registration of an application service.")
def matrix_registration(
    config: ConfigFile = DEFAULT_CONFIG,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FILE", help="Where to put it, with its tokens; must not exist.")
    ] = None,
) -> None:
    """Make the registration by which a homeserver's owner lets Lockgate act for users of its own (appservice mode).

    Tokens that are not there yet are made. They are never printed.
    """
    from bridge.cli.registration import make_registration

    make_registration(config, write)


@matrix_app.command("login", short_help="Log an account in by OAuth 2.0.")
def matrix_login(
    account: AccountName,
    config: ConfigFile = DEFAULT_CONFIG,
    device: Annotated[
        str | None, typer.Option("--device", metavar="ID", help="Be this device; by default the one of before.")
    ] = None,
) -> None:
    """Log an account in where the homeserver leaves logins to an OAuth 2.0 server: you agree in a browser.

    The tokens go into the account's session_file. Works whether the gateway is running or not.
    """
    from bridge.cli.login import login

    if device is not None and not DEVICE_ID.fullmatch(device):
        raise typer.BadParameter("a device ID has 1 to 255 letters, digits and “-._~”")
    login(config, account, device=device)


@matrix_app.command("verify", short_help="Verify a contact by comparing emoji.")
def matrix_verify(
    account: AccountName,
    contact: ContactName,
    config: ConfigFile = DEFAULT_CONFIG,
    to_device: Annotated[bool, typer.Option("--to-device", help="Ask the contact's devices, not in the room.")] = False,
    code: Annotated[bool, typer.Option("--qr", help="Show a QR code that the contact scans, no emoji.")] = False,
) -> None:
    """Verify a contact who sits before a Matrix client: both see seven emoji, and compare them by voice or in person.

    With `--qr` the contact scans a code from this terminal. It is for contacts who stand beside it.

    Asks the contact, or accepts what they asked for. Afterwards their identity is verified, and ours in their client.
    """
    from bridge.cli.verifying import verify

    verify(config, account, contact, to_device=to_device, code=code)


def main() -> None:
    """Entry point: expected failures are told in sentences, without a traceback."""
    if not output.fancy():
        app.rich_markup_mode = trust_app.rich_markup_mode = None
        matrix_app.rich_markup_mode = parked_app.rich_markup_mode = None
    try:
        app()
    except Failure as error:
        output.failure(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader (`| head`) has enough. Keep the interpreter from complaining when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
