"""Frames on a byte stream: four octets of length, big endian, then that many octets. A hard cap ends the stream."""

import struct

MAX_FRAME = 16 << 20
"""Octets of the longest payload. A longer announcement is a violation before a single octet of it is kept."""

_LENGTH = struct.Struct(">I")


class FrameError(Exception):
    """A peer announced an empty frame or one over the cap."""


def frame(payload: bytes) -> bytes:
    """The payload with its length in front. Raises FrameError when it is empty or over the cap."""
    if not 0 < len(payload) <= MAX_FRAME:
        raise FrameError("the payload does not fit a frame")
    return _LENGTH.pack(len(payload)) + payload


class Deframer:
    """Cuts a stream into payloads. Feed what was read; take what is whole."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that are whole now, in order. Raises FrameError at a length of zero or over the cap."""
        self._buffer += data
        payloads: list[bytes] = []
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            if not 0 < length <= MAX_FRAME:
                raise FrameError("the announced length is not permitted")
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            payloads.append(bytes(memoryview(self._buffer)[start + _LENGTH.size : end]))
            start = end
        if start:
            del self._buffer[:start]
        return payloads

    @property
    def pending(self) -> int:
        """Octets held of a frame that is not whole yet."""
        return len(self._buffer)
