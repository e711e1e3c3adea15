"""The wall: all that may cross between two processes, both ways. Imports nothing else of ours."""
