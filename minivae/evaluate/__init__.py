"""Numbers and pictures of a trained model."""

from minivae.evaluate.ledger import ledger

__all__ = ["ledger"]
