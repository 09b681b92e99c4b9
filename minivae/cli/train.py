"""`minivae train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from minivae.errors import UserError

ARCHITECTURES = ("dense",)


def train(
    model: str = "vae",
    arch: str = "dense",
    hidden: tuple[int, ...] = (400,),
    activation: str = "relu",
    data: str = "fashion10k:dynamic",
    data_dir: Path | None = None,
    likelihood: str | None = None,
    latent: int = 20,
    beta: float | None = None,
    epochs: int = 40,
    batch: int = 128,
    lr: float = 2e-3,
    optimizer: str = "adam",
    schedule: str = "cosine",
    warmup: int = 0,
    dropout: float = 0.0,
    weight_decay: float = 0.0,
    patience: int = 0,
    seed: int = 0,
    threads: int | None = None,
    device: str = "cpu",
    out: Path | None = None,
) -> None:
    """Train a model and write its run folder, pictures and report.

    Args:
        model: ae, vae or betavae
        arch: dense
        hidden: sizes of the encoder's hidden layers; the decoder mirrors them
        activation: relu, leaky_relu, elu, tanh, sigmoid or softplus
        data: fashion10k, digits, fashion, mnist or a file; then :gray, :dynamic, ...
        data_dir: folder of the IDX files of fashion and mnist
        likelihood: bernoulli, soft_bce, gaussian or squared_error; None: by the data
        latent: size of the code
        beta: weight of the KL, for a betavae (4 if not given)
        epochs: times that every training image is seen
        batch: images in a step
        lr: learning rate
        optimizer: sgd, adagrad, rmsprop, adam or adamw
        schedule: of the learning rate: constant, step, cosine or warmup
        warmup: epochs in which the KL's weight rises from 0
        dropout: share of hidden units dropped in training
        weight_decay: weight of the squared parameters
        patience: epochs without a better validation objective before stopping; 0 never
        seed: of the weights, the noise and the order of the images
        threads: of the BLAS; by default as many as it takes
        device: cpu or cuda
        out: run folder; by default a new one in runs/
    """
    from minivae import models
    from minivae import train as training
    from minivae.cli import evaluate
    from minivae.data import load

    if arch not in ARCHITECTURES:
        raise UserError(f"no architecture {arch!r}; have {', '.join(ARCHITECTURES)}")
    options: dict[str, Any] = {
        "epochs": epochs,
        "batch": batch,
        "lr": lr,
        "optimizer": optimizer,
        "schedule": schedule,
        "warmup": warmup,
        "weight_decay": weight_decay,
        "patience": patience,
        "seed": seed,
        "threads": threads,
        "device": device,
    }
    training.Options(**options).check()
    if model not in models.MODELS:
        raise UserError(f"no model {model!r}; have {', '.join(models.MODELS)}")
    weight: dict[str, Any] = {} if beta is None else {"beta": beta}
    if weight and model != "betavae":
        raise UserError(f"beta belongs to --model betavae; a {model} has none to set")
    images = load(data, data_dir)
    built = models.build(
        model,
        shape=images.shape,
        latent=latent,
        hidden=hidden,
        likelihood=likelihood,
        seed=seed,
        activation=activation,
        dropout=dropout,
        **weight,
    )
    folder = out or _fresh_folder(model, data)
    run = training.fit(built, images, out=folder, **options)
    evaluate.write_pictures(run, images)
    ledger = evaluate.print_ledger(run, images)
    page = evaluate.write_report(run, images, ledger)
    print(f"\npictures  {folder / 'figures'}\nreport    {page}")
    sys.stdout.flush()


def _fresh_folder(model: str, data: str) -> Path:
    """Return the first folder runs/MODEL-DATA-NNN that does not exist."""
    base, _, mode = data.rpartition(":")
    name = f"{Path(base or mode).stem}-{mode}" if base else Path(mode).stem
    number = 1
    while (folder := Path("runs") / f"{model}-{name}-{number:03d}").exists():
        number += 1
    return folder
