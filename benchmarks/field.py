"""`python -m benchmarks field`: where a denoising autoencoder moves a point.

Five Gaussians on a circle, whose density and score are known; a small net trained to
take off Gaussian noise of variance v. Left its field r(x) − x, right v times the score
of the noisy density, which it must be where there are data (Alain & Bengio 2014).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.drawing import FIGURES

REACH, ARROWS, PIXELS = 1.7, 18, 80


def field(out: Path = FIGURES) -> None:
    """Train a denoising autoencoder in the plane, and draw its field beside the score.

    Args:
        out: folder for field.png
    """
    from benchmarks import drawing

    (path,) = drawing.save(drawn, out / "field", (".png",))  # an SVG of arrows is huge
    print(f"picture  {path}")


def drawn() -> Any:
    """Draw the two fields over the noisy density."""
    from benchmarks.drawing import label, panels
    from minivae.evaluate import reconstruction_field
    from minivae.verify.oracles.score import MIXTURE, VARIANCE, trained

    noisy = MIXTURE.spoilt(VARIANCE)
    points = grid(ARROWS)
    learnt = reconstruction_field(trained(), points)
    exact = VARIANCE * noisy.score(points)
    weights = np.exp(noisy.log_p(points))
    apart, length = (
        np.average((f**2).sum(axis=1), weights=weights) for f in (learnt - exact, exact)
    )
    figure, axes = panels(2, width=4.2, height=4.2)
    axis = np.linspace(-REACH, REACH, PIXELS)
    density = np.exp(noisy.log_p(grid(PIXELS))).reshape(PIXELS, PIXELS)
    titles = (
        "r(x) − x of a denoising autoencoder",
        f"v ∇ log p(x), exact; {np.sqrt(apart / length):.0%} apart where data are",
    )
    for panel, title, arrows in zip(axes, titles, (learnt, exact), strict=True):
        panel.contourf(*2 * (axis,), density, 8, cmap="Blues", vmax=1.6 * density.max())
        panel.quiver(
            *points.T,
            *arrows.T,
            angles="xy",
            scale_units="xy",
            scale=2.5,
            width=0.004,
            color="#993322",
        )
        panel.plot(*MIXTURE.means.T, "+", color="#222222", ms=5)
        panel.set_aspect("equal")
        panel.set_xlim(-REACH, REACH)
        panel.set_ylim(-REACH, REACH)
        label(panel, title, "x₁", "x₂")
    return figure


def grid(side: int) -> np.ndarray:
    """Return the points of a square grid, row by row: (side², 2)."""
    axis = np.linspace(-REACH, REACH, side)
    x, y = np.meshgrid(axis, axis)
    return np.stack([x.reshape(-1), y.reshape(-1)], axis=1)
