"""Real servers and clients on loopback, for the tests and the demo: started, watched, and always stopped."""
