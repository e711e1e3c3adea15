"""Everything that identity keys, their vouchers and the algorithms of a suite do, on data read at import."""

from pathlib import Path

from crypto.esession import certificates, identities, openpgp
from crypto.esession.presented import Identification, present, read_presented
from crypto.esession.suite import CIPHERS, GROUPS, HASHES, KEMS, Suite, exchange, kem

_TESTS = Path(__file__).parents[1]
_RSA_CERTIFICATE = (_TESTS / "vectors/openpgp/rsa.asc").read_bytes()
_OWN, _ROOT = ((_TESTS / "corpus/certificate" / name).read_bytes() for name in ("own", "root"))
_KEY = identities.new_ed25519(b"\x09" * 32)
_NOW_S = 1750000000


def work() -> str:
    """Raises when something is not as it should be."""
    for name in GROUPS:
        group = exchange(name)
        one, other = group.secret(b"1" * 32), group.secret(b"2" * 32)
        assert group.shared(group.public(one), other) == group.shared(group.public(other), one)
    for cipher, hash_name in zip(2 * list(CIPHERS), HASHES, strict=True):
        suite = Suite(cipher=cipher, hash=hash_name)
        key = suite.hmac(b"key", b"data")[: suite.key_octets()]
        assert suite.counter_mode(key, 1, suite.counter_mode(key, 1, b"text")) == b"text"
    for mechanism in map(kem, KEMS):
        secret, public = mechanism.keypair(b"s" * 64)
        ciphertext, shared = mechanism.encapsulate(public)
        assert mechanism.decapsulate(secret, ciphertext) == shared
    for own in (identities.new_rsa(2048), _KEY):
        found = read_presented(present(own, b"mac", Identification.KEY), Identification.KEY)
        identities.verify(own.public, b"mac", found.signature)
    assert certificates.flaw((_OWN,), (_ROOT,), _KEY.public, "alice@example.org", _NOW_S) is None
    for component in openpgp.read(_RSA_CERTIFICATE):
        if component.key is not None and component.key.public is not None:
            openpgp.flaw(_RSA_CERTIFICATE, component.key.public, _NOW_S)
    return "done"
