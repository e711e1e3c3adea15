"""A homeserver that delegates its logins (Synapse), its OAuth 2.0 server (oidc-provider), and a user's web browser."""

import html
import http.cookiejar
import json
import re
import secrets
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rig.bob.client import node
from rig.services import Service, ServiceFailed, answers, free_port
from rig.synapse import MatrixAccount, Synapse

FOLDER = Path(__file__).resolve().parent
PAGES = 12
"""More pages than a user is led through."""


class Provider(Service):
    """oidc-provider with the device flow, dynamic registration and rotating refresh tokens."""

    name = "oidc"

    def __init__(self, folder: Path, *, access_token_s: int = 3600) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.secret = secrets.token_hex(16)
        self.homeserver: str | None = None
        self.access_token_s = access_token_s

    def command(self) -> Sequence[str]:
        """The server in the foreground."""
        if not (FOLDER / "node_modules" / "oidc-provider").exists():
            raise ServiceFailed("oidc-provider is not installed; scripts/bootstrap runs npm ci in rig/oidc")
        options = {
            "port": self.port,
            "homeserver": self.homeserver,
            "secret": self.secret,
            "access_token_s": self.access_token_s,
        }
        return [str(node()), str(FOLDER / "server.mjs"), json.dumps(options)]

    def ready(self) -> bool:
        """It accepts connections."""
        return answers(self.port)

    def lose(self, count: int) -> None:
        """Lose the next answers of the token endpoint on their way, after the tokens were made."""
        self._order("/rig/lose", {"count": str(count)})

    def end(self, token: str, *, device: bool) -> None:
        """The user ends the session that this access token is of; with `device` the homeserver removes the device."""
        self._order("/rig/end", {"token": token, "device": "yes" if device else "no"})

    def _order(self, path: str, form: Mapping[str, str]) -> None:
        request = urllib.request.Request(self.issuer + path, urllib.parse.urlencode(form).encode())
        request.add_header("Authorization", f"Bearer {self.secret}")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            answer.read()


class DelegatingSynapse(Synapse):
    """A homeserver whose users log in by OAuth 2.0 only."""

    def __init__(self, folder: Path, provider: Provider) -> None:
        self._provider = provider
        super().__init__(folder)
        provider.homeserver = self.url

    def _config(self) -> dict[str, Any]:
        listener = super()._config()["listeners"][0]
        return {
            **super()._config(),
            "listeners": [listener],
            "password_config": {"enabled": False},
            "matrix_authentication_service": {
                "enabled": True,
                "endpoint": f"{self._provider.issuer}/",
                "secret": self._provider.secret,
            },
        }

    def account(self, user: str, password: str | None = None) -> MatrixAccount:
        """Make a user; any password will do."""
        self.call("POST", "/_synapse/mas/provision_user", {"localpart": user}, self._provider.secret)
        return MatrixAccount(f"@{user}:{self.server_name}", password or "any", self.url)


class Browser:
    """A user at a web browser: sends off the form of each page, with their name where it is asked for."""

    def __init__(self, user: str) -> None:
        self._user = user
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)

    def approve(self, url: str, code: str) -> str:
        """Open the page, type the code, log in, agree; returns the text of the last page."""
        return self._through(url, {"user_code": code, "login": self._user, "password": "any"})

    def refuse(self, url: str, code: str) -> str:
        """Open the page, type the code, and do not agree."""
        return self._through(url, {"user_code": code, "abort": "yes"})

    def _through(self, url: str, answers_: Mapping[str, str]) -> str:
        page, at = self._open(url)
        for _ in range(PAGES):
            form = re.search(r"<form[^>]*>.*?</form>", page, re.DOTALL)
            if form is None:
                return page
            filled = _filled(form[0], answers_)
            if "abort" in answers_ and "confirm" in filled:
                del filled["confirm"]
                filled["abort"] = "yes"
            target = urllib.parse.urljoin(at, html.unescape(_attribute(form[0], "action") or at))
            page, at = self._open(target, filled)
            if "abort" in filled:
                return page
        raise ServiceFailed("the pages of the login do not end")

    def _open(self, url: str, form: Mapping[str, str] | None = None) -> tuple[str, str]:
        data = None if form is None else urllib.parse.urlencode(form).encode()
        try:
            with self._opener.open(url, data, timeout=30) as answer:
                return answer.read().decode(), str(answer.url)
        except urllib.error.HTTPError as error:
            return error.read().decode("utf-8", "replace"), url


def _filled(form: str, answers_: Mapping[str, str]) -> dict[str, str]:
    filled = {}
    for field in re.findall(r"<(?:input|button)[^>]*>", form):
        name = _attribute(field, "name")
        if name and name != "abort":
            filled[name] = answers_.get(name) or html.unescape(_attribute(field, "value") or "")
    return filled


def _attribute(tag: str, name: str) -> str | None:
    found = re.search(rf'\s{name}="([^"]*)"', tag)
    return found[1] if found else None
