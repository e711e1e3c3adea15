"""Whether the homeserver knows the application service, and takes an account's user for one of its own."""

from urllib.parse import quote

from bridge.config.models import MatrixLogin
from bridge.probe.hop import Hop, failed, ok
from bridge.probe.http import Homeserver

WHOAMI = "/_matrix/client/v3/account/whoami"
REGISTER = "Register it, then restart the homeserver: lockgate matrix registration --write FILE"


async def probe_ghost(server: Homeserver, hop: str, login: MatrixLogin, token: str) -> Hop:
    """Ask as the application service, then as the user. Raises Unreachable."""
    answer = await server.call("GET", WHOAMI, token=token)
    itself = answer.body.get("user_id")
    if answer.status != 200 or not isinstance(itself, str):
        if answer.code in ("M_UNKNOWN_TOKEN", "M_MISSING_TOKEN"):
            return failed(hop, "the homeserver does not know the application service, or by another token", REGISTER)
        found = f"the homeserver answers {answer.status} {answer.code}".strip()
        return failed(hop, found, "Look at the homeserver's log.")
    if itself.partition(":")[2] != login.user.partition(":")[2]:
        found = f"{login.user} is not on the homeserver that the application service is registered at"
        return failed(hop, found, "Write the server's name in users as it stands in its users' IDs.")
    answer = await server.call("GET", f"{WHOAMI}?user_id={quote(login.user, safe='')}", token=token)
    if answer.status == 200 and answer.body.get("user_id") == login.user:
        return ok(hop, f"{login.user} belongs to the application service")
    if answer.status == 403:  # what is answered for one that nobody has registered yet
        return ok(hop, f"{login.user} will be made when the gateway starts")
    found = f"{login.user}: the homeserver answers {answer.status} {answer.code}".strip()
    return failed(hop, found, REGISTER)
