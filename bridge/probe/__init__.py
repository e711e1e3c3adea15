"""Trying out what a configuration describes: one finding per hop."""
