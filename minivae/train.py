"""Training: one visible loop.

for every epoch: draw the images (if they are dynamic), shuffle them
    for every batch: loss, backward, update
    measure the validation objective; keep the weights if it is the best so far

After each epoch, and wherever Ctrl-C or SIGTERM stops it, the state is saved; `resume`
goes on from there to the same bytes that an undisturbed training ends with.
"""

from __future__ import annotations

import importlib.metadata
import math
import platform
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minivae import backend, checkpoint
from minivae.backend import Array, xp_of
from minivae.data import Dataset, Images, UnreadableError, batches, load_again
from minivae.distributions import NoiseLike
from minivae.errors import UserError
from minivae.interrupts import Interrupts
from minivae.models import Autoencoder
from minivae.optim import NonFiniteGradientError, Optimizer, scheduled_lr
from minivae.progress import Progress
from minivae.random import Noise, Stream
from minivae.run import Options, Run, load_run, make_options, stored, stored_options
from minivae.study import first_fault
from minivae.tensor import Parameter, no_grad

__all__ = [
    "Options",
    "Run",
    "evaluation_noise",
    "fit",
    "load_run",
    "resume",
    "stored_options",
    "train_step",
    "validate",
    "warmth_at",
]

EVALUATION_SEED = 0  # evaluation draws the same noise for every model and run
DRAW_STRIDE = 1 << 40  # elements between two draws for the same image
ADVICE = "try a smaller learning rate, or clip the gradient"
NO_FAULT = "but not when the step was replayed"


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
    threads, machine and versions give the same weights, bit for bit. Ctrl-C finishes
    the step, saves, and raises `KeyboardInterrupt`. Raises `UserError` for options,
    data or folders that do not work, and for a training that diverges; if that was
    before anything was saved, it leaves no run behind.
    """
    chosen = make_options(options)
    _check_fit(model, data, chosen)
    folder = None if out is None else Path(out)
    claim = nullcontext() if folder is None else checkpoint.begun(folder)
    with claim, backend.limited_threads(chosen.threads) as threads:
        if model.likelihood_name is None:
            model.use_likelihood("bernoulli" if data.binary else "soft_bce")
        config = {
            "model": model.config(),
            "train": asdict(chosen),
            "data": data.told(),
            "threads": threads,
            "versions": _versions(),
        }
        training = _Training.begin(Run(model, config, path=folder), data, chosen)
        if folder is not None:
            checkpoint.write_json(folder / checkpoint.CONFIG, config)
        try:
            training.go_on(quiet)
        except UserError:
            if folder is not None:
                checkpoint.forget(folder)
            raise
    return training.run


def resume(
    path: str | Path, data: Dataset | None = None, *, quiet: bool = False
) -> Run:
    """Go on with the training of a run folder; returns what `fit` would have returned.

    Its options are those stored; `data` need only be given if they have moved. On the
    same machine and versions, its files end with the same bytes as those of a training
    that nothing has stopped. Without a saved state it begins at step 0; of a finished
    run it changes nothing. If the newest state is damaged, it goes on from the one
    before. Raises `UserError`, having changed nothing, for data or files that are not
    the run's, and while another process trains there.
    """
    folder = Path(path)
    model, config = stored(folder)
    chosen = stored_options(folder, config)
    if data is None:
        data = load_again(config["data"])
    if data.digest() != config["data"]["sha256"]:
        raise UserError(
            f"{data.source} is not what {folder} was trained on: its digest differs"
        )
    _check_fit(model, data, chosen)
    claim = checkpoint.claimed(folder)
    with claim, backend.limited_threads(config["threads"]) as threads:
        training = _Training.begin(Run(model, config, path=folder), data, chosen)
        fault = training.restore(folder)
        here = {"threads": threads, **_versions()}
        there = {"threads": config["threads"], **config["versions"]}
        step = training.optimizer.steps
        note = f"going on after step {step}" if step else "nothing saved: from step 0"
        if fault:
            note = f"{fault}; {note}, from {checkpoint.PREVIOUS}"
        if other := sorted(name for name in here if here[name] != there.get(name)):
            note += f", perhaps not bit for bit: other {', '.join(other)} than before"
        training.go_on(quiet, note)
    return training.run


def _check_fit(model: Autoencoder, data: Dataset, options: Options) -> None:
    if model.shape != data.shape:
        raise UserError(
            f"the model takes {model.shape} images, {data.name} {data.shape}"
        )
    if options.em and not model.has_kl:
        raise UserError(f"EM moves q(z|x) and p(x, z) in turn: {model.name} has no q")
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
            f"binarise it ({data.name.rpartition(':')[0]}:dynamic, or :fixed, or "
            ":threshold), or use the likelihood soft_bce"
        )


@dataclass
class _Training:
    """A training between two steps: everything that decides how it goes on.

    How many epochs are over, and which was best, the run's metrics tell.
    """

    run: Run
    data: Dataset
    options: Options
    optimizer: Optimizer
    latent: Noise
    dropout: Noise | None
    order: dict[str, Any]  # the shuffling generator, before it shuffles the epoch
    sums: Array  # of recon, kl and objective over the epoch's images so far
    best_weights: dict[str, Array] = field(default_factory=dict)
    saved: tuple[int, int] | None = None  # epochs and steps of last.safetensors

    @classmethod
    def begin(cls, run: Run, data: Dataset, options: Options) -> _Training:
        """Set up a training before its first step."""
        if options.device == "cuda":
            run.model.to(device="cuda")
        backend.keep_freed_memory()
        return cls(
            run,
            data,
            options,
            options.make_optimizer(run.model.parameters()),
            latent=Noise(options.seed, run.model.noise_stream),
            dropout=Noise(options.seed, Stream.DROPOUT) if run.model.dropout else None,
            order=dict(np.random.default_rng(options.seed).bit_generator.state),
            sums=np.zeros(len(checkpoint.TERMS)),
        )

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches, the last of which may be short."""
        return math.ceil(len(self.data.train) / self.options.batch)

    @property
    def steps_done(self) -> int:
        """How many steps of the epoch that has begun are over."""
        return self.optimizer.steps - len(self.run.metrics) * self.steps_per_epoch

    def rates(self, step: int) -> tuple[float, float]:
        """Return the learning rate and the KL's factor of a step (the first is 0)."""
        options, per_epoch = self.options, self.steps_per_epoch
        total = options.epochs * per_epoch
        lr = scheduled_lr(options.schedule, options.lr, step, total)
        cycle = math.ceil(total / options.cycles)
        return lr, warmth_at(step % cycle, options.warmup * per_epoch)

    def still(self) -> tuple[list[Parameter], ...]:
        """Under EM, what stands still in this step: p in E-steps, q in M-steps."""
        if not self.options.em:
            return ()
        model = self.run.model
        of_p = model.generative_parameters()
        is_e_step = self.optimizer.steps % 2 == 0
        named = model.named_parameters().items()
        return ([p for name, p in named if (name in of_p) == is_e_step],)

    def go_on(self, quiet: bool, note: str = "") -> None:
        """Train to the end, and give the model its best weights."""
        with (
            Progress(
                self.options.epochs,
                self.steps_per_epoch,
                self.run.model.has_kl,
                quiet,
                self.optimizer.steps,
            ) as progress,
            Interrupts() as interrupts,
            backend.running_on(self.options.device) as launches,
            np.errstate(over="ignore", invalid="ignore"),  # told once, as a UserError
        ):
            if note and not self.run.finished:
                progress.note(note)
            try:
                while not self.run.finished:
                    self.run_epoch(progress, interrupts)
            except UnreadableError as error:
                raise UserError(f"{error}; {self.stopped()}") from error
            for kernel, count in launches.items():
                progress.note(f"{count:8} launches of {kernel}")
        self.run.model.load_state(self.best_weights)

    def run_epoch(self, progress: Progress, interrupts: Interrupts) -> None:
        """Train on every image once, or on those left of an epoch that was stopped."""
        epoch, model = len(self.run.metrics), self.run.model
        images = self.data.epoch(epoch, self.options.seed)
        shuffle = np.random.Generator(np.random.PCG64())
        shuffle.bit_generator.state = self.order
        for x in batches(images, shuffle, self.options.batch, self.steps_done):
            self.optimizer.lr, warmth = self.rates(self.optimizer.steps)
            terms = train_step(
                model,
                self.optimizer,
                x,
                self.latent,
                warmth,
                self.dropout,
                *self.still(),
            )
            self.sums += len(x) * np.array(terms)
            progress.step(epoch + 1, *terms[:2])
            if interrupts.asked:
                raise KeyboardInterrupt(self.stopped())
        self.end_epoch(dict(shuffle.bit_generator.state))
        progress.epoch(self.run.metrics[-1])
        if self.run.finished and epoch + 1 < self.options.epochs:
            best = self.run.metrics[self.run.best_epoch - 1]
            progress.note(
                f"stopped after epoch {epoch + 1}: the best validation objective, "
                f"{best['validation']['objective']:.2f}, is that of epoch "
                f"{self.run.best_epoch}"
            )
        if interrupts.asked:
            raise KeyboardInterrupt(self.stopped())

    def end_epoch(self, order: dict[str, Any]) -> None:
        """Measure, keep the weights if they are the best so far, and save."""
        run, count, folder = self.run, len(self.data.train), self.run.path
        lr, warmth = self.rates(self.optimizer.steps - 1)
        line: dict[str, Any] = {
            "epoch": len(run.metrics) + 1,
            "step": self.optimizer.steps,
            "lr": lr,
            "warmth": warmth,
            "train": _named(self.sums / count),
            "validation": validate(run.model, self.data.validation.images),
        }
        objective = line["validation"]["objective"]
        if not math.isfinite(objective):
            raise UserError(
                f"the validation objective became {objective} in epoch {line['epoch']}:"
                f" {ADVICE}"
            )
        run.metrics.append(line)
        run.trained += 1
        self.order, self.sums = order, np.zeros(len(checkpoint.TERMS))
        is_best = run.best_epoch == line["epoch"]
        if is_best:
            self.best_weights = run.model.state()
        if folder is not None:  # in this order: see checkpoint
            checkpoint.write_metrics(folder, run.metrics)
            self.save(folder)
            if is_best:
                checkpoint.write_tensors(folder / checkpoint.BEST, self.best_weights)

    def stopped(self) -> str:
        """Save the state between two steps; returns where that was."""
        told = f"stopped after step {self.optimizer.steps}"
        if self.run.path is None:
            return f"{told}; nothing was saved, for want of a folder"
        self.save(self.run.path)
        how = checkpoint.how_to_resume(self.run.path)
        return f"{told}, all is saved; go on with: {how}"

    def moments(self) -> dict[str, Array]:
        """Return the optimizer's moments, by their names in the state."""
        moments = self.optimizer.state().items()
        return {checkpoint.MOMENT + name: array for name, array in moments}

    def save(self, folder: Path) -> None:
        """Write weights, moments, and what else it takes to go on.

        The state before it is kept if it is that of the end of an epoch.
        """
        now = (len(self.run.metrics), self.optimizer.steps)
        if now == self.saved:
            return
        ended = self.saved and self.saved[1] == self.saved[0] * self.steps_per_epoch
        rest = {
            "epoch": now[0],
            "step": now[1],
            "latent": self.latent.position,
            "dropout": self.dropout.position if self.dropout else 0,
            "order": self.order,
            "sums": self.sums.tolist(),
        }
        tensors = self.run.model.state() | self.moments()
        keep = folder / checkpoint.PREVIOUS if ended else None
        checkpoint.write_tensors(folder / checkpoint.LAST, tensors, rest, keep)
        self.saved = now

    def restore(self, folder: Path) -> str:
        """Take up the state of a run folder, if it has one; mend what is behind it.

        Returns what is wrong with the newest state, if that was not to be used. Raises
        `UserError` if a file is not as it must be, before anything changes.
        """
        run, own, moments = self.run, self.run.model.state(), self.moments()
        state = checkpoint.read_newest(folder, own | moments)
        if state is None:
            checkpoint.write_metrics(folder, [])
            return ""
        rest, epoch = state.rest, state.rest["epoch"]
        lines = checkpoint.read_metrics(folder) if epoch else []
        run.metrics = lines[:epoch]
        done = rest["step"] - epoch * self.steps_per_epoch
        in_order = [line["epoch"] for line in run.metrics] == [*range(1, epoch + 1)]
        if not (in_order and 0 <= done <= self.steps_per_epoch):
            raise UserError(
                f"{state.path} is not the state of this run: it tells of epoch {epoch},"
                f" step {rest['step']}, which {checkpoint.METRICS} and the options do "
                "not fit"
            )
        weights = {name: state.tensors[name] for name in own}
        if epoch and (run.best_epoch != epoch or done):
            best = run.best_epoch
            self.best_weights = checkpoint.read_best(folder, own, moments, best)
        elif epoch:
            self.best_weights = weights
        run.model.load_state(weights)
        self.optimizer.load_state(
            rest["step"],
            {n.removeprefix(checkpoint.MOMENT): a for n, a in state.tensors.items()},
        )
        self.latent = self.latent.at(rest["latent"])
        self.dropout = self.dropout and self.dropout.at(rest["dropout"])
        self.order, self.sums = rest["order"], np.array(rest["sums"])
        if state.path.name == checkpoint.LAST:
            self.saved = (epoch, rest["step"])
        if len(lines) != epoch or not epoch:
            checkpoint.write_metrics(folder, run.metrics)
        if epoch and not checkpoint.holds(folder, self.best_weights):
            checkpoint.write_tensors(folder / checkpoint.BEST, self.best_weights)
        return state.fault


def train_step(
    model: Autoencoder,
    optimizer: Optimizer,
    x: Array,
    noise: NoiseLike,
    warmth: float = 1.0,
    dropout: Noise | None = None,
    still: Iterable[Parameter] = (),
) -> tuple[float, float, float]:
    """Take one step on a batch: loss, backward, update of all but `still`.

    Returns recon, KL and the objective, which is the loss without warm-up.
    Raises `UserError` before the update if the loss or the gradient's norm is not
    finite; a replay of the step, recorded, tells which op or rule was the first.
    """
    again = noise.at(noise.position) if isinstance(noise, Noise) else noise
    dropout_again = dropout and dropout.at(dropout.position)
    optimizer.zero_grad()
    terms = model.loss_terms(x, noise, warmth=warmth, dropout=dropout)

    def diverged(what: str) -> UserError:
        fault = first_fault(model, x, again, warmth=warmth, dropout=dropout_again)
        where = f"first in {fault}" if fault else NO_FAULT
        return UserError(f"{what} at step {optimizer.steps + 1}, {where}; {ADVICE}")

    if not math.isfinite(terms.loss.item()):
        raise diverged(f"the loss became {terms.loss.item()}")
    terms.loss.backward()
    for parameter in still:
        parameter.grad = None
    try:
        optimizer.step()
    except NonFiniteGradientError as error:
        raise diverged(str(error)) from error
    recon, kl = terms.recon.item(), 0.0 if terms.kl is None else terms.kl.item()
    if terms.objective is None:
        return recon, kl, recon + model.beta * kl
    return recon, kl, terms.objective.item()


def warmth_at(step: int, warmup_steps: int) -> float:
    """Return the KL's factor at `step`: a line from 0 to 1 over the warm-up."""
    return min(1.0, step / warmup_steps) if warmup_steps else 1.0


def evaluation_noise(model: Autoencoder, first: int, count: int, draw: int) -> Array:
    """Return ε (count, Z) of the images from number `first` on, for one draw.

    Image i of draw s has the elements s 2**40 + i Z ... of one fixed stream: its noise
    depends on nothing but its number.
    """
    position = draw * DRAW_STRIDE + first * model.latent
    noise = Noise(EVALUATION_SEED, Stream.EVALUATE, position)
    return model.here(model.code_noise(noise, count))


@no_grad()
def validate(model: Autoencoder, images: Images, batch: int = 500) -> dict[str, float]:
    """Return recon, kl and the objective without warm-up, means over `images`.

    As many draws of z an image as the loss takes, always the same; no dropout, and
    no noise for a model whose code is none: it sees the images as they are.
    """
    sums = np.zeros(len(checkpoint.TERMS))
    for start in range(0, len(images), batch):
        x = images[start : start + batch]
        noise = _draws(model, start, len(x)) if model.has_kl else None
        terms = model.loss_terms(x, noise, reduction="none")
        recon, kl, objective = (
            0.0 if term is None else term.numpy().astype(np.float64)
            for term in (terms.recon, terms.kl, terms.objective)
        )
        if terms.objective is None:
            objective = recon + model.beta * kl
        sums += [np.sum(term) for term in (recon, kl, objective)]
    return _named(sums / len(images))


def _draws(model: Autoencoder, first: int, count: int) -> Array:
    """Return the noise of as many draws of z as the loss takes."""
    drawn = [evaluation_noise(model, first, count, s) for s in range(model.draws)]
    return drawn[0] if model.draws == 1 else xp_of(drawn[0]).stack(drawn)


def _named(means: Array) -> dict[str, float]:
    return dict(zip(checkpoint.TERMS, map(float, means), strict=True))


def _versions() -> dict[str, str]:
    names = ("minivae", "numpy", "safetensors")
    versions = {name: importlib.metadata.version(name) for name in names}
    return versions | {"python": platform.python_version()}
