"""Makes the certificates in `openpgp/` with GnuPG, and `openpgp/keys.json`, which says what GnuPG reads in them.

Run by hand (`python -m tests.vectors.make_openpgp`): keys are new each time, so the files are kept, not compared.
"""

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).parent / "openpgp"
MADE = "20250101T120000"
LATER = "20250201T120000"
ALGORITHMS = {"1": "rsa", "22": "ed25519"}


class Home:
    """A GnuPG of its own."""

    def __init__(self, path: str) -> None:
        self.path = path

    def gpg(self, *arguments: str, at: str = MADE, answers: str = "") -> bytes:
        command = ["gpg", "--homedir", self.path, "--batch", "--no-tty", "--quiet", "--pinentry-mode", "loopback"]
        command += ["--passphrase", "", "--faked-system-time", f"{at}!", "--trust-model", "always"]
        if answers:
            command += ["--command-fd", "0"]
            command.remove("--batch")
        done = subprocess.run([*command, *arguments], input=answers.encode(), capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.decode())
        return done.stdout

    def new(self, user: str, kind: str, usage: str, expires: str, *subkeys: tuple[str, str, str]) -> str:
        """A key with its subkeys; returns its fingerprint."""
        self.gpg("--quick-generate-key", user, kind, usage, expires)
        fingerprint = self.fingerprint(user)
        for subkey in subkeys:
            self.gpg("--quick-add-key", fingerprint, *subkey)
        return fingerprint

    def fingerprint(self, user: str) -> str:
        lines = self.gpg("--with-colons", "--list-keys", f"={user}").decode().splitlines()
        return next(line.split(":")[9] for line in lines if line.startswith("fpr:"))

    def keys(self, fingerprint: str) -> list[dict[str, Any]]:
        """What GnuPG reads: algorithm, usage, the integers of every key."""
        found: list[dict[str, Any]] = []
        for line in self.gpg("--with-colons", "--with-key-data", "--list-keys", fingerprint).decode().splitlines():
            parts = line.split(":")
            if parts[0] in ("pub", "sub"):
                algorithm = ALGORITHMS.get(parts[3], parts[3])
                usage = "".join(letter for letter in parts[11] if letter.islower())
                found.append({"algorithm": algorithm, "usage": usage, "created_s": int(parts[5]), "numbers": []})
            elif parts[0] == "pkd":
                found[-1]["numbers"].append(parts[3])
        return found


def certificates(home: Home) -> dict[str, str]:
    """Name and fingerprint of every certificate; some have been changed since they were made."""
    subkeys = (
        ("ed25519", "sign", "0"),
        ("rsa2048", "auth", "0"),
        ("rsa2048", "encrypt", "0"),
        ("ed25519", "sign", "30"),
    )
    made = {
        "rsa": home.new("rsa@example.org", "rsa2048", "cert,sign", "0", *subkeys),
        "ed25519": home.new("ed25519@example.org", "ed25519", "cert", "0", *subkeys),
        "short": home.new("short@example.org", "ed25519", "cert,sign", "30"),
        "prolonged": home.new("prolonged@example.org", "ed25519", "cert,sign", "30"),
        "revoked": home.new("revoked@example.org", "ed25519", "cert,sign", "0", ("ed25519", "sign", "0")),
        "revoked-subkey": home.new("revoked-subkey@example.org", "ed25519", "cert", "0", ("ed25519", "sign", "0")),
        "two-users": home.new("two-users@example.org", "ed25519", "cert,sign", "0"),
    }
    home.gpg("--quick-set-expire", made["prolonged"], "3650d", at="20250115T120000")
    revocation = Path(home.path, "openpgp-revocs.d", made["revoked"] + ".rev")
    revocation.write_text(revocation.read_text().replace(":-----BEGIN", "-----BEGIN"))
    home.gpg("--import", str(revocation), at=LATER)
    home.gpg("--edit-key", made["revoked-subkey"], at=LATER, answers="key 1\nrevkey\ny\n0\n\ny\nsave\n")
    home.gpg("--quick-add-uid", made["two-users"], "second@example.org", at=LATER)
    home.gpg("--quick-revoke-uid", made["two-users"], "two-users@example.org", at="20250202T120000")
    return made


def main() -> None:
    """Writes the directory."""
    DIRECTORY.mkdir(exist_ok=True)
    truth: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as path:
        home = Home(path)
        for name, fingerprint in certificates(home).items():
            (DIRECTORY / f"{name}.asc").write_bytes(home.gpg("--armor", "--export", fingerprint))
            (DIRECTORY / f"{name}.pgp").write_bytes(home.gpg("--export", fingerprint))
            truth[name] = home.keys(fingerprint)
    (DIRECTORY / "keys.json").write_text(json.dumps(truth, indent=1) + "\n")


if __name__ == "__main__":
    main()
