"""`minivae step`: one training step taken apart, in a terminal, as text or as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minivae.study import Recording

TINY: dict[str, dict[str, Any]] = {
    "dense": {"shape": (1, 2, 3), "hidden": (4,)},
    "conv": {"shape": (1, 4, 4), "channels": (2,), "hidden": (4,)},
}
BATCH = 2
FAULTS = (  # that a recording can cause whose parts do not fit each other
    *(ArithmeticError, AssertionError, AttributeError, LookupError, TypeError),
    ValueError,
)


def step(
    model: str = "vae",
    arch: str = "dense",
    beta: float | None = None,
    lr: float = 0.01,
    seed: int = 0,
    device: str = "cpu",
    read: Path | None = None,
    plain: bool = False,
    html: Path | None = None,
    json: Path | None = None,
    find_bug: bool = False,
    diff: tuple[Path, Path] | None = None,
    tolerance: float | None = None,
    fold: bool = False,
    kernel: str | None = None,
    rung: str | None = None,
) -> int:
    """Take one training step apart: forward, backward, update, each number checked.

    In a terminal keys move through it (? lists them); from a pipe, lines do. Exit code
    1 if --find-bug or --diff finds something.

    Args:
        model: ae, dae, vae, betavae, iwae, mixturevae or bernoullivae; or
            module:function, which returns your own model and a batch
        arch: dense or conv, of the tiny model
        beta: weight of the KL, for a betavae (4 if not given)
        lr: learning rate of the Adam step
        seed: of the weights, the images and the noise
        device: cpu, cuda, or ptx: the CUDA kernels in an interpreter
        read: a recording that --json wrote, instead of a new step
        plain: print the whole walk as text
        html: write the step's page to this file, which fetches nothing
        json: write the recording to this file
        find_bug: name the first node whose own rule is wrong
        diff: two recordings: name the first node in which they differ
        tolerance: relative, of --diff (1e-9 for float64, 1e-5 for float32)
        fold: make one node of each module
        kernel: instead of a training step, a tiny launch of this kernel family in the
            PTX interpreter, thread by thread; missing_barrier shows a race
        rung: of --kernel, such as block_tree (its first CUDA rung if not given)
    """
    from minivae.errors import UserError
    from minivae.study import Recording

    if kernel is not None:
        from minivae.cli.step_kernel import step_kernel

        return step_kernel(kernel, rung, html, json, plain)
    if rung is not None:
        raise UserError("--rung is for --kernel")
    if diff is not None:
        return _diff(diff, tolerance)
    if tolerance is not None:
        raise UserError("--tolerance is for --diff")
    if read is not None:
        with _fitting(read):
            return _look(Recording.load(read), plain, html, json, find_bug)
    recording = _record(model, arch, beta, lr, seed, device, fold)
    return _look(recording, plain, html, json, find_bug)


@contextmanager
def _fitting(*paths: Path) -> Iterator[None]:
    """Blame files for what goes wrong here: each field of theirs may have its type, and
    yet a list be shorter than another, or an event name a rule that is not there.
    """
    from minivae.errors import UserError

    try:
        yield
    except UserError:
        raise
    except FAULTS as e:
        names = " or ".join(map(str, paths))
        told = " ".join(str(e).split())[:80]
        raise UserError(
            f"{names}: no recording: its parts do not fit each other ({told})"
        ) from e


def _look(
    recording: Recording,
    plain: bool,
    html: Path | None,
    json: Path | None,
    find_bug: bool,
) -> int:
    """Write and print what is asked for of a recording; return the exit code."""
    if json is not None:
        recording.save(json)
        print(json)
    if html is not None:
        from minivae.files import write
        from minivae.page.step import step_page

        write(html, step_page(recording).encode())
        print(html)
    if find_bug:
        return _find_bug(recording)
    if plain:
        from minivae.study import as_text

        print(as_text(recording), end="")
    elif json is None and html is None:
        from minivae.cli.walking import walk

        walk(recording)
    return 0


def _record(
    model: str,
    arch: str,
    beta: float | None,
    lr: float,
    seed: int,
    device: str,
    fold: bool,
) -> Recording:
    from minivae import backend, optim
    from minivae.study import record
    from minivae.study.subject import load

    backend.keep_freed_memory()
    with backend.limited_threads(1), backend.running_on(device):
        if ":" in model:
            made, batch, noise = *load(model), None
        else:
            made, batch, noise = _tiny(model, arch, beta, seed, device)
        optimizer = None
        if hasattr(made, "parameters") and (parameters := list(made.parameters())):
            optimizer = optim.Adam(parameters, lr)
        return record(made, batch, noise, optimizer, fold=fold)


def _tiny(
    name: str, arch: str, beta: float | None, seed: int, device: str
) -> tuple[Any, Any, Any]:
    """Return a model of a few units, two images of 0 and 1, and noise."""
    import numpy as np

    from minivae.errors import UserError
    from minivae.models import build
    from minivae.random import Noise, Stream

    if beta is not None and name != "betavae":
        raise UserError(f"beta belongs to --model betavae, not to {name}")
    if arch not in TINY:
        raise UserError(f"no tiny model of arch {arch!r}; have {', '.join(TINY)}")
    weight = {} if beta is None else {"beta": beta}
    tiny = build(
        name,
        arch=arch,
        **TINY[arch],
        latent=2,
        likelihood="bernoulli",
        seed=seed,
        activation="tanh",
        **weight,
    )
    dtype = np.float32 if device == "ptx" else np.float64
    tiny.to(dtype=dtype, device=None if device == "ptx" else device)
    noise = Noise(seed, Stream.LATENT)
    batch = (noise.uniform((BATCH, *tiny.shape), dtype) < 0.5).astype(dtype)
    return tiny, batch, tiny.loss_noise(noise, BATCH)


def _find_bug(recording: Recording) -> int:
    """Say which rule is wrong, by numbers alone; return the exit code."""
    from minivae.study.plain import not_finite, wrapped
    from minivae.study.walk import verdicts

    fault = recording.first_fault()
    if fault is not None:
        node, check = fault
        rule = node.rules[check.position]
        lines = [f"WRONG {node.name} = {node.op}, {node.formula}"]
        if rule is not None:
            lines.append(f"  rule for {rule.input}: {rule.formula}, {rule.source}")
        print("\n".join([*lines, *wrapped(check.claim.claim, "  ")]))
        return 1
    astray = [(item, c) for item, c in recording.checks("global") if c.failed]
    if astray:
        item, check = astray[-1]  # the first that backward came to
        print(
            f"every rule is right by itself, but the gradient of {item.name} is "
            "WRONG: what rules send is lost or added up wrongly"
        )
        print("\n".join(wrapped(check.claim.claim, "  ")))
        return 1
    print("\n".join([*recording.notes, *verdicts(recording)]))
    spoiled = [line for node in recording.ops for line in not_finite(node)]
    if spoiled:
        node = next(node for node in recording.ops if not_finite(node))
        print(f"{node.name} = {node.op} is the first value that is not finite")
        print(spoiled[0].strip())
    return 1 if spoiled else 0


def _diff(paths: tuple[Path, Path], tolerance: float | None) -> int:
    from minivae.study import Recording
    from minivae.study.compare import as_lines, compare
    from minivae.study.plain import wrapped

    with _fitting(*paths):
        first, second = (Recording.load(path) for path in paths)
        found = compare(first, second, tolerance)
    names = (f"{paths[0]}: {first.title}", f"{paths[1]}: {second.title}")
    for line in as_lines(found, names):
        print("\n".join(wrapped(line)))
    return 0 if found.same else 1
