"""The transactional store: inbox, state, outbox; ciphertext only."""
