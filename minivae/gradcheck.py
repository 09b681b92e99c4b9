"""Finite differences: does every rule say what the forward function does?

For a function f of x and a random upstream u, the scalar phi(x) = Σ u ⊙ f(x) has the
gradient that `backward()` computes, and also the central difference

    phi'(x) ≈ (phi(x + h) − phi(x − h)) / 2h,      h = 1e-5 max(1, |x|),

whose error is O(h²) + O(epsilon / h): about 1e-10 in float64. A random upstream is
needed: with ones, the gradient of a softmax is 0, and so is that of many wrong rules.

At a kink (relu at 0) no derivative exists. There phi is looked at with steps h and h/2:
where the two disagree by more than a smooth function can, the element is set aside and
counted, instead of a tolerance being loosened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from minivae.backend import Array, to_numpy
from minivae.errors import UserError
from minivae.random import Noise, Stream
from minivae.tensor import Parameter, Tensor, no_grad

TOLERANCE = 1e-6
STEP = 1e-5
KINKS_ALLOWED = 0.2  # of the elements; more, and the check says nothing
SMALLEST_SCALE = 1e-3  # gradients below this are compared absolutely


@dataclass(frozen=True)
class Claim:
    """A statement, the exact number, the measured one, and whether they agree."""

    name: str
    claim: str
    exact: float
    measured: float
    error: float
    tolerance: float
    passed: bool
    formula: str = ""

    @classmethod
    def compare(
        cls,
        name: str,
        claim: str,
        exact: float,
        measured: float,
        error: float,
        tolerance: float,
        formula: str = "",
    ) -> Claim:
        """Make a claim that passes if `error <= tolerance`; a NaN never does."""
        passed = bool(error <= tolerance)
        numbers = (float(exact), float(measured), float(error), float(tolerance))
        return cls(name, claim, *numbers, passed, formula)

    @classmethod
    def equal(
        cls,
        name: str,
        claim: str,
        exact: float,
        measured: float,
        tolerance: float,
        formula: str = "",
    ) -> Claim:
        """Claim that `measured` is `exact` within `tolerance`."""
        error = abs(float(measured) - float(exact))
        return cls.compare(name, claim, exact, measured, error, tolerance, formula)

    @classmethod
    def at_most(
        cls,
        name: str,
        claim: str,
        bound: float,
        measured: float,
        tolerance: float = 0.0,
        formula: str = "",
    ) -> Claim:
        """Claim that `measured` is at most `bound`, but for `tolerance`."""
        error = max(0.0, float(measured) - float(bound))
        error = error if measured == measured else float("nan")
        return cls.compare(name, claim, bound, measured, error, tolerance, formula)


@dataclass(frozen=True)
class Quotients:
    """Difference quotients of phi along some lines, and which lines cross a kink."""

    slope: Array
    kink: Array

    @property
    def conclusive(self) -> bool:
        """Whether there are lines, and few enough on kinks."""
        return len(self.kink) > 0 and bool(self.kink.mean() <= KINKS_ALLOWED)

    def worst(self, analytic: Array) -> int:
        """Return the line, none of the kinks, where `analytic` differs most."""
        apart = np.abs(analytic.reshape(-1) - self.slope)
        return int(np.argmax(np.where(self.kink, -1.0, apart)))  # or the first NaN


def check(
    f: Callable[..., Tensor | tuple[Tensor, ...]],
    inputs: Mapping[str, Array] | Sequence[Array],
    *,
    name: str = "f",
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> list[Claim]:
    """Check ∂f/∂input element by element; one claim for each of the `inputs`.

    `inputs` are arrays, by name or in order; they are copied and taken as float64. `f`
    takes them as tensors and returns one tensor or several.
    """
    if not isinstance(inputs, Mapping):
        inputs = {f"x{i}": x for i, x in enumerate(inputs)}
    parameters = {
        key: Parameter(np.array(x, dtype=np.float64), name=key)
        for key, x in inputs.items()
    }
    return check_parameters(
        lambda: f(*parameters.values()),
        parameters,
        name=name,
        tolerance=tolerance,
        seed=seed,
    )


def check_parameters(
    f: Callable[[], Tensor | tuple[Tensor, ...]],
    parameters: Mapping[str, Parameter],
    *,
    name: str,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> list[Claim]:
    """Check the gradient of `f()` by every element of `parameters`, one claim each."""
    phi, analytic = _scalar(f, parameters, seed)
    claims = []
    for key, parameter in parameters.items():
        start = parameter.data.copy()
        steps = STEP * np.maximum(1, np.abs(start)).reshape(-1)

        def along(
            i: int, t: float, parameter: Parameter = parameter, start: Array = start
        ) -> float:
            moved = start.copy()
            moved.reshape(-1)[i] += t
            parameter.assign(moved)
            return phi()

        numeric = quotients(along, steps, tolerance)
        parameter.assign(start)
        index_of = [f"{key}{list(i)}" for i in np.ndindex(start.shape)]
        claims.append(
            verdict(f"{name}/{key}", analytic[key], numeric, index_of, tolerance)
        )
    return claims


def check_directions(
    f: Callable[[], Tensor | tuple[Tensor, ...]],
    parameters: Mapping[str, Parameter],
    *,
    name: str,
    directions: int = 8,
    step: float = 1e-3,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> Claim:
    """Check the gradient of `f()` along random unit directions over all parameters.

    What element by element would take days at full size takes `directions` slopes. A
    direction on which a kink lies is replaced by another.
    """
    phi, analytic = _scalar(f, parameters, seed)
    start = {key: p.data.copy() for key, p in parameters.items()}
    noise = Noise(seed, Stream.CHECK, 1 << 32)
    slopes, numeric = [], []
    for _ in range(4 * directions):
        unit = {k: noise.normal(p.shape, np.float64) for k, p in parameters.items()}
        length = np.sqrt(sum(float((d * d).sum()) for d in unit.values()))

        unit = {key: d / length for key, d in unit.items()}

        def along(i: int, t: float, unit: dict[str, Array] = unit) -> float:
            for key, parameter in parameters.items():
                parameter.assign(start[key] + t * unit[key])
            return phi()

        quotient = quotients(along, np.array([step]), tolerance)
        if not quotient.kink[0]:
            flow = sum(float((analytic[k] * d).sum()) for k, d in unit.items())
            slopes.append(flow)
            numeric.append(quotient.slope[0])
        if len(slopes) == directions:
            break
    for key, parameter in parameters.items():
        parameter.assign(start[key])
    found = Quotients(np.array(numeric), np.zeros(len(numeric), bool))
    names = [f"direction {i}" for i in range(len(numeric))]
    return verdict(f"{name}/all", np.array(slopes), found, names, tolerance)


def _scalar(
    f: Callable[[], Tensor | tuple[Tensor, ...]],
    parameters: Mapping[str, Parameter],
    seed: int,
) -> tuple[Callable[[], float], dict[str, Array]]:
    """Return phi = Σ u ⊙ f() for a random u, and its gradient by `backward()`."""
    for key, parameter in parameters.items():
        if parameter.dtype != np.float64:
            raise UserError(f"a gradient check needs float64, {key} is not")
        parameter.grad = None
    outputs = f()
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    noise = Noise(seed, Stream.CHECK)
    upstream = [noise.normal(out.shape, np.float64) for out in outputs]
    for out, u in zip(outputs, upstream, strict=True):
        out.backward(u)  # not Σ u ⊙ f by ops: their rules may be the wrong ones
    analytic = {
        key: np.zeros(p.shape) if p.grad is None else to_numpy(p.grad).copy()
        for key, p in parameters.items()
    }

    def phi() -> float:
        with no_grad():
            outputs = f()
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return sum(
            float((out.numpy() * u).sum())
            for out, u in zip(outputs, upstream, strict=True)
        )

    return phi, analytic


def quotients(
    along: Callable[[int, float], float], steps: Array, tolerance: float
) -> Quotients:
    """Measure the slope of `along(i, t)` at t = 0 for every line i.

    With D(h) the central quotient and s(h) = phi(h) − 2 phi(0) + phi(−h), a smooth phi
    has D(h) − D(h/2) = O(h²) and s(h) − 4 s(h/2) = O(h⁴). A jump J of the slope at a
    distance d < h adds J d / 2h to the first (for d <= h/2) and J (3d − h) to the
    second: never both near 0.
    """
    middle = along(0, 0.0) if len(steps) else 0.0
    slope, doubt, noise = np.empty((3, len(steps)))
    for i, h in enumerate(steps):
        outer = along(i, h), along(i, -h)
        inner = along(i, h / 2), along(i, -h / 2)
        slope[i] = (outer[0] - outer[1]) / (2 * h)
        halved = (inner[0] - inner[1]) / h
        bend = sum(outer) - 2 * middle - 4 * (sum(inner) - 2 * middle)
        doubt[i] = max(abs(slope[i] - halved), abs(bend) / h)
        noise[i] = 64 * np.finfo(float).eps * abs(middle) / h
    scale = max(np.abs(slope).max(initial=0.0), SMALLEST_SCALE)
    return Quotients(slope, doubt > np.maximum(tolerance / 4 * scale, noise))


def verdict(
    name: str, analytic: Array, numeric: Quotients, elements: list[str], tol: float
) -> Claim:
    """Compare by max|a − n| / max(max|a|, max|n|, 1e-3), kinks set aside."""
    a, n = analytic.reshape(-1), numeric.slope
    smooth = ~numeric.kink
    if not numeric.conclusive:
        text = f"{(~smooth).sum()} of {len(a)} elements lie on kinks: nothing to say"
        return Claim.compare(name, text, np.nan, np.nan, np.inf, tol)
    a, n = a[smooth], n[smooth]
    scale = max(np.abs(a).max(), np.abs(n).max(), SMALLEST_SCALE)
    errors = np.abs(a - n) / scale
    worst = int(np.argmax(errors))  # argmax takes the first NaN for the largest
    element = [e for e, keep in zip(elements, smooth, strict=True) if keep][worst]
    text = (
        f"gradient = difference quotient at {len(a)} points, worst at {element}: "
        f"{a[worst]:.9g} by the rules, {n[worst]:.9g} by differences"
    )
    if (~smooth).any():
        text += f"; {(~smooth).sum()} at kinks set aside"
    return Claim.compare(name, text, n[worst], a[worst], errors[worst], tol)
