"""`minivae verify` and `minivae museum`: exact oracles, and mistakes they catch."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING

from tyro.conf import Positional

if TYPE_CHECKING:
    from collections.abc import Iterable

    from minivae.gradcheck import Claim


def verify(
    name: Positional[str | None] = None,
    latent: int = 5,
    model: str | None = None,
    json: bool = False,
) -> int:
    """Hold what is measured against what is known exactly; exit code 1 if one differs.

    Args:
        name: an oracle, or with --model a check; by default all of them
        latent: latents of the linear models, 1 to 32
        model: module:Class, a VAE of your own to judge (see minivae.verify.protocol)
        json: print one JSON document and nothing else
    """
    from dataclasses import asdict

    from minivae import backend
    from minivae import verify as verifying

    backend.keep_freed_memory()
    with backend.limited_threads(1):  # these products are too small for more
        if model is None:
            claims = verifying.run(name, latent)
        else:
            claims = verifying.judge(verifying.load(model), name)
        found = (
            list(claims) if json else _print_as_they_come(claims, details=bool(name))
        )
    if json:
        print(jsonlib.dumps([asdict(claim) for claim in found], indent=2))
    return 0 if all(claim.passed for claim in found) else 1


def _print_as_they_come(claims: Iterable[Claim], details: bool) -> list[Claim]:
    """Print a line for each claim; the words of those that failed, or of all."""
    print(f"  {'exact':>11} {'measured':>11} {'error':>7} {'most':>6}  claim")
    found, group = [], ""
    for claim in claims:
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
