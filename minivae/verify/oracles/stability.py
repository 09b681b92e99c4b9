"""Extremes in float32: finite, and as float64 by SciPy has them.

log(1 + e^l) at l = ±1000,   KL at logvar = ±80,   log Σ e^w of w spread over 10⁴
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import special, stats

from minivae import ops
from minivae.distributions import Bernoulli
from minivae.gradcheck import Claim
from minivae.tensor import Parameter, Tensor

LOGITS, LOGVARS = (-1000.0, -40.0, 20.0, 1000.0), (-80.0, -1e-4, 80.0)
RELATIVE = 1e-5  # float32 has 6e-8, and some ten roundings and one exp are in it


def claims(latent: int = 5) -> Iterator[Claim]:
    """Yield a claim for each extreme value, and for its gradient where it must live."""
    for logit in LOGITS:
        for target in (0.0, 1.0):
            exact = -float(special.log_expit(logit if target else -logit))
            x, l = np.full((1, 1), target, np.float32), _f32(logit)  # noqa: E741
            loss = ops.bernoulli_nll(l, x)
            yield _near(f"NLL of {target:g} at logit {logit:g}", exact, loss.item())
            loss.backward()
            assert l.grad is not None
            slope = float(special.expit(logit)) - target
            name = f"its slope of {target:g} at logit {logit:g}"
            yield _near(name, slope, float(l.grad[0, 0]))
        p = float(special.expit(logit))
        exact = float(special.rel_entr(p, 0.5) + special.rel_entr(1 - p, 0.5))
        found = Bernoulli(Tensor(_f32(logit).data)).kl().item()
        yield _near(f"KL of a coin at logit {logit:g}", exact, found)
    for logvar in LOGVARS:
        exact = 0.5 * (float(np.expm1(logvar)) - logvar)
        found = ops.gaussian_kl(_f32(0.0), _f32(logvar)).item()
        yield _near(f"KL at logvar {logvar:g}", exact, found)
        exact = -float(stats.norm.logpdf(1.0, 0.0, np.exp(logvar / 2)))
        one = np.ones((1, 1), np.float32)
        found = ops.gaussian_nll(_f32(0.0), _f32(logvar), one).item()
        yield _near(f"Gaussian NLL at logvar {logvar:g}", exact, found)
    w = np.linspace(-1e4, 1e4, 999)
    found = ops.logsumexp(w.astype(np.float32)).item()
    exact = float(special.logsumexp(w))
    yield _near("log Σ e^w of w from −10⁴ to 10⁴", exact, found)
    found = ops.logmeanexp(w.astype(np.float32)[None]).item()
    yield _near("log of the mean e^w of the same", exact - np.log(len(w)), found)


def _f32(value: float) -> Parameter:
    return Parameter(np.full((1, 1), value, np.float32))


def _near(what: str, exact: float, found: float) -> Claim:
    return Claim.compare(
        f"stability/{what}",
        "float32 is finite and float64's value, relative to max(1, it)",
        exact,
        found,
        abs(found - exact) / max(1.0, abs(exact)),
        RELATIVE,
        "finite, |float32 − float64| <= 1e-5 max(1, |float64|)",
    )
