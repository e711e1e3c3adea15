"""One package per network, each with a half outside and a half inside."""
