"""TLS towards the client, as a layer without sockets: octets of the wire in, plaintext out, and the other way.

On OpenSSL by way of pyOpenSSL, because Python's `ssl` gives no `tls-exporter`, the only channel binding of TLS 1.3 that
clients have in common (RFC 9266; docs/decisions/0110).
"""

from pathlib import Path

from OpenSSL import SSL

_PIECE = 1 << 16
_EXPORTER = b"EXPORTER-Channel-Binding"


class TlsBroken(Exception):
    """The client's TLS is not acceptable."""


def server_context(certificate: Path) -> SSL.Context:
    """What all connections share. `certificate`: PEM file with the certificate and its key."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET)
    context.use_certificate_file(str(certificate))
    context.use_privatekey_file(str(certificate))
    context.set_alpn_select_callback(_chosen)
    return context


def _chosen(_: SSL.Connection, offered: list[bytes]) -> bytes | SSL._NoOverlappingProtocols:
    return b"xmpp-client" if b"xmpp-client" in offered else SSL.NO_OVERLAPPING_PROTOCOLS


class TlsLayer:
    """One connection's TLS."""

    def __init__(self, context: SSL.Context) -> None:
        self._tls = SSL.Connection(context, None)
        self._tls.set_accept_state()
        self.established = False

    def received(self, octets: bytes) -> bytes:
        """Octets of the wire; the plaintext they complete. Raises TlsBroken."""
        broken = False
        plain = bytearray()
        try:
            for start in range(0, len(octets), _PIECE):
                self._tls.bio_write(octets[start : start + _PIECE])
                self._drain(plain)
        except SSL.ZeroReturnError:
            pass
        except SSL.Error:
            broken = True
        if broken:
            raise TlsBroken("TLS failed")
        return bytes(plain)

    def _drain(self, plain: bytearray) -> None:
        try:
            if not self.established:
                self._tls.do_handshake()
                self.established = True
            while True:
                plain += self._tls.recv(_PIECE)
        except SSL.WantReadError:
            pass

    def send(self, plain: bytes) -> None:
        """Encrypt; the result is fetched with `to_send`."""
        view = memoryview(plain)
        while view:
            view = view[self._tls.send(bytes(view[:_PIECE])) :]

    def close(self) -> None:
        """Say that nothing more comes."""
        if self.established:
            self._tls.shutdown()

    def to_send(self) -> bytes:
        """What has to go on the wire now."""
        out = bytearray()
        try:
            while True:
                out += self._tls.bio_read(_PIECE)
        except SSL.WantReadError:
            return bytes(out)

    def exporter(self) -> bytes | None:
        """The channel binding `tls-exporter`; None before TLS 1.3, for which it needs more than we can check."""
        if self._tls.get_protocol_version() < SSL.TLS1_3_VERSION:
            return None
        return self._tls.export_keying_material(_EXPORTER, 32, b"")
