"""Studying one training step: record it, then read it; or find where it goes wrong."""

from minivae.study.checks import checked
from minivae.study.compare import compare
from minivae.study.fault import first_fault
from minivae.study.notebook import tensor_html
from minivae.study.plain import as_text
from minivae.study.record import record
from minivae.study.recording import Recording
from minivae.tensor import Tensor

Tensor._repr_html_ = tensor_html  # type: ignore[attr-defined]
"""A notebook's view of a tensor; the engine itself knows nothing of HTML."""

__all__ = ["Recording", "as_text", "checked", "compare", "first_fault", "record"]
