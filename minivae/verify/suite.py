"""All checks of the protocol, in one place to import them from."""

from minivae.verify import checks_evaluation
from minivae.verify.checks import CHECKS, Check, judge

__all__ = ["CHECKS", "Check", "checks_evaluation", "judge"]
