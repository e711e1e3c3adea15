"""Terms with public keys and other abilities, for tests of negotiations."""

from dataclasses import replace
from functools import cache

from crypto.esession.identities import Identity, PublicIdentity, new_ed25519, new_rsa
from crypto.esession.key_values import SignAlgorithm
from crypto.esession.terms import Terms

ED25519, RSA, DSA = SignAlgorithm.ED25519, SignAlgorithm.RSA, SignAlgorithm.DSA


@cache
def ed25519(name: str) -> Identity:
    """An Ed25519 key for each name."""
    return new_ed25519(name.encode().ljust(32, b"."))


@cache
def rsa(name: str) -> Identity:
    """An RSA key for each name, new for each run."""
    assert name
    return new_rsa(2048)


def keyed(
    identity: Identity, *known: PublicIdentity, peer_keys: tuple[str, ...] = ("hash", "key"), three: bool = True
) -> Terms:
    """Terms of an end that has a key and wants the other to have one."""
    return Terms(groups=(14,), identity=identity, peer_keys=peer_keys, known_keys=known, three_message=three)


def without_hybrid(terms: Terms) -> Terms:
    """The same without key encapsulation."""
    return replace(terms, kems=())
