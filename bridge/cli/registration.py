"""`lockgate matrix registration`: what the homeserver has to be told of the application service."""

import secrets
from pathlib import Path
from typing import Final

from bridge.cli import output
from bridge.cli.keygen import private_file
from bridge.config.appservice import Appservice, registration
from bridge.config.load import load_config
from bridge.config.reference import BadFile, Reference
from bridge.config.secrets import appservice_token
from bridge.errors import OperatorError, Problem

HOMESERVER: Final = """\
# Synapse, in homeserver.yaml; restart it afterwards:
app_service_config_files:
  - {file}
experimental_features:
  msc2409_to_device_messages_enabled: true
  msc3202_transaction_extensions: true"""


def make_registration(config: Path, write: Path | None) -> None:
    """Make the tokens that are missing, then write the registration, or print it without them."""
    appservice = _appservice(config)
    tokens = [_token(file, config) for file in (appservice.as_token_file, appservice.hs_token_file)]
    if write is None:
        files = (appservice.as_token_file, appservice.hs_token_file)
        output.line(registration(appservice, *(f"(in {file})" for file in files)))
        output.line("The tokens are not shown. To write the registration with them:  --write FILE")
        return
    text = registration(appservice, *tokens).encode()
    private_file(write, text, "Choose another name, or move the file away.")
    output.line(f"{write} holds the registration and its tokens: only the homeserver's user should be able to read it.")
    output.line(HOMESERVER.format(file=write.absolute()))


def _appservice(config: Path) -> Appservice:
    matrix = load_config(config).matrix
    if matrix is None or matrix.appservice is None:
        remedy = 'Write below matrix: appservice: {users: "@xmpp_*:example.org", as_token_file: …, hs_token_file: …}'
        raise OperatorError(Problem("no-appservice", "matrix.appservice", "no application service is set", remedy))
    return matrix.appservice


def _token(file: Path, config: Path) -> str:
    """The token in the file, which is made when it is not there."""
    if not file.exists():
        private_file(file, secrets.token_hex(32).encode() + b"\n", "Try again.")
        output.line(f"{file} holds a new token.")
    trouble: BadFile
    try:
        return appservice_token(Reference(str(file), config.absolute().parent))
    except BadFile as error:
        trouble = error
    raise OperatorError(Problem(trouble.code, str(file), trouble.found, trouble.remedy))
