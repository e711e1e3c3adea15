"""SHA-384 (FIPS 180-4)."""

from crypto.primitives.kinds import HashAlgorithm

ALGORITHM = HashAlgorithm("sha384", octets=48, hashlib_name="sha384")
