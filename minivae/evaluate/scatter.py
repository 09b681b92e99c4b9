"""Points in the plane, several planes side by side, as one PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from minivae.backend import Array

COLOURS = (  # those of the pages, light
    *("#0072b2", "#d1570a", "#00805c", "#a8429a", "#8a6d00"),
    *("#3b2f93", "#c9405f", "#0f8aa8", "#6d3413", "#5f6670"),
)
MARKERS = "osD^v"  # with ten colours each: fifty classes that differ
NAMED = 20  # more classes than these are not named


class Plane(NamedTuple):
    """Points (N, 2) and what their two axes are."""

    points: Array
    axes: tuple[str, str]


def side_by_side(
    planes: Mapping[str, Plane], labels: Array, names: Mapping[int, str]
) -> bytes:
    """Draw planes under their titles, points by class; the names stand below, once."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 9, "axes.titlesize": 10}):
        figure = Figure((5.2 * len(planes), 5.6), layout="constrained", dpi=120)
        drawn = figure.subplots(1, len(planes), squeeze=False)[0]
        for axes, (title, plane) in zip(drawn, planes.items(), strict=True):
            for i, label in enumerate(np.unique(labels)):
                axes.scatter(
                    *plane.points[labels == label].T,
                    s=12,
                    marker=MARKERS[i // len(COLOURS) % len(MARKERS)],
                    color=COLOURS[i % len(COLOURS)],
                    alpha=0.7,
                    linewidths=0,
                    label=names.get(int(label), str(label)),
                )
            axes.set_title(title, loc="left")
            axes.set_xlabel(plane.axes[0])
            axes.set_ylabel(plane.axes[1])
            axes.spines[["top", "right"]].set_visible(False)
        if 1 < len(np.unique(labels)) <= NAMED:
            handles, texts = drawn[0].get_legend_handles_labels()
            figure.legend(
                handles,
                texts,
                loc="outside lower center",
                ncols=5 if len(texts) <= 10 else 10,
                frameon=False,
                markerscale=1.8,
                handletextpad=0.1,
            )
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
