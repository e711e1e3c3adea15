"""The configuration file: reading it, checking it, and what each process gets of it."""
