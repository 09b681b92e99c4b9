"""Studying one training step: record it, then read it; or find where it goes wrong."""

from minivae.study.checks import checked
from minivae.study.compare import compare
from minivae.study.fault import first_fault
from minivae.study.plain import as_text
from minivae.study.record import record
from minivae.study.recording import Recording

__all__ = ["Recording", "as_text", "checked", "compare", "first_fault", "record"]
