"""The command `python -m benchmarks`: a file for each subcommand.

Everything a user can get wrong ends in one line on stderr and exit code 2.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from benchmarks import (
    bottleneck,
    cost,
    curves,
    field,
    mutants,
    overfitting,
    scale,
    train,
)
from benchmarks.peers import run
from minivae.errors import UserError

COMMANDS: dict[str, Callable[..., None]] = {
    "train": train.train,
    "peers": run.peers,
    "mutants": mutants.mutants,
    "scale": scale.scale,
    "curves": curves.curves,
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
