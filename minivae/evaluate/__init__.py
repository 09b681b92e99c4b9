"""Numbers and pictures of a trained model."""

from minivae.evaluate.bounds import exact_log_p
from minivae.evaluate.field import reconstruction_field
from minivae.evaluate.ledger import comparable, ledger

__all__ = ["comparable", "exact_log_p", "ledger", "reconstruction_field"]
