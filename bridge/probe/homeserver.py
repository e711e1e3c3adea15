"""The Matrix homeserver: is it one, do its clock and ours agree, do the logins work, what are its limits?"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from bridge.config.models import Config, MatrixLogin
from bridge.probe.ghost import probe_ghost
from bridge.probe.hop import Hop, failed, ok, skipped, warning
from bridge.probe.http import Answer, Homeserver, Unreachable
from bridge.probe.session import probe_session

SERVER, CLOCK, LIMITS = "homeserver", "clock", "homeserver limits"
MAX_SKEW_S = 60
MIN_UPLOAD = 1 << 20

_LOGIN_REFUSALS = {
    "M_FORBIDDEN": ("the homeserver does not accept the user or the password", "Check both; log in with Element once."),
    "M_USER_DEACTIVATED": ("the user is deactivated", "Use another Matrix user."),
    "M_USER_LOCKED": ("the user is locked", "Ask the homeserver's administrator."),
    "M_USER_SUSPENDED": ("the user is suspended", "Ask the homeserver's administrator."),
    "M_UNKNOWN_TOKEN": ("the homeserver does not accept the access token", "Log in anew and store the new token."),
    "M_MISSING_TOKEN": ("the homeserver does not accept the access token", "Log in anew and store the new token."),
}


async def probe_server(server: Homeserver) -> list[Hop]:
    """The server itself, and the clocks."""
    try:
        answer = await server.call("GET", "/_matrix/client/versions")
    except Unreachable as error:
        return [failed(SERVER, error.found, error.remedy), skipped(CLOCK, "no answer to take the time from")]
    versions = answer.body.get("versions")
    if answer.status != 200 or not isinstance(versions, list) or not versions:
        return [await _not_a_homeserver(server, answer), skipped(CLOCK, "no answer to take the time from")]
    newest = max((v for v in versions if isinstance(v, str)), key=_version, default="")
    hops = [ok(SERVER, f"{server.url} speaks Matrix up to {newest[:20]}")]
    if server.url.startswith("http://") and not _is_local(server.url):
        found = f"{server.url} is reached without TLS: passwords and tokens pass in clear"
        hops = [warning(SERVER, found, "Use https://, unless the network in between is the same machine.")]
    return [*hops, _clock(answer.date, datetime.now(UTC))]


async def probe_login(server: Homeserver, name: str, login: MatrixLogin, given: Mapping[str, str]) -> list[Hop]:
    """Log in as the account's user, look at the server's limits, log out again. A given token is only tried."""
    hop = f"login {name}"
    token: str | None = given.get("token")
    try:
        if "as_token" in given:
            finding = await probe_ghost(server, hop, login, given["as_token"])
            return [finding, await _limits(server, given["as_token"])] if finding.state == "ok" else [finding]
        if "session" in given:
            found = await probe_session(server.url, hop, name, login, Path(given["session"]))
            return [found.hop, await _limits(server, found.token)] if found.token is not None else [found.hop]
        if token is None:
            finding, token = await _password(server, hop, login, given["password"])
            limits = [await _limits(server, token)] if token else []
            if token is not None:
                await server.call("POST", "/_matrix/client/v3/logout", {}, token)
            return [finding, *limits]
        finding = await _token(server, hop, login, token)
        return [finding, await _limits(server, token)] if finding.state == "ok" else [finding]
    except Unreachable as error:
        return [failed(hop, error.found, error.remedy)]


async def _password(server: Homeserver, hop: str, login: MatrixLogin, password: str) -> tuple[Hop, str | None]:
    offered = await server.call("GET", "/_matrix/client/v3/login")
    flows = offered.body.get("flows")
    kinds = [flow.get("type") for flow in flows if isinstance(flow, dict)] if isinstance(flows, list) else []
    if (offered.status == 200 or offered.code == "M_UNRECOGNIZED") and "m.login.password" not in kinds:
        remedy = (
            "If it leaves logins to an OAuth 2.0 server, write session_file instead of password_file, and run: "
            f"lockgate matrix login {hop.removeprefix('login ')}. Else log in by another client as a new device, and "
            "give its token: token_file."
        )
        return failed(hop, "the homeserver has no login by password", remedy), None
    order = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": login.user},
        "password": password,
        "initial_device_display_name": "Lockgate check",
    }
    answer = await server.call("POST", "/_matrix/client/v3/login", order)
    token = answer.body.get("access_token")
    if answer.status != 200 or not isinstance(token, str):
        return _refused(hop, login.user, answer), None
    if answer.body.get("user_id") != login.user:
        return _other_user(hop, login.user, answer), token
    return ok(hop, f"{login.user} can log in"), token


async def _token(server: Homeserver, hop: str, login: MatrixLogin, token: str) -> Hop:
    answer = await server.call("GET", "/_matrix/client/v3/account/whoami", token=token)
    if answer.status != 200:
        return _refused(hop, login.user, answer)
    if answer.body.get("user_id") != login.user:
        return _other_user(hop, login.user, answer)
    device = answer.body.get("device_id")
    if not isinstance(device, str):
        remedy = "Log in as a device, and give that token."
        return failed(hop, "the token belongs to no device, so it cannot be used for encryption", remedy)
    if login.device not in (None, device):
        return failed(hop, f"the token is not of the device {login.device}", "Correct device, or leave it out.")
    return ok(hop, f"{login.user} is logged in")


def _refused(hop: str, user: str, answer: Answer) -> Hop:
    if answer.status == 429:
        wait = answer.body.get("retry_after_ms")
        seconds = f" in {wait // 1000 + 1} seconds" if isinstance(wait, int) and 0 <= wait < 1 << 40 else ""
        found = "the homeserver has had too many logins lately"
        return warning(hop, found, f"The login was not tried. Check again{seconds}.")
    found, remedy = _LOGIN_REFUSALS.get(
        answer.code, (f"the homeserver answers {answer.status} {answer.code}".strip(), "Look at the homeserver's log.")
    )
    return failed(hop, f"{user}: {found}", remedy)


def _other_user(hop: str, user: str, answer: Answer) -> Hop:
    other = answer.body.get("user_id")
    named = other if isinstance(other, str) and other.isprintable() and len(other) < 256 else "another"
    return failed(hop, f"the homeserver takes {user} for {named}", "Write the user as the homeserver does.")


async def _limits(server: Homeserver, token: str) -> Hop:
    answer = await server.call("GET", "/_matrix/client/v1/media/config", token=token)
    if answer.status in (404, 405):
        answer = await server.call("GET", "/_matrix/media/v3/config", token=token)
    size = answer.body.get("m.upload.size")
    if answer.status != 200 or not isinstance(size, int):
        return ok(LIMITS, "events up to 64 KiB; the homeserver names no other limits")
    text = f"events up to 64 KiB, uploads up to {size / (1 << 20):.0f} MiB"
    if size < MIN_UPLOAD:
        return warning(LIMITS, text, "Raise the homeserver's limit for uploads (Synapse: max_upload_size).")
    return ok(LIMITS, text)


async def _not_a_homeserver(server: Homeserver, answer: Answer) -> Hop:
    found = f"{server.url} answers, but not as a Matrix homeserver does (status {answer.status})"
    remedy = "Write the homeserver's base URL; it may differ from the domain in the users' IDs."
    try:
        known = await server.call("GET", "/.well-known/matrix/client")
    except Unreachable:
        return failed(SERVER, found, remedy)
    pointer = known.body.get("m.homeserver")
    base = pointer.get("base_url") if isinstance(pointer, dict) else None
    if isinstance(base, str) and base.isprintable() and len(base) < 256:
        remedy = f"It says its homeserver is at {base.rstrip('/')}; write that."
    return failed(SERVER, found, remedy)


def _clock(date: str | None, now: datetime) -> Hop:
    try:
        theirs = parsedate_to_datetime(date) if date else None
    except ValueError:
        theirs = None
    if theirs is None:
        return skipped(CLOCK, "the homeserver does not tell the time")
    skew = (now - theirs.replace(tzinfo=theirs.tzinfo or UTC)).total_seconds()
    if abs(skew) <= MAX_SKEW_S:
        return ok(CLOCK, f"within {max(1, round(abs(skew)))} s of the homeserver's")
    direction = "ahead of" if skew > 0 else "behind"
    found = f"this machine's clock is {abs(skew):.0f} s {direction} the homeserver's"
    return warning(CLOCK, found, "Set both by NTP: times of messages, and their expiry, depend on it.")


def _version(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in name.lstrip("vr").split(".") if part.isdecimal() and len(part) < 6)


def _is_local(url: str) -> bool:
    return url.removeprefix("http://").startswith(("127.", "localhost", "[::1]"))


def users(config: Config) -> list[tuple[str, MatrixLogin]]:
    """The accounts that log in, with their login."""
    return [(name, account.matrix) for name, account in config.accounts.items() if account.matrix is not None]
