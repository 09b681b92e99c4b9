"""The command `minivae`: a function for each subcommand, its options by its signature.

Everything a user can get wrong ends in one line on stderr and exit code 2.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from minivae.cli import check, evaluate, pictures, train
from minivae.errors import UserError

COMMANDS: dict[str, Callable[..., Any]] = {
    "train": train.train,
    "evaluate": evaluate.evaluate,
    "report": evaluate.report,
    "sample": pictures.sample,
    "reconstruct": pictures.reconstruct,
    "interpolate": pictures.interpolate,
    "traverse": pictures.traverse,
    "gradcheck": check.gradcheck,
    "step": check.step,
}
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; exits with 0, 1 (a check failed), 2 (bad input), 130 (Ctrl-C)."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # formulas are Unicode, whatever the locale
            stream.reconfigure(encoding="utf-8")
    try:
        code = tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="minivae",
            description="Autoencoders from scratch: train, look, step through, check.",
            args=list(sys.argv[1:] if arguments is None else arguments) or ["--help"],
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    except UserError as error:
        print(f"minivae: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("minivae: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
        sys.stderr.close()
        sys.exit(0)
    sys.exit(code or 0)
