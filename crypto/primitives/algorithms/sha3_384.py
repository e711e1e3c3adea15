"""SHA3-384 (FIPS 202)."""

from crypto.primitives.kinds import HashAlgorithm

ALGORITHM = HashAlgorithm("sha3-384", octets=48, hashlib_name="sha3_384")
