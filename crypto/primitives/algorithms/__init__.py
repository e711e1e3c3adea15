"""One file per algorithm: each defines `ALGORITHM`. `crypto.primitives.registry` names them in order of preference."""
