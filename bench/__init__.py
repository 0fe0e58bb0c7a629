"""Measures Surfaces against a plain matrix-nio loop: `python -m bench`."""
