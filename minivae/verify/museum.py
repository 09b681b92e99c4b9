"""The bug museum: each mistake run, measured, looked at by the checks, and shown.

The checks get an untrained variant and know it through the protocol alone. What its own
log says and what is so are computed after training, here and now.
"""

from __future__ import annotations

import inspect
import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from minivae.backend import Array
from minivae.errors import UserError
from minivae.gradcheck import Claim, check_directions
from minivae.random import Noise, Stream
from minivae.verify.experiment import BinaryExperiment, Experiment
from minivae.verify.mistakes import MISTAKES, Mistake, Wrong
from minivae.verify.suite import judge

WIDTH = 80
BLOCKS = " ▁▂▃▄▅▆▇█"
OWN = ("reported", "exact", "__init__", "data", "train")


@dataclass(frozen=True)
class Exhibit:
    """A mistake as it was found: numbers, checks that caught it, gradient check."""

    mistake: Mistake
    reported: float
    exact: float
    caught: tuple[Claim, ...]
    gradcheck: Claim
    curve: tuple[tuple[float, float], ...]

    @property
    def name(self) -> str:
        """The mistake's name."""
        return self.mistake.__name__

    @property
    def as_said(self) -> bool:
        """Whether the checks it names caught it, and the gradient check did as said."""
        names = {claim.name for claim in self.caught}
        expected = set(self.mistake.looks) <= names
        return expected and self.gradcheck.passed != self.mistake.seen_by_gradcheck

    def claim(self) -> Claim:
        """The exhibit as a claim: it passes if all is as its page says."""
        by = ", ".join(claim.name for claim in self.caught)
        text = f"{self.mistake.what}: its log is not the truth; caught by {by}"
        return Claim.compare(
            f"museum/{self.name}",
            text,
            self.exact,
            self.reported,
            0.0 if self.as_said else 1.0,
            0.0,
            told(self.mistake)["title"],
        )


def names(name: str | None) -> list[str]:
    """Return one name or all; raises `UserError` that lists them."""
    if name is None:
        return list(MISTAKES)
    if name not in MISTAKES:
        raise UserError(f"no mistake {name!r}; have {', '.join(MISTAKES)}")
    return [name]


def visit(name: str | None = None) -> Iterator[Exhibit]:
    """Yield the exhibit of one mistake, or of all, each as soon as it is made."""
    for one in names(name):
        yield exhibit(MISTAKES[one])


def exhibit(mistake: Mistake) -> Exhibit:
    """Run a mistake and everything that looks at it."""
    caught = tuple(claim for claim in judge(mistake()) if not claim.passed)
    variant = mistake()
    if mistake.trains:
        variant.train()
    else:
        variant.net.load_state(rightly_trained(issubclass(mistake, BinaryExperiment)))
    return Exhibit(
        mistake,
        float(variant.reported()),
        float(variant.exact()),
        caught,
        gradient_check(mistake()),
        tuple(variant.curve),
    )


@cache
def rightly_trained(binary: bool) -> dict[str, Array]:
    """Return the weights of the right experiment, trained."""
    right = BinaryExperiment() if binary else Experiment()
    right.train()
    return right.net.state()


def gradient_check(variant: Experiment) -> Claim:
    """Hold a variant's gradient against finite differences, along four directions."""
    x = variant.data()[:6]
    eps = Noise(3, Stream.CHECK).normal((len(x), variant.latent), np.float64)
    return check_directions(
        lambda: variant.terms(x, eps)[0],
        variant.net.named_parameters(),
        name=type(variant).__name__,
        directions=4,
    )


# A page


def told(mistake: Mistake) -> dict[str, str]:
    """Return title, where it was seen, and how to notice, from the docstring."""
    text = inspect.getdoc(mistake) or ""
    title, _, rest = text.partition("\n\n")
    seen, _, notice = rest.partition("Notice:")
    return {
        "title": " ".join(title.split()),
        "seen": " ".join(seen.removeprefix("Seen:").split()),
        "notice": " ".join(notice.split()),
    }


def wrong_lines(mistake: Mistake) -> list[str]:
    """Return the source of what the mistake changes."""
    found: list[str] = []
    for name, value in vars(mistake).items():
        if name in OWN or name.startswith("__"):
            continue
        if inspect.isfunction(value) and hasattr(Experiment, name):
            found += textwrap.dedent(inspect.getsource(value)).splitlines()
        elif name in ("sigma", "beta"):
            found.append(f"{name} = {value!r}")
    return found


def page(shown: Exhibit) -> str:
    """Return the page of a mistake, as text of at most 40 lines of 80 columns."""
    mistake, words = shown.mistake, told(shown.mistake)
    lines = [shown.name, "", *_wrapped(words["title"]), ""]
    lines += _wrapped("Seen: " + words["seen"], 2)
    lines += [*_wrapped("Notice: " + words["notice"], 2), ""]
    lines += [f"    {line}" for line in wrong_lines(mistake)]
    lines += ["", *picture(shown), "", "caught by"]
    for claim in shown.caught:
        if claim.name in mistake.looks:
            lines.append(f"  {claim.name}")
            lines.append(f"    exact {claim.exact:.5g}, measured {claim.measured:.5g}")
    if others := len(shown.caught) - len(mistake.looks):
        lines.append(f"  and {others} other check{'s' * (others > 1)}")
    verdict = "sees nothing" if shown.gradcheck.passed else "sees it"
    lines.append(
        f"the gradient check {verdict}: relative error {shown.gradcheck.error:.0e}"
    )
    return "\n".join(lines)


def _wrapped(text: str, indent: int = 0) -> list[str]:
    return textwrap.wrap(text, WIDTH - 2, subsequent_indent=" " * indent)


def picture(shown: Exhibit) -> list[str]:
    """Draw what is reported and what is so: two curves of training, or two bars."""
    what = shown.mistake.what
    rows = [("its log says", shown.reported), ("the truth", shown.exact)]
    width = max(len(f"{number:.5g}") for _, number in rows)
    curves = [
        [pair[i] for pair in shown.curve] for i in (0, 1)
    ] if shown.curve and what == Wrong.what else None  # fmt: skip
    drawn = [what]
    for i, (name, number) in enumerate(rows):
        if curves is not None:
            art = spark(curves[i], [v for curve in curves for v in curve])
        else:
            art = bar(number, [value for _, value in rows])
        drawn.append(f"  {name:<12}  {number:>{width}.5g}  {art}".rstrip())
    if curves is not None:
        drawn.append("  over training, both on one scale; lower is better")
    return drawn


def spark(values: list[float], scale: list[float]) -> str:
    """Draw values as columns of blocks; `scale` has the least and the largest."""
    low, high = min(scale), max(scale)
    span = (high - low) or 1.0
    heights = (1 + round((v - low) / span * (len(BLOCKS) - 2)) for v in values)
    return "".join(3 * BLOCKS[h] for h in heights)


def bar(value: float, scale: list[float]) -> str:
    """Draw the size of a number as a bar of up to 40 blocks."""
    most = max(abs(v) for v in scale) or 1.0
    return "█" * math.ceil(40 * abs(value) / most)


def table_row(shown: Exhibit) -> tuple[str, str, str, str, str, str]:
    """Return name, number, what its log says, the truth, checks, gradient check."""
    return (
        shown.name,
        shown.mistake.what,
        f"{shown.reported:.4g}",
        f"{shown.exact:.4g}",
        str(len(shown.caught)),
        "no" if shown.gradcheck.passed else "yes",
    )
