"""How a file crosses the enclave: asked for in parts by the half that takes it, given by the half that has it."""
