"""Measurements: `python -m tests.bench`. Numbers for people, never a test with a time limit."""
