"""SHA3-512 (FIPS 202)."""

from crypto.primitives.kinds import HashAlgorithm

ALGORITHM = HashAlgorithm("sha3-512", octets=64, hashlib_name="sha3_512")
