"""`lockgate matrix login`: the operator agrees in a browser, and the tokens go into the account's session file.

It speaks to the homeserver itself, so a gateway need not be running; one that runs looks at the file by itself.
"""

import asyncio
import secrets
import string
from pathlib import Path
from typing import Final

from adapters.matrix import outside_oauth as oauth
from adapters.matrix import outside_oauth_answers as answers
from adapters.matrix.outside_oauth import STABLE, UNSTABLE, ScopeNames, Web
from adapters.matrix.outside_oauth_answers import DeviceAuthorization, OAuthFailed, ServerMetadata, Tokens
from adapters.matrix.outside_session import BadSession, Session, locked, make_folder, read_session, write_session
from bridge.cli import output
from bridge.cli.trust import unknown
from bridge.config.load import load_config
from bridge.errors import Failure, OperatorError, Problem, WorldError

_DEVICE_LENGTH: Final = 10
"""The specification asks for as many characters at least."""
_OTHER_WAYS: Final = "Use password_file or token_file for this account instead of session_file."
_TRY_AGAIN: Final = "Try again; it may be down at the moment."
_FAILURES: Final = {
    answers.NO_OAUTH: ("the homeserver does not delegate its logins to an OAuth 2.0 server", _OTHER_WAYS),
    answers.NO_DEVICE_GRANT: ("the homeserver's login server has no device authorization grant", _OTHER_WAYS),
    answers.NO_REGISTRATION: (
        "the homeserver's login server does not let Lockgate register itself",
        "Ask its administrator to allow clients to register, or use another way to log in.",
    ),
    answers.ACCESS_DENIED: ("the login was refused in the browser", "Run the command again to try once more."),
    answers.EXPIRED: ("nobody agreed in time", "Run the command again, and open the page it names."),
    answers.UNREACHABLE: ("the homeserver or its login server does not answer as it should", _TRY_AGAIN),
    answers.MALFORMED: ("the login server's answer cannot be understood", "See: lockgate check"),
    answers.UNSAFE_URL: (
        "the login server has addresses that are neither https nor on this machine",
        "Tokens would pass in clear. Ask the homeserver's administrator.",
    ),
    answers.INVALID_SCOPE: ("the login server does not know Matrix's scopes", _OTHER_WAYS),
}
_FILE_FAILURES: Final = {
    "exposed": ("other users may read it", "Run: chmod 600 on it."),
    "unreadable": ("it cannot be read", "Make it readable for the user that Lockgate runs as."),
    "damaged": ("it is not a session file that Lockgate wrote", "Remove it, or name another file in session_file."),
    "unwritable": ("it cannot be written", "Its folder must be writable for the user that Lockgate runs as."),
    "busy": ("another program holds its lock", "Try again when that is done."),
}


def login(config: Path, account: str, *, device: str | None = None) -> None:
    """Log an account in. Raises Failure."""
    loaded = load_config(config)
    if account not in loaded.accounts:
        raise unknown("account", account, sorted(loaded.accounts))
    matrix = loaded.accounts[account].matrix
    if matrix is None or matrix.session_file is None or loaded.matrix is None:
        remedy = "Write matrix: {user: …, session_file: secrets/NAME-session} in place of the other ways to log in."
        raise OperatorError(Problem("no-session-file", account, "the account has no session_file to log in to", remedy))
    file = matrix.session_file
    failure: Failure
    try:
        session = asyncio.run(_login(file, loaded.matrix.homeserver, matrix.user, device))
    except OAuthFailed as error:
        found, remedy = _FAILURES.get(
            error.code, ("the login server refuses the login", "Look at its log; the reason is not told to clients.")
        )
        failure = WorldError(Problem(error.code, account, found, remedy))
    except BadSession as error:
        found, remedy = _FILE_FAILURES[error.code]
        failure = WorldError(Problem(error.code, str(file), found, remedy))
    except KeyboardInterrupt:
        failure = WorldError(Problem("interrupted", account, "given up; nothing was changed", ""))
    else:
        output.line(f"{account} is logged in as {session.user}, device {session.device_id}.", "green")
        output.line("A gateway that runs takes it over within seconds; else: lockgate run")
        return
    raise failure


async def _login(file: Path, homeserver: str, user: str, device: str | None) -> Session:
    before = _before(file, homeserver, user)
    device = device or (before.device_id if before is not None else _new_device())
    make_folder(file)
    async with locked(file):  # whether it can be written is known before anybody is sent to a browser
        pass
    async with Web() as web:
        server, names = await oauth.discovered(web, homeserver)
        if server.device_authorization_endpoint is None:
            raise OAuthFailed(answers.NO_DEVICE_GRANT)
        known = before.client_id if before is not None and before.issuer == server.issuer else None
        client_id, begun = await _begun(web, server, known, names, device)
        _show(user, begun)
        tokens = await oauth.granted(web, server, client_id, begun)
        try:
            await _require(web, homeserver, tokens, user, device)
            session = Session(
                grant=secrets.token_hex(8),
                user=user,
                homeserver=homeserver,
                device_id=device,
                issuer=server.issuer,
                client_id=client_id,
                token_endpoint=server.token_endpoint,
                access_token=tokens.access_token,
            )
            async with locked(file):
                write_session(file, oauth.with_tokens(session, tokens))
        except (Failure, OAuthFailed, BadSession):
            await oauth.revoke(web, server, client_id, tokens)
            raise
    return session


def _before(file: Path, homeserver: str, user: str) -> Session | None:
    """The login that is replaced: its device and our registration stay."""
    found = read_session(file)
    return found if found is not None and (found.user, found.homeserver) == (user, homeserver) else None


async def _begun(
    web: Web, server: ServerMetadata, known: str | None, names: ScopeNames, device: str
) -> tuple[str, DeviceAuthorization]:
    """Begin; register first where that has not been done, or where the server has forgotten it."""
    client_id = known or await oauth.registered(web, server)
    other = UNSTABLE if names is STABLE else STABLE
    for scope in (names.scope(device), other.scope(device)):
        try:
            return client_id, await oauth.authorization(web, server, client_id, scope)
        except OAuthFailed as error:
            code = error.code
        if code == answers.INVALID_CLIENT and known is not None:
            return await _begun(web, server, None, names, device)
        if code != answers.INVALID_SCOPE:
            break
    raise OAuthFailed(code)


async def _require(web: Web, homeserver: str, tokens: Tokens, user: str, device: str) -> None:
    """The tokens must be the account's user's, and of the device that was asked for. Raises WorldError."""
    found = await oauth.whoami(web, homeserver, tokens.access_token)
    if found is None:
        remedy = "Look at the homeserver's log: it and its login server may not agree."
        raise WorldError(Problem("not-taken", user, "the homeserver does not take the new token", remedy))
    if found[0] != user:
        seen = found[0] if isinstance(found[0], str) and found[0].isprintable() and len(found[0]) < 256 else "another"
        told = f"somebody else agreed in the browser: {output.safe(seen)}"
        raise WorldError(Problem("other-user", user, told, "Log out in the browser, then run the command again."))
    if found[1] != device:
        told = "the homeserver gave another device than was asked for"
        raise WorldError(Problem("other-device", user, told, "Ask the homeserver's administrator."))


def _show(user: str, begun: DeviceAuthorization) -> None:
    output.line(f"Open this page in a browser, log in as {user}, and agree:")
    output.line(f"    {output.safe(begun.verification_uri)}", "bold")
    output.line(f"The code to type there: {output.safe(begun.user_code)}", "bold")
    if begun.verification_uri_complete is not None:
        output.line(f"Or, with the code in it already: {output.safe(begun.verification_uri_complete)}")
    minutes = max(1, begun.lifetime_s // 60)
    output.line(f"Waiting, for up to {minutes} {'minute' if minutes == 1 else 'minutes'}. Ctrl-C gives up.")


def _new_device() -> str:
    return "".join(secrets.choice(string.ascii_uppercase) for _ in range(_DEVICE_LENGTH))
