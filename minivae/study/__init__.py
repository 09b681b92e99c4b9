"""Studying one training step: record it, then read it."""

from minivae.study.plain import as_text
from minivae.study.record import record
from minivae.study.recording import Recording

__all__ = ["Recording", "as_text", "record"]
