"""A run: how a model is trained, and what has come of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from minivae import backend, checkpoint
from minivae.errors import UserError
from minivae.files import fits
from minivae.models import Autoencoder, build, option_types
from minivae.models.architecture import stacks_for
from minivae.optim import OPTIMIZERS, SCHEDULES, Optimizer
from minivae.random import Noise
from minivae.tensor import Parameter

DEVICES = ("cpu", "cuda", "ptx")
STACKED = ("shape", "arch", "channels", "hidden", "decoder_arch")  # of `stacks_for`
WEIGHT_BYTES = 4  # on the disk


@dataclass(frozen=True)
class Options:
    """How a model is trained; every field is an option of `mv.fit`."""

    epochs: int = 40
    batch: int = 128
    lr: float = 2e-3
    optimizer: str = "adam"
    schedule: str = "cosine"
    warmup: int = 0
    cycles: int = 1
    em: bool = False
    weight_decay: float = 0.0
    clip_norm: float | None = None
    patience: int = 0
    seed: int = 0
    threads: int | None = None
    device: str = "cpu"

    def check(self) -> None:
        """Raise `UserError` for a value that makes no sense."""
        for name in ("epochs", "batch", "warmup", "cycles", "patience", "seed"):
            if not isinstance(getattr(self, name), int):
                raise UserError(f"{name} is a whole number, not {getattr(self, name)}")
        for name in ("lr", "weight_decay"):
            if not isinstance(getattr(self, name), (int, float)):
                raise UserError(f"{name} is a number, not {getattr(self, name)!r}")
        for name in ("epochs", "batch", "cycles"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("warmup", "patience"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} must not be negative: {getattr(self, name)}")
        if not isinstance(self.em, bool):
            raise UserError(f"em is true or false, not {self.em!r}")
        if self.cycles > 1 and not 0 < self.warmup * self.cycles <= self.epochs:
            raise UserError(
                f"{self.cycles} cycles of {self.warmup} epochs of warm-up do not fit "
                f"into {self.epochs} epochs"
            )
        if self.threads is not None and self.threads < 1:
            raise UserError(f"threads must be at least 1, not {self.threads}")
        for kind, chosen, names in (
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("schedule", self.schedule, SCHEDULES),
            ("device", self.device, DEVICES),
        ):
            if chosen not in names:
                raise UserError(f"no {kind} {chosen!r}; have {', '.join(names)}")
        Noise(self.seed)
        self.make_optimizer([Parameter(np.zeros(1))])
        if self.device == "cuda":
            backend.cuda_library()
        with backend.running_on(self.device):
            pass

    @property
    def warm_at(self) -> float:
        """After how many epochs the KL's factor is 1 and stays so."""
        return self.warmup + self.epochs * (self.cycles - 1) / self.cycles

    def make_optimizer(self, parameters: Sequence[Parameter]) -> Optimizer:
        """Return the optimizer of these options; raises `UserError` for bad ones."""
        return OPTIMIZERS[self.optimizer](
            parameters,
            self.lr,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
        )


@dataclass
class Run:
    """A trained model with its best weights, and how it came about."""

    model: Autoencoder
    config: dict[str, Any]
    metrics: list[dict[str, Any]] = field(default_factory=list)
    path: Path | None = None
    trained: int = 0  # epochs trained by the call that returned it

    @property
    def best_epoch(self) -> int:
        """The first epoch with the smallest validation objective; 0 before any."""
        objectives = [line["validation"]["objective"] for line in self.metrics]
        return 1 + objectives.index(min(objectives)) if objectives else 0

    @property
    def finished(self) -> bool:
        """Whether all epochs are over, or `patience` of them, counted from the best
        one and not before the warm-up's end, have brought nothing better.
        """
        options, epochs = Options(**self.config["train"]), len(self.metrics)
        waited = epochs - max(self.best_epoch, options.warm_at)
        patience = options.patience or math.inf
        return epochs >= options.epochs or waited >= patience


def load_run(path: str | Path) -> Run:
    """Load a run folder: its model with the best weights, its options and metrics."""
    folder = Path(path)
    model, config = stored(folder)
    if not (folder / checkpoint.BEST).exists():
        raise UserError(
            f"there is no {folder / checkpoint.BEST}: if this training was stopped in "
            f"its first epoch, go on with it: {checkpoint.how_to_resume(folder)}"
        )
    try:
        weights = checkpoint.read_weights(folder / checkpoint.BEST, model.state())
    except checkpoint.DamagedError as error:
        raise UserError(
            f"{error}; if another file of the run has the same weights, this mends it: "
            f"{checkpoint.how_to_resume(folder)}"
        ) from error
    model.load_state(weights)
    return Run(model, config, checkpoint.read_metrics(folder), folder)


def read_config(folder: Path) -> dict[str, Any]:
    """Read a run's configuration, its values of the types that are declared for them.

    Raises `UserError` for anything else, and for a model of more weights than the run's
    files could hold: before one of them is made.
    """
    config, path = checkpoint.read_config(folder), folder / checkpoint.CONFIG
    model = config["model"]
    try:
        _check_types(model, option_types(model["model"]))
        _check_types(config["data"], {"name": str})
    except TypeError as error:
        raise UserError(f"{path}: {error}") from error
    given = {name: model[name] for name in STACKED if name in model}
    weights = max(stack.weights(model["latent"]) for stack in stacks_for(**given))
    names = (checkpoint.BEST, checkpoint.LAST, checkpoint.PREVIOUS)
    held = [f.stat().st_size for name in names if (f := folder / name).is_file()]
    if held and WEIGHT_BYTES * weights > max(held):
        raise UserError(
            f"{path} tells of a model larger than the files beside it hold: one of "
            "them is not as it was written"
        )
    return config


def _check_types(given: dict[str, Any], declared: dict[str, Any]) -> None:
    """Raise `TypeError` for a value that is not of the type declared for it."""
    for key, value in given.items():
        if key in declared and not fits(value, declared[key]):
            raise TypeError(f"{key} cannot be {repr(value)[:40]}")


def stored(folder: Path) -> tuple[Autoencoder, dict[str, Any]]:
    """Return the model of a run folder, untrained, and the configuration."""
    config = read_config(folder)
    try:
        options = dict(config["model"])
        return build(options.pop("model"), **options), config
    except (TypeError, KeyError) as error:
        raise UserError(f"{folder / checkpoint.CONFIG}: {error}") from error


def stored_options(folder: Path, config: dict[str, Any]) -> Options:
    """Return how a run folder was trained; raises `UserError` for a foreign file."""
    try:
        if type(config["threads"]) is not int or config["threads"] < 1:
            raise TypeError(f"threads is {config['threads']!r}")
        _check_types(config["train"], get_type_hints(Options))
        return make_options(config["train"])
    except (TypeError, KeyError, UserError) as error:
        path = folder / checkpoint.CONFIG
        raise UserError(f"{path} does not say how to train: {error}") from error


def make_options(given: dict[str, Any]) -> Options:
    """Check the options of a training; raises `UserError`."""
    try:
        options = Options(**given)
    except TypeError as error:
        raise UserError(str(error).replace("Options.__init__()", "fit")) from error
    options.check()
    return options
