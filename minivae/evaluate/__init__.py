"""Numbers and pictures of a trained model."""

from minivae.evaluate.bounds import exact_log_p
from minivae.evaluate.cluster import cluster
from minivae.evaluate.detect import detect
from minivae.evaluate.embed import embed
from minivae.evaluate.factors import disentanglement
from minivae.evaluate.field import reconstruction_field
from minivae.evaluate.ledger import comparable, ledger
from minivae.evaluate.probe import probe

__all__ = [
    "cluster",
    "comparable",
    "detect",
    "disentanglement",
    "embed",
    "exact_log_p",
    "ledger",
    "probe",
    "reconstruction_field",
]
