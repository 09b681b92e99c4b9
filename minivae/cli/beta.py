"""`minivae beta`: one beta after another, on one page."""

from __future__ import annotations

from pathlib import Path


def beta(
    out: Path = Path("beta.html"),
    betas: tuple[float, ...] | None = None,
    seeds: int = 3,
    steps: int = 4000,
    threads: int | None = None,
) -> None:
    """Train over a range of betas and write a page, with its numbers as JSON beside it.

    Rate and distortion under the Gaussian curve, scores of disentanglement with their
    spread over seeds, latents against factors, traversals. On sprites and digits.

    Args:
        out: the page; its numbers go into a .json of the same name
        betas: weights of the KL; by default seven from 1 to 32
        seeds: trainings of each beta, with seeds 0, 1, ...
        steps: of each training on sprites; digits have half as many
        threads: of BLAS and kernels; by default as many as they take
    """
    import json

    from rich.console import Console

    from minivae import backend
    from minivae.beta import BETAS, run
    from minivae.errors import UserError
    from minivae.files import write
    from minivae.page.beta import page
    from minivae.page.beta_words import findings

    if out.suffix != ".html":
        raise UserError(f"--out is the path of an .html, not {out}")
    if not out.parent.is_dir():
        raise UserError(f"there is no folder {out.parent} to write into")
    with (
        Console(stderr=True).status("") as status,
        backend.limited_threads(threads),
    ):
        backend.keep_freed_memory()
        sweep = run(betas or BETAS, seeds, steps, status.update)
        html = page(sweep)
    numbers = json.dumps(sweep.numbers(), indent=1) + "\n"
    write(out.with_suffix(".json"), numbers.encode())
    write(out, html.encode("utf-8"))
    for sentence in findings(sweep):
        print(f"- {sentence}")
    print(f"\n{out}\n{out.with_suffix('.json')}")
