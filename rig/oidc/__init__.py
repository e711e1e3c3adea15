"""The OAuth 2.0 server that the homeserver of tests delegates its logins to."""
