"""Which user of this machine is at the other end of a connection on the loopback, as far as Linux tells."""

import os
import socket
import sys
from pathlib import Path

_TABLE = Path("/proc/net/tcp")
Place = tuple[str, int]


def is_foreign(theirs: Place, ours: Place) -> bool:
    """Whether another user than ours (or root) made that connection; False also where it cannot be told.

    Or where it says nothing: on Android every program is a user of its own.
    """
    owner = None if hasattr(sys, "getandroidapilevel") else owner_of(theirs, ours)
    return owner is not None and owner not in (0, os.getuid())


def owner_of(theirs: Place, ours: Place) -> int | None:
    """The user id of their end. The table has, by columns: number, their address, ours, state, four more, user id."""
    wanted = [_written(theirs), _written(ours)]
    try:
        lines = _TABLE.read_text().splitlines()
    except OSError:
        return None
    found = (line.split() for line in lines)
    owners = [parts[7] for parts in found if parts[1:3] == wanted and len(parts) > 7 and parts[7].isdecimal()]
    return int(owners[0]) if owners else None


def _written(place: Place) -> str:
    """As in the table: the address in the machine's order of octets."""
    address = int.from_bytes(socket.inet_aton(place[0]), sys.byteorder)
    return f"{address:08X}:{place[1]:04X}"
