"""`minivae train`, and going on with a training: `minivae train --resume RUN`."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minivae.errors import UserError

if TYPE_CHECKING:
    from minivae.data import Dataset
    from minivae.models import Autoencoder
    from minivae.train import Run

BELONGS = {
    "beta": ("betavae",),
    "free_bits": ("betavae",),
    "capacity": ("betavae",),
    "gamma": ("betavae",),
    "samples": ("iwae",),
    "sticking": ("iwae",),
    "estimator": ("bernoullivae",),
    "temperature": ("bernoullivae",),
    "noise": ("dae",),
    "l1": ("ae", "dae"),
    "contraction": ("ae", "dae"),
    "tied": ("ae", "dae"),
    "code_activation": ("ae", "dae"),
}
"""The options of some models only."""


def train(
    model: str = "vae",
    arch: str = "dense",
    channels: tuple[int, ...] | None = None,
    hidden: tuple[int, ...] | None = None,
    decoder_arch: str | None = None,
    activation: str = "relu",
    data: str = "fashion10k:dynamic",
    data_dir: Path | None = None,
    block: int | None = None,
    likelihood: str | None = None,
    latent: int = 20,
    sigma: str = "shared",
    beta: float | None = None,
    free_bits: float | None = None,
    capacity: float | None = None,
    gamma: float | None = None,
    samples: int | None = None,
    sticking: bool = False,
    estimator: str | None = None,
    temperature: float | None = None,
    noise: str | None = None,
    l1: float | None = None,
    contraction: float | None = None,
    tied: bool = False,
    code_activation: str | None = None,
    epochs: int = 40,
    batch: int = 128,
    lr: float = 2e-3,
    optimizer: str = "adam",
    schedule: str = "cosine",
    warmup: int = 0,
    cycles: int = 1,
    em: bool = False,
    dropout: float = 0.0,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    patience: int = 0,
    seed: int = 0,
    threads: int | None = None,
    device: str = "cpu",
    out: Path | None = None,
    resume: Path | None = None,
) -> None:
    """Train a model and write its run folder, pictures and report.

    Ctrl-C and SIGTERM finish the step and save everything, for --resume.

    Args:
        model: ae, dae, vae, betavae, iwae, mixturevae or bernoullivae
        arch: dense, conv (for images of about 28 x 28) or burgess (32 x 32, 64 x 64)
        channels: of the encoder's convolutions, each of which halves the image
        hidden: sizes of the encoder's linear layers; none: linear; by default by arch
        decoder_arch: of the decoder, at its own sizes; by default the encoder mirrored
        activation: relu, leaky_relu, elu, tanh, sigmoid or softplus
        data: a name of `minivae data list`, a file or folder; then :gray, :dynamic, ...
        data_dir: folder of the IDX files of fashion and mnist
        block: images of a file or folder in memory at once; by default all of them
        likelihood: bernoulli, soft_bce, gaussian or squared_error; None: by the data
        latent: size of the code
        sigma: of the gaussian likelihood: shared, pixel (both learned) or a number
        beta: weight of the KL, for a betavae (4 if not given)
        free_bits: nats that each latent of a betavae may carry for nothing
        capacity: nats that a betavae's code is to carry, reached by the warm-up's end
        gamma: weight of the distance to the capacity (1000 if not given)
        samples: draws of z in the bound of an iwae (5 if not given)
        sticking: leave the score out of an iwae's gradient
        estimator: of a bernoullivae: exact, reinforce, straight_through or relaxed
        temperature: of the relaxed estimator (0.5 if not given)
        noise: of a dae: gaussian:V, mask:P or salt:P (gaussian:0.1 if not given)
        l1: weight of the code's absolute values, for an ae or dae
        contraction: weight of the code's squared slopes; of one layer, sigmoid or tanh
        tied: give the decoder of an ae or dae its encoder's weights, transposed
        code_activation: what follows the code of an ae or dae; None: it is linear
        epochs: times that every training image is seen
        batch: images in a step
        lr: learning rate
        optimizer: sgd, adagrad, rmsprop, adam or adamw
        schedule: of the learning rate: constant, step, cosine or warmup
        warmup: epochs in which the KL's weight rises from 0
        cycles: times that it does so, the epochs divided evenly among them
        em: let even steps move only the encoder, odd ones only the decoder
        dropout: share of hidden units dropped in training
        weight_decay: weight of the squared parameters
        clip_norm: longest gradient; a longer one is scaled down to it
        patience: epochs without a better validation objective before stopping; 0 never
        seed: of the weights, the noise and the order of the images
        threads: of BLAS and kernels; by default as many as they take
        device: cpu, cuda, or ptx: the CUDA kernels in an interpreter, slowly
        out: run folder; by default a new one in runs/
        resume: run folder to go on with, under the options that it was started with
    """
    chosen = dict(locals())
    from minivae import train as training

    if resume is not None:
        return _going_on(resume)()
    built, images, options = prepared(chosen)
    folder = out or _fresh_folder(model, data)
    _show(training.fit(built, images, out=folder, **options), images)


BUILT = (
    *("latent", "arch", "channels", "hidden", "decoder_arch", "likelihood", "seed"),
    *("activation", "dropout", "sigma"),
)
"""The options that every model is built with."""


def prepared(
    chosen: Mapping[str, Any], images: Dataset | None = None
) -> tuple[Autoencoder, Dataset, dict[str, Any]]:
    """Return model, data (if not given) and options of `fit` for options of `train`.

    Raises `UserError` for what does not work.
    """
    from minivae import models
    from minivae import train as training
    from minivae.data import load

    options = {f.name: chosen[f.name] for f in fields(training.Options)}
    training.Options(**options).check()
    model = chosen["model"]
    if model not in models.MODELS:
        raise UserError(f"no model {model!r}; have {', '.join(models.MODELS)}")
    given = {name: chosen[name] for name in BELONGS}
    own = {n: v for n, v in given.items() if v is not None and v is not False}
    for name in own:
        if model not in BELONGS[name]:
            owner = " or ".join(BELONGS[name])
            raise UserError(f"{name} belongs to --model {owner}, not to {model}")
    if images is None:
        images = load(chosen["data"], chosen["data_dir"], chosen["block"])
    same = {name: chosen[name] for name in BUILT}
    return models.build(model, shape=images.shape, **same, **own), images, options


def command(arguments: Sequence[str]) -> Callable[..., None]:
    """Return the function of `minivae train` for a command line.

    Where that says --resume, the options stored in the run folder become the defaults,
    so that what differs from them after parsing was given, and contradicts them.
    """
    for word, following in pairwise([*arguments, ""]):
        name, is_one_word, value = word.partition("=")
        folder = value if is_one_word else following
        if arguments[0] == "train" and name == "--resume" and folder:
            return _going_on(Path(folder))
    return train


def _going_on(folder: Path) -> Callable[..., None]:
    """Return `train` for going on with a run: its options are the defaults."""
    from minivae import train as training
    from minivae.data import load
    from minivae.run import read_config

    config = read_config(folder)
    training.stored_options(folder, config)
    stored = {**config["model"], **config["train"], "out": folder, "resume": folder}
    for sizes in {"channels", "hidden"} & stored.keys():
        stored[sizes] = tuple(stored[sizes])
    stored["data"], moved = config["data"]["source"], config["data"]["data_dir"]
    stored["block"] = config["data"].get("block")
    stored["data_dir"] = moved and Path(moved)
    own = inspect.signature(train)
    parameters = [
        option.replace(default=stored.get(name, option.default))
        for name, option in own.parameters.items()
    ]
    defaults = {option.name: option.default for option in parameters}

    @wraps(train)
    def go_on(**given: Any) -> None:
        for name in given.keys() - {"data", "data_dir", "block"}:  # their digest tells
            if given[name] != defaults[name]:
                raise UserError(
                    f"{folder} was started with {name} {defaults[name]}, not "
                    f"{given[name]}: leave the option out, or train into a new folder"
                )
        chosen = defaults | given
        images = load(chosen["data"], chosen["data_dir"], chosen["block"])
        run = training.resume(folder, images)
        if run.trained:
            _show(run, images)
        else:
            page = f"minivae report {shlex.quote(str(folder))}"
            count = len(run.metrics)
            epochs = f"{count} epoch{'s' * (count > 1)}"
            print(f"{folder} is finished, {epochs}; its page: {page}")

    go_on.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return go_on


def _show(run: Run, images: Dataset) -> None:
    """Write the pictures and the report of a run, and print its ledger."""
    from minivae.cli import evaluate

    assert run.path is not None
    evaluate.write_pictures(run, images)
    ledger = evaluate.print_ledger(run, images)
    page = evaluate.write_report(run, images, ledger)
    print(f"\npictures  {run.path / 'figures'}\nreport    {page}")
    sys.stdout.flush()


def _fresh_folder(model: str, data: str) -> Path:
    """Return the first folder runs/MODEL-DATA-NNN that does not exist."""
    base, _, mode = data.rpartition(":")
    name = f"{Path(base or mode).stem}-{mode}" if base else Path(mode).stem
    number = 1
    while (folder := Path("runs") / f"{model}-{name}-{number:03d}").exists():
        number += 1
    return folder
