"""Measured speed, printed and never asserted: `python -m benchmarks`, from a clone.

Absolute times drift with the machine and with what else runs on it. What counts are
ratios and shares taken in turns within one run, and each page names its machine.
"""
