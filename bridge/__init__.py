"""Outside: supervisor, gateway, ledger, command line. Never a plaintext, never a message key."""
