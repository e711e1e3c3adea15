"""The enclave process: lockdown, sealing, the step function, the router between adapter halves."""
