"""The hot paths of minivae, each beside its NumPy reference.

This package never imports `minivae`.
"""
