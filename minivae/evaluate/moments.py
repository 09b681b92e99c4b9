"""Means and variances of more rows than are kept in memory."""

from __future__ import annotations

import math

import numpy as np

from minivae.backend import Array


class Moments:
    """Mean and variance over the first axis of arrays that follow one another.

    Source: Chan, Golub & LeVeque 1979, "Updating formulae", eq. 2.1.
    """

    count, mean, squares = 0, 0.0, 0.0

    def add(self, values: Array) -> None:
        """Take in more rows."""
        n, mean = len(values), values.mean(axis=0)
        apart, total = mean - self.mean, self.count + n
        squares = ((values - mean) ** 2).sum(axis=0)
        self.squares = self.squares + squares + apart**2 * (self.count * n / total)
        self.mean = self.mean + apart * (n / total)
        self.count = total

    @property
    def variance(self) -> Array:
        """The mean squared distance from the mean."""
        return np.asarray(self.squares / self.count)

    @property
    def error(self) -> float:
        """The standard error of the mean of independent values."""
        n = self.count
        return math.sqrt(self.squares / (n - 1) / n) if n > 1 else 0.0
