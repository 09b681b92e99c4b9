"""Data sets of images in [0, 1], split into train, validation and test.

data = mv.data.load("fashion10k:dynamic")
data.test.images      # (N, C, H, W), float32
"""

from minivae.data.catalogue import NAMES, load, load_again
from minivae.data.dataset import MODES, Dataset, Split, binarise
from minivae.data.factors import Factors
from minivae.data.rows import UnreadableError
from minivae.data.sprites import Sprites
from minivae.data.stored import Images, batches, in_blocks

__all__ = [
    "MODES",
    "NAMES",
    "Dataset",
    "Factors",
    "Images",
    "Split",
    "Sprites",
    "UnreadableError",
    "batches",
    "binarise",
    "in_blocks",
    "load",
    "load_again",
]
