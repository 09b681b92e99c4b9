"""The command `minivae`: a function for each subcommand, its options by its signature.

Everything a user can get wrong ends in one line on stderr and exit code 2.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from minivae.cli import (
    applications,
    beta,
    check,
    data,
    em,
    evaluate,
    kernels,
    pictures,
    step,
    sweep,
    train,
    verify,
)
from minivae.errors import UserError

COMMANDS: dict[str, Callable[..., Any]] = {
    "train": train.train,
    "evaluate": evaluate.evaluate,
    "report": evaluate.report,
    "sample": pictures.sample,
    "reconstruct": pictures.reconstruct,
    "interpolate": pictures.interpolate,
    "traverse": pictures.traverse,
    "manifold": pictures.manifold,
    "embed": applications.embed,
    "probe": applications.probe,
    "cluster": applications.cluster,
    "detect": applications.detect,
    "gradcheck": check.gradcheck,
    "verify": verify.verify,
    "museum": verify.museum,
    "em": em.em,
    "beta": beta.beta,
    "sweep": sweep.sweep,
    "step": step.step,
    "data": data.data,
    "kernels": kernels.kernels,
}
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; exits with 0, 1 (a check failed), 2 (bad input), 130 (stopped)."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # formulas are Unicode, whatever the locale
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        try:
            code = tyro.extras.subcommand_cli_from_dict(
                COMMANDS | {"train": train.command(given)},
                prog="minivae",
                description="Autoencoders from scratch: train, look, step, check.",
                args=given or ["--help"],
                config=(tyro.conf.FlagCreatePairsOff,),
            )
        finally:
            sys.stdout.flush()
    except UserError as error:
        print(f"minivae: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as error:
        print(f"minivae: {str(error) or 'interrupted'}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
        _give_up_stdout()
        sys.exit(0)
    except OSError as error:
        print(f"minivae: {error}", file=sys.stderr)
        _give_up_stdout()
        sys.exit(2)
    sys.exit(code or 0)


def _give_up_stdout() -> None:
    """If stdout takes no more, let Python's own flush at exit go nowhere."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
