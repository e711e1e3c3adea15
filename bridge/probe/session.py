"""A login by OAuth 2.0: is somebody logged in, and does the homeserver take what is in the session file?"""

from dataclasses import dataclass, field
from pathlib import Path

from adapters.matrix import outside_oauth_answers as answers
from adapters.matrix.outside_oauth import Web, renewed, whoami
from adapters.matrix.outside_oauth_answers import OAuthFailed
from adapters.matrix.outside_session import BadSession, Session, read_session
from bridge.config.models import MatrixLogin
from bridge.probe.hop import Hop, failed, ok, warning


@dataclass(frozen=True, slots=True)
class Found:
    """What came of it, and a token to ask more with when it works."""

    hop: Hop
    token: str | None = field(repr=False, default=None)


async def probe_session(homeserver: str, hop: str, account: str, login: MatrixLogin, file: Path) -> Found:
    """Try the tokens. They are exchanged when they ran out, just as the gateway does it, and under the same lock."""
    again = f"Run: lockgate matrix login {account}"
    try:
        session = read_session(file)
        if session is None or (session.user, session.homeserver) != (login.user, homeserver):
            why = "nobody has logged in yet" if session is None else f"{file} is of another user or homeserver"
            return Found(failed(hop, why, again))
        told, token = await _tried(homeserver, session, file)
    except (BadSession, OAuthFailed) as error:
        return Found(_trouble(hop, file, error, again))
    if told != (login.user, session.device_id):
        return Found(failed(hop, f"the homeserver does not take the login for {login.user}", again))
    return Found(ok(hop, f"{login.user} is logged in"), token)


async def _tried(homeserver: str, session: Session, file: Path) -> tuple[object, str]:
    """Whom the homeserver takes us for, and the token that it takes."""
    async with Web() as web:
        told = await whoami(web, homeserver, session.access_token)
        if told is None:
            session = await renewed(web, file, session.access_token)
            told = await whoami(web, homeserver, session.access_token)
        return told, session.access_token


def _trouble(hop: str, file: Path, error: BadSession | OAuthFailed, again: str) -> Hop:
    if isinstance(error, BadSession):
        remedy = "Its folder must be writable for Lockgate, the file readable for its owner only (mode 0600)."
        return failed(hop, f"{file} cannot be used ({error.code})", remedy)
    if error.code == answers.INVALID_GRANT:
        return failed(hop, "the login has ended", again)
    return warning(hop, f"the login could not be tried ({error.code})", "Check again in a moment.")
