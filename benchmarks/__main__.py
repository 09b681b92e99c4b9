"""The command `python -m benchmarks`: a file for each subcommand.

Everything a user can get wrong ends in one line on stderr and exit code 2.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tyro
from tyro.conf import Positional

from benchmarks import (
    bottleneck,
    compare,
    cost,
    curves,
    field,
    kernels,
    mutants,
    overfitting,
    scale,
    train,
)
from benchmarks.peers import run
from minivae.errors import UserError


def kernels_command(
    name: Positional[str | None] = None,
    rung: str | None = None,
    device: str = "cpu",
    rounds: int = 5,
    small: bool = False,
    figures: Path | None = None,
    write: bool = False,
    json: bool = False,
) -> None:
    """Time the rungs of kernels in turns, beside the floor of their family.

    A rung's results are compared with its reference's first. Rungs that need a device
    are listed with their static figures, and as not measured.

    Args:
        name: a family, bernoulli or gaussian.forward say; by default all of them
        rung: module:rung, one of your own: it must pass the whole proof, then is timed
        device: cpu, or cuda where there is one
        rounds: turns that each rung gets, of 5 calls each
        small: the sizes of the tests, to see that it works
        figures: also draw the ladders and the roofline into this folder
        write: also put all tables and pictures into benchmarks/README.md
        json: print one JSON document and nothing else
    """
    kernels.run(name, rung, device, rounds, small, figures, write, json)


def compare_command(
    before: Positional[Path], after: Positional[Path], json: bool = False
) -> None:
    """Compare the rows of two runs, of any benchmark.

    Args:
        before: what a benchmark printed with --json
        after: the same, later or elsewhere
        json: print one JSON document and nothing else
    """
    compare.run(before, after, json)


COMMANDS: dict[str, Callable[..., None]] = {
    "kernels": kernels_command,
    "train": train.train,
    "peers": run.peers,
    "mutants": mutants.mutants,
    "scale": scale.scale,
    "curves": curves.curves,
    "compare": compare_command,
    "overfitting": overfitting.overfitting,
    "bottleneck": bottleneck.bottleneck,
    "field": field.field,
    "cost": cost.cost,
}
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; exits with 0, 2 (bad input) or 130 (Ctrl-C)."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8")
    options: dict[str, Any] = {
        "prog": "python -m benchmarks",
        "description": "Measure minivae on this machine. Nothing here passes or fails.",
        "args": list(sys.argv[1:] if arguments is None else arguments) or ["--help"],
        "config": (tyro.conf.FlagCreatePairsOff,),
    }
    try:
        tyro.extras.subcommand_cli_from_dict(COMMANDS, **options)
    except UserError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("benchmarks: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
