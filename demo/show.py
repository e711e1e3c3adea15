"""The conversation in three columns, and the verdict, for a terminal or a pipe."""

import sqlite3
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from demo.proof import Claim, Seen

_SHOWN = 160
_ISOLATE, _RELEASE = "\u2068", "\u2069"


def console() -> Console:
    """A console as wide as the terminal; 150 columns when piped."""
    return Console(width=None if sys.stdout.isatty() else 150, highlight=False, soft_wrap=False)


def _said(text: str, *, strong: bool) -> Text:
    """A text as a person saw it: shortened when long, each line kept from turning the table's direction."""
    octets = len(text.encode())
    shortened = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({octets} octets)"
    lines = [f"{_ISOLATE}{line}{_RELEASE}" for line in shortened.replace("\t", "    ").split("\n")]
    return Text("\n".join(lines) if text else "(nothing)", style="bold" if strong else "")


def _excerpt(ciphertext: str) -> str:
    return f"{ciphertext[:22]}… ({len(ciphertext)} characters)" if ciphertext else "(nothing)"


def conversation(rows: list[Seen], server: str, data: str = "c") -> Table:
    """What Alice saw, what the machines between saw, what Bob saw. `data`: the element with a stanza's ciphertext."""
    table = Table(show_lines=True, expand=True, title="The conversation")
    table.add_column("", no_wrap=True)
    table.add_column("What Alice saw", ratio=4, overflow="fold")
    table.add_column(f"What {server}, the gateway process and Synapse saw", ratio=5, overflow="fold")
    table.add_column("What Bob saw", ratio=4, overflow="fold")
    for row in rows:
        from_alice = row.line.speaker == "alice"
        stanza, event = f"<{data}> {_excerpt(row.xmpp)}", f"m.room.encrypted {_excerpt(row.matrix)}"
        first, second = (stanza, event) if from_alice else (event, stanza)
        between = Text(f"{server:9}{stanza}\nSynapse  {event}\ngateway  {first.split('…')[0]}… in,\n", style="dim")
        between.append(f"         {second.split('…')[0]}… out")
        arrow = "→" if from_alice else "←"
        table.add_row(arrow, _said(row.alice, strong=from_alice), between, _said(row.bob, strong=not from_alice))
    return table


def ledger(path: Path) -> Table:
    """The first sealed records of the ledger, as they lie on the disk."""
    table = Table(title="The gateway's ledger: sealed records (the first of them)", expand=True)
    for heading in ("account", "record", "version", "octets", "sealed"):
        table.add_column(heading, overflow="fold")
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
    try:
        rows = connection.execute(
            "SELECT account, name, version, length(sealed), hex(substr(sealed, 1, 24)) FROM state LIMIT 6"
        ).fetchall()
    finally:
        connection.close()
    for account, name, version, octets, sealed in rows:
        table.add_row(account, name, str(version), str(octets), f"{sealed.lower()}…")
    return table


def legs(session: dict[str, Any], xmpp: dict[str, Any], matrix: dict[str, Any]) -> Table:
    """The short authentication string on both ends, and what each leg is worth."""
    table = Table(title="The legs", expand=True)
    for heading in ("", "Alice — gateway (XMPP, ESession)", "gateway — Bob (Matrix, Megolm)"):
        table.add_column(heading, overflow="fold")
    table.add_row("assurance", xmpp["assurance"], matrix["assurance"])
    table.add_row("state", xmpp["state"], matrix["state"])
    table.add_row("short authentication string, Alice's end", Text(str(session["sas"]), style="bold"), "")
    table.add_row("short authentication string, gateway's end", Text(str(xmpp["sas"]), style="bold"), "")
    return table


def verdict(claims: list[Claim]) -> Text:
    """Each claim with a mark, what contradicts it, and the last word."""
    text = Text()
    for claim in claims:
        text.append("  yes  " if claim.holds else "  NO   ", style="bold green" if claim.holds else "bold red")
        text.append(f"{claim.text}\n")
        for reason in claim.against[:10]:
            text.append(f"         {reason}\n", style="red")
    good = all(claim.holds for claim in claims)
    text.append("Verdict: ", style="bold")
    text.append("every message arrived exactly once, in order, intact, encrypted on both legs." if good else "FAILED.")
    return text
