"""Olm and Megolm on vodozemac: the Matrix machine, without I/O."""
