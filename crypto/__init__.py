"""Inside: what the enclave process is made of. No clock, no dice, no I/O but in crypto.enclave's shell."""
