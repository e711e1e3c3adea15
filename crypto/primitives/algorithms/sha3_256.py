"""SHA3-256 (FIPS 202)."""

from crypto.primitives.kinds import HashAlgorithm

ALGORITHM = HashAlgorithm("sha3-256", octets=32, hashlib_name="sha3_256")
