"""Forges transcripts of a session from its published MAC keys, knowing none of its other keys.

What the forger has: the stanzas as they went over the wire, the MAC keys that later stanzas published in `<old/>`, the
block counter of the negotiation (sent in clear), and, for words of its own choice, what one stanza said. Counter mode
lets whoever knows a text put another of the same length in its place; the MAC was what forbade it.
"""

from dataclasses import dataclass

from crypto.esession.encrypted import data_part, key_parts, read_encrypted, written
from crypto.esession.suite import Suite
from crypto.primitives.ciphers import BLOCK, same
from crypto.primitives.integers import from_octets, mpi
from crypto.xml import parse


@dataclass(frozen=True)
class Forger:
    """Somebody with a recording and published keys of one direction."""

    suite: Suite
    published: tuple[bytes, ...]

    def key_of(self, c: bytes, counter: int) -> bytes:
        """The published key that a stanza was made with. Raises LookupError when it is none of them."""
        stanza = read_encrypted(parse(c), self.suite.hash_octets)
        for key in self.published:
            if same(self.suite.hmac(key, stanza.covered, mpi(counter)), stanza.mac):
                return key
        raise LookupError("no published key fits")

    def blocks(self, c: bytes) -> int:
        """Blocks that a stanza advances the counter by."""
        data = read_encrypted(parse(c), self.suite.hash_octets).data
        return 1 if data is None else -(-len(data) // BLOCK)

    def rewritten(self, c: bytes, counter: bytes, known: bytes, wanted: bytes) -> bytes:
        """The stanza saying `wanted` where it said `known`: of the same length, padded with spaces."""
        stanza = read_encrypted(parse(c), self.suite.hash_octets)
        assert stanza.data is not None
        size = len(stanza.data)
        known, wanted = known.ljust(size), wanted.ljust(size)
        assert len(known) == len(wanted) == size
        data = bytes(a ^ b ^ w for a, b, w in zip(stanza.data, known, wanted, strict=True))
        number = from_octets(counter)
        covered = data_part(data) + key_parts(stanza.key, stanza.new, ())
        return written(covered, self.suite.hmac(self.key_of(c, number), covered, mpi(number)))

    def invented(self, like: bytes, counter: bytes, octets: bytes) -> bytes:
        """A stanza of any octets, that only the session's cipher key could tell from a real one."""
        covered = data_part(octets)
        number = from_octets(counter)
        return written(covered, self.suite.hmac(self.key_of(like, number), covered, mpi(number)))
