"""ESessions on behalf of the user's ordinary client: the two halves of the companion (docs/companion.md)."""
