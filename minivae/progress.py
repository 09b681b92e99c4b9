"""What one sees while a model trains: a bar on a terminal, else a line an epoch."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self


class Progress:
    """A context in which a training reports its steps and epochs, to stderr."""

    def __init__(
        self,
        epochs: int,
        steps_per_epoch: int,
        has_kl: bool,
        quiet: bool,
        steps: int = 0,
    ) -> None:
        self.epochs, self.steps_per_epoch = epochs, steps_per_epoch
        self.has_kl, self.quiet = has_kl, quiet
        self.steps = steps  # taken before
        self.bar: Any = None

    def __enter__(self) -> Self:
        if not self.quiet and sys.stderr.isatty():
            self.bar = self._bar()
            self.bar.start()
            total = self.epochs * self.steps_per_epoch
            self.task = self.bar.add_task(
                "",
                total=total,
                completed=self.steps,
                epoch=1 + self.steps // self.steps_per_epoch,
                terms="",
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def _bar(self) -> Any:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        return Bar(
            TextColumn("epoch {task.fields[epoch]:>3}/" + str(self.epochs)),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[terms]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )

    def step(self, epoch: int, recon: float, kl: float) -> None:
        """Report one update of epoch `epoch` (the first is 1)."""
        if self.bar is not None:
            terms = self._terms(recon, kl)
            self.bar.update(self.task, advance=1, epoch=epoch, terms=terms)

    def epoch(self, line: dict[str, Any]) -> None:
        """Report the metrics of a finished epoch."""
        if self.quiet or self.bar is not None:
            return
        train, validation = line["train"], line["validation"]
        print(
            f"epoch {line['epoch']:>3}/{self.epochs}  "
            f"train {self._terms(train['recon'], train['kl'])}  "
            f"validation {validation['objective']:.2f}",
            file=sys.stderr,
            flush=True,
        )

    def _terms(self, recon: float, kl: float) -> str:
        return f"recon {recon:7.2f}" + (f"  kl {kl:6.2f}" if self.has_kl else "")

    def note(self, text: str) -> None:
        """Print a line beside the bar."""
        if self.bar is not None:
            self.bar.console.print(text, highlight=False)
        elif not self.quiet:
            print(text, file=sys.stderr, flush=True)
