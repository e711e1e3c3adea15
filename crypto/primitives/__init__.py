"""Building blocks: groups, exponentiation, ciphers, canonical encodings."""
