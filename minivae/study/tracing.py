"""Whether a replay follows a change of the images or the noise: measured.

A model may use an input where the tape does not see it: a draw of 0 or 1 that compares
uniforms with probabilities, a constant that an estimator holds. A replay with other
images or noise then is not what the model would compute, and must not be shown as that.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from minivae.backend import Array
from minivae.errors import UserError
from minivae.study.recording import Leaf, Recording
from minivae.study.subject import Subject
from minivae.study.tape import Tape
from minivae.tensor import no_grad

AGREES = 1e-5  # relative: float32, in another order


def traced(subject: Subject, recording: Recording) -> Recording:
    """Return the recording with `traced` set on images and noise."""
    inputs = [leaf for leaf in recording.leaves if leaf.kind in ("input", "noise")]
    try:
        tape = Tape(recording)
        run = tape.run()
    except UserError:  # an op that is declared nowhere now
        return recording
    marks = {}
    for leaf in inputs:
        other = _another(np.asarray(leaf.value))
        with np.errstate(all="ignore"):
            replayed = tape.moved(run, (leaf.id, 0), other)
            meant = _loss_with(subject, leaf, other)
        marks[leaf.id] = abs(replayed - meant) <= AGREES * max(1.0, abs(meant))
    return replace(
        recording,
        leaves=tuple(
            replace(leaf, traced=marks.get(leaf.id, True)) for leaf in recording.leaves
        ),
    )


def _another(value: Array) -> Array:
    """Return other values of the same kind: 0 and 1 exchanged, or in reverse."""
    if value.size and np.isin(value, (0, 1)).all():
        return (1 - value).astype(value.dtype)
    return value.reshape(-1)[::-1].reshape(value.shape).copy()


def _loss_with(subject: Subject, leaf: Leaf, value: Array) -> float:
    """Return the model's own loss with an input exchanged; NaN if it refuses it."""
    if leaf.kind == "input":
        changed = replace(subject, batch=value)
    else:
        changed = replace(subject, noise=value)
    try:
        with no_grad():
            return changed.loss_again()
    except Exception:  # a learner's model may refuse in any way
        return float("nan")
