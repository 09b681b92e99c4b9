"""Training: one visible loop.

for every epoch: draw the images (if they are dynamic), shuffle them
    for every batch: loss, backward, update
    measure the validation objective; keep the weights if it is the best so far
"""

from __future__ import annotations

import importlib.metadata
import math
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minivae import backend, checkpoint
from minivae.backend import Array
from minivae.data import Dataset
from minivae.distributions import NoiseLike
from minivae.errors import UserError
from minivae.models import Autoencoder, build
from minivae.optim import OPTIMIZERS, SCHEDULES, Optimizer, scheduled_lr
from minivae.progress import Progress
from minivae.random import Noise, Stream
from minivae.tensor import Parameter, no_grad

DEVICES = ("cpu", "cuda")
EVALUATION_SEED = 0  # evaluation draws the same noise for every model and run
DRAW_STRIDE = 1 << 40  # elements between two draws for the same image


@dataclass(frozen=True)
class Options:
    """How a model is trained; every field is an option of `mv.fit`."""

    epochs: int = 40
    batch: int = 128
    lr: float = 2e-3
    optimizer: str = "adam"
    schedule: str = "cosine"
    warmup: int = 0
    weight_decay: float = 0.0
    clip_norm: float | None = None
    patience: int = 0
    seed: int = 0
    threads: int | None = None
    device: str = "cpu"

    def check(self) -> None:
        """Raise `UserError` for a value that makes no sense."""
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("warmup", "patience"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} must not be negative: {getattr(self, name)}")
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


def fit(
    model: Autoencoder,
    data: Dataset,
    *,
    out: str | Path | None = None,
    quiet: bool = False,
    **options: Any,
) -> Run:
    """Train `model` on `data` and return the run, its weights the best on validation.

    Options are the fields of `Options`. The objective is the model's own; the
    validation objective that decides what is best, and with `patience` when to stop,
    is never annealed. Writes a run folder to `out`, and nowhere else. The same seed,
    threads, machine and versions give the same weights, bit for bit. Raises
    `UserError` for options, data or folders that do not work.
    """
    try:
        chosen = Options(**options)
    except TypeError as error:
        raise UserError(str(error).replace("Options.__init__()", "fit")) from error
    chosen.check()
    _check_fit(model, data, chosen)
    folder = None if out is None else Path(out)
    if folder is not None:
        checkpoint.prepare(folder)
    if model.likelihood_name is None:
        model.use_likelihood("bernoulli" if data.binary else "soft_bce")
    if chosen.device == "cuda":
        model.to(device="cuda")
    backend.keep_freed_memory()
    with _limited_threads(chosen.threads) as threads:
        config = {
            "model": model.config(),
            "train": asdict(chosen),
            "data": {
                "name": data.name,
                "source": data.source,
                "data_dir": data.data_dir,
                "sha256": data.digest(),
            },
            "threads": threads,
            "versions": _versions(),
        }
        run = Run(model, config, path=folder)
        training = _Training.begin(run, data, chosen)
        with (
            Progress(
                chosen.epochs, training.steps_per_epoch, model.has_kl, quiet
            ) as progress,
            np.errstate(over="ignore", invalid="ignore"),  # told once, as a UserError
        ):
            while training.epoch < chosen.epochs and not training.stopped:
                training.run_epoch(progress)
        model.load_state(training.best_weights)
    return run


def load_run(path: str | Path) -> Run:
    """Load a run folder: its model with the best weights, its options and metrics."""
    folder = Path(path)
    config = checkpoint.read_config(folder)
    try:
        options = dict(config["model"])
        model = build(options.pop("model"), **options)
    except (TypeError, KeyError) as error:
        raise UserError(f"{folder / checkpoint.CONFIG}: {error}") from error
    model.load_state(checkpoint.read_tensors(folder / checkpoint.BEST))
    return Run(model, config, checkpoint.read_metrics(folder), folder)


def _check_fit(model: Autoencoder, data: Dataset, options: Options) -> None:
    if model.shape != data.shape:
        raise UserError(
            f"the model takes {model.shape} images, {data.name} {data.shape}"
        )
    for name in ("train", "validation"):
        if not len(data.split(name)):
            raise UserError(f"{data.name}: the {name} split is empty")
    if len(data.train) < options.batch:
        raise UserError(
            f"{data.name} has {len(data.train)} training images, fewer than one batch "
            f"of {options.batch}"
        )
    if model.likelihood_name == "bernoulli" and not data.binary:
        raise UserError(
            f"bernoulli is the likelihood of 0/1 data, and {data.name} is grey: "
            f"use {data.name.rpartition(':')[0]}:dynamic, or the likelihood soft_bce"
        )


@dataclass
class _Training:
    """A training between two epochs: everything that decides how it goes on."""

    run: Run
    data: Dataset
    options: Options
    optimizer: Optimizer
    latent: Noise
    dropout: Noise | None
    order: np.random.Generator
    epoch: int = 0
    best_epoch: int = 0
    best_objective: float = math.inf
    best_weights: dict[str, Array] = field(default_factory=dict)

    @classmethod
    def begin(cls, run: Run, data: Dataset, options: Options) -> _Training:
        """Set up a training before its first step."""
        return cls(
            run,
            data,
            options,
            options.make_optimizer(run.model.parameters()),
            latent=Noise(options.seed, Stream.LATENT),
            dropout=Noise(options.seed, Stream.DROPOUT) if run.model.dropout else None,
            order=np.random.default_rng(options.seed),
        )

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches, the last of which may be short."""
        return math.ceil(len(self.data.train) / self.options.batch)

    @property
    def stopped(self) -> bool:
        """Whether `patience` epochs after the warm-up have brought nothing better."""
        waited = self.epoch - max(self.best_epoch, self.options.warmup)
        return bool(self.options.patience) and waited >= self.options.patience

    def run_epoch(self, progress: Progress) -> None:
        """Train on every image once, measure, and keep the weights if they are best."""
        options, model = self.options, self.run.model
        images = self.data.epoch(self.epoch, options.seed)
        self.epoch += 1
        sums = np.zeros(2)
        for rows in _batches(self.order, len(images), options.batch):
            step, total = self.optimizer.steps, options.epochs * self.steps_per_epoch
            self.optimizer.lr = scheduled_lr(options.schedule, options.lr, step, total)
            warmth = warmth_at(step, options.warmup * self.steps_per_epoch)
            recon, kl = train_step(
                model, self.optimizer, images[rows], self.latent, warmth, self.dropout
            )
            sums += len(rows) * np.array([recon, kl])
            progress.step(self.epoch, recon, kl)
        line: dict[str, Any] = {
            "epoch": self.epoch,
            "step": self.optimizer.steps,
            "lr": self.optimizer.lr,
            "warmth": warmth,
            "train": _terms(model, *(sums / len(images))),
            "validation": validate(model, self.data.validation.images),
        }
        objective = line["validation"]["objective"]
        if not math.isfinite(objective):
            raise UserError(
                f"the validation objective became {objective} in epoch {self.epoch}: "
                "try a smaller learning rate, or clip the gradient"
            )
        self.run.metrics.append(line)
        if objective < self.best_objective:
            self.best_objective = objective
            self.best_epoch, self.best_weights = self.epoch, model.state()
        if self.run.path is not None:
            self.save(self.run.path)
        progress.epoch(line)
        if self.stopped:
            progress.note(
                f"stopped after epoch {self.epoch}: the best validation objective, "
                f"{self.best_objective:.2f}, is that of epoch {self.best_epoch}"
            )

    def save(self, folder: Path) -> None:
        """Write options, weights, moments, metrics, and what else goes on."""
        if self.epoch == 1:  # not sooner: what fails before has left no run behind
            checkpoint.write_json(folder / checkpoint.CONFIG, self.run.config)
        if self.best_epoch == self.epoch:
            checkpoint.write_tensors(folder / checkpoint.BEST, self.best_weights)
        moments = {
            checkpoint.MOMENT + name: array
            for name, array in self.optimizer.state().items()
        }
        rest = {
            "epoch": self.epoch,
            "step": self.optimizer.steps,
            "best_epoch": self.best_epoch,
            "best_objective": self.best_objective,
            "latent": self.latent.position,
            "dropout": self.dropout.position if self.dropout else 0,
            "order": self.order.bit_generator.state,
        }
        tensors = self.run.model.state() | moments
        checkpoint.write_tensors(folder / checkpoint.LAST, tensors, rest)
        checkpoint.write_lines(folder / checkpoint.METRICS, self.run.metrics)


def train_step(
    model: Autoencoder,
    optimizer: Optimizer,
    x: Array,
    noise: NoiseLike,
    warmth: float = 1.0,
    dropout: Noise | None = None,
) -> tuple[float, float]:
    """Take one step on a batch: loss, backward, update; returns recon and KL.

    Raises `UserError` before the update if the loss is not finite.
    """
    optimizer.zero_grad()
    terms = model.loss_terms(x, noise, warmth=warmth, dropout=dropout)
    if not math.isfinite(terms.loss.item()):
        raise UserError(
            f"the loss became {terms.loss.item()} at step {optimizer.steps + 1}: "
            "try a smaller learning rate, or clip the gradient"
        )
    terms.loss.backward()
    optimizer.step()
    return terms.recon.item(), 0.0 if terms.kl is None else terms.kl.item()


def warmth_at(step: int, warmup_steps: int) -> float:
    """Return the KL's factor at `step`: a line from 0 to 1 over the warm-up."""
    return min(1.0, step / warmup_steps) if warmup_steps else 1.0


def _batches(order: np.random.Generator, count: int, size: int) -> Iterator[Array]:
    """Yield the row numbers of each batch of a freshly shuffled epoch."""
    rows = order.permutation(count)
    for start in range(0, count, size):
        yield rows[start : start + size]


def evaluation_noise(model: Autoencoder, first: int, count: int, draw: int) -> Array:
    """Return ε (count, Z) of the images from number `first` on, for one draw.

    Image i of draw s has the elements s 2**40 + i Z ... of one fixed stream: its noise
    depends on nothing but its number.
    """
    position = draw * DRAW_STRIDE + first * model.latent
    noise = Noise(EVALUATION_SEED, Stream.EVALUATE, position)
    return model.here(noise.normal((count, model.latent), model.dtype))


@no_grad()
def validate(model: Autoencoder, images: Array, batch: int = 500) -> dict[str, float]:
    """Return recon, kl and the objective without warm-up, means over `images`.

    One draw of z an image, always the same; no dropout.
    """
    sums = np.zeros(2)
    for start in range(0, len(images), batch):
        x = images[start : start + batch]
        noise = evaluation_noise(model, start, len(x), draw=0)
        terms = model.loss_terms(x, noise, reduction="none")
        for i, term in enumerate((terms.recon, terms.kl)):
            if term is not None:
                sums[i] += term.numpy().sum(dtype=np.float64)
    return _terms(model, *(sums / len(images)))


def _terms(model: Autoencoder, recon: float, kl: float) -> dict[str, float]:
    objective = recon + model.beta * kl
    return {"recon": float(recon), "kl": float(kl), "objective": float(objective)}


@contextmanager
def _limited_threads(threads: int | None) -> Iterator[int]:
    """Bound the BLAS's threads while in the context; yields how many there are."""
    from threadpoolctl import ThreadpoolController

    controller = ThreadpoolController()
    with controller.limit(limits=threads):
        counts = [library["num_threads"] for library in controller.info()]
        yield max(counts, default=1)


def _versions() -> dict[str, str]:
    names = ("minivae", "numpy", "safetensors")
    versions = {name: importlib.metadata.version(name) for name in names}
    return versions | {"python": platform.python_version()}
