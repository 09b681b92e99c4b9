"""`minivae verify` and `minivae museum`: exact oracles, and mistakes they catch."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING

from tyro.conf import Positional

if TYPE_CHECKING:
    from collections.abc import Iterable

    from minivae.gradcheck import Claim
    from minivae.verify.museum import Exhibit


def verify(
    name: Positional[str | None] = None,
    latent: int = 5,
    model: str | None = None,
    device: str = "cpu",
    json: bool = False,
) -> int:
    """Hold what is measured against what is known exactly; exit code 1 if one differs.

    Args:
        name: an oracle, or with --model a check; by default all of them
        latent: latents of the linear models, 1 to 32
        model: module:Class, a VAE of your own to judge (see minivae.verify.protocol)
        device: cpu, or ptx: the CUDA kernels in an interpreter, those small enough
        json: print one JSON document and nothing else
    """
    from dataclasses import asdict

    from minivae import backend
    from minivae import verify as verifying
    from minivae.errors import UserError

    if model is not None and device != "cpu":
        raise UserError(f"--model is judged where it computes, not on {device}")
    backend.keep_freed_memory()
    with backend.limited_threads(1):  # these products are too small for more
        if model is None:
            claims = verifying.run(name, latent, device)
        else:
            claims = verifying.judge(verifying.load(model), name)
        found = (
            list(claims) if json else _print_as_they_come(claims, details=bool(name))
        )
    if json:
        print(jsonlib.dumps([asdict(claim) for claim in found], indent=2))
    elif device == "ptx" and name is None:
        _print_left_out()
    return 0 if all(claim.passed for claim in found) else 1


def _print_left_out() -> None:
    from minivae.verify.oracles import TOO_LARGE

    print("too large for the interpreter:")
    for oracle, reason in TOO_LARGE.items():
        print(f"  {oracle:15} {reason}")


def _print_as_they_come(claims: Iterable[Claim], details: bool) -> list[Claim]:
    """Print a line for each claim; the words of those that failed, or of all."""
    found: list[Claim] = []
    group = ""
    for claim in claims:
        if not found:
            print(f"  {'exact':>11} {'measured':>11} {'error':>7} {'most':>6}  claim")
        found.append(claim)
        above, _, name = claim.name.rpartition("/")
        if above != group:
            group = above
            print(group.replace("/", ", "))
        numbers = (
            f"{claim.exact:11.5g} {claim.measured:11.5g} "
            f"{claim.error:7.0e} {claim.tolerance:6.0e}"
        )
        verdict = "" if claim.passed else "WRONG "
        print(f"  {numbers}  {verdict}{name}", flush=True)
        if details or not claim.passed:
            print(f"      {claim.formula}\n      {claim.claim}")
    failed = sum(not claim.passed for claim in found)
    print(f"{len(found)} claims, {failed} wrong")
    return found


def museum(name: Positional[str | None] = None, json: bool = False) -> int:
    """Show classic mistakes: what each reports, the truth, and what catches it.

    Args:
        name: a mistake, for its page; by default a table of all
        json: print one JSON document and nothing else
    """
    from dataclasses import asdict

    from minivae import backend
    from minivae.verify.museum import page, visit

    backend.keep_freed_memory()
    with backend.limited_threads(1):
        shown = list(visit(name))
    if json:
        claims = [exhibit.claim() for exhibit in shown]
        print(jsonlib.dumps([asdict(claim) for claim in claims], indent=2))
    elif name is not None:
        print(page(shown[0]))
    else:
        _print_collection(shown)
    return 0 if all(exhibit.as_said for exhibit in shown) else 1


def _print_collection(shown: list[Exhibit]) -> None:
    from minivae.verify.museum import table_row

    line = "{:<29} {:<21} {:>9} {:>9} {:>2} {:>3}"
    print(line.format("mistake", "number", "its log", "truth", "by", "FD"))
    for exhibit in shown:
        print(line.format(*table_row(exhibit)))
    missed = sum(not exhibit.as_said for exhibit in shown)
    seen = sum(not exhibit.gradcheck.passed for exhibit in shown)
    print(
        f"{len(shown)} mistakes, {missed} not caught as said. by: how many checks "
        f"catch it;\nFD: whether finite differences see it ({seen} of {len(shown)}). "
        "A page: minivae museum NAME"
    )
