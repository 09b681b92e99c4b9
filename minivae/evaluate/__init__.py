"""Numbers and pictures of a trained model."""

from minivae.evaluate.bounds import exact_log_p
from minivae.evaluate.factors import disentanglement
from minivae.evaluate.ledger import comparable, ledger

__all__ = ["comparable", "disentanglement", "exact_log_p", "ledger"]
