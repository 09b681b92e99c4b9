"""What is checked against something exact."""

from minivae.verify.gradients import claims

__all__ = ["claims"]
