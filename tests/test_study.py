"""The recorded step is the step that training takes, and its text says all of it."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
from tolerances import FLOAT64

from minivae.models import MODELS, Autoencoder, build
from minivae.optim import SGD, Adam
from minivae.random import Noise
from minivae.study import Recording, as_text, record
from minivae.tensor import Parameter, Tensor, mode
from minivae.train import train_step


def tiny(name: str = "vae", **options: Any) -> Autoencoder:
    model = build(
        name,
        shape=(1, 2, 3),
        latent=2,
        hidden=(4,),
        likelihood="bernoulli",
        activation="tanh",
        **options,
    )
    model.to(dtype=np.float64)
    return model


X = (Noise(1).uniform((3, 1, 2, 3), np.float64) < 0.5).astype(np.float64)
EPS = Noise(2).normal((3, 2), np.float64)


def recorded(name: str = "vae", **options: Any) -> tuple[Autoencoder, Recording]:
    model = tiny(name, **options)
    noise = model.loss_noise(Noise(2), len(X))
    return model, record(model, X, noise, SGD(model.parameters(), 1e-4))


@pytest.mark.parametrize("name", MODELS)
def test_a_recorded_step_is_the_step_of_training(name: str) -> None:
    studied, trained = tiny(name), tiny(name)
    noise = studied.loss_noise(Noise(2), len(X))
    record(studied, X, noise, Adam(studied.parameters(), 0.01))
    train_step(trained, Adam(trained.parameters(), 0.01), X, noise)
    for key, value in trained.state().items():
        np.testing.assert_array_equal(studied.state()[key], value)


def test_the_forward_pass_is_in_order_and_named() -> None:
    _, step = recorded()
    assert [node.name for node in step.forward] == [
        *("encoder.1", "encoder.2", "mu", "logvar", "z"),
        *("decoder.0", "decoder.1", "decoder.2", "decoder.3"),
        *("recon", "kl", "beta_kl", "loss"),
    ]
    z = step.forward[4]
    assert (z.op, z.inputs) == ("reparameterize", ["mu", "logvar", "eps"])
    assert step.forward[0].inputs == ["x", "encoder.1.weight", "encoder.1.bias"]
    assert step.forward[0].source.startswith("minivae/nn.py:")


def test_the_terms_by_image_add_up_to_the_loss() -> None:
    for name, options in (("ae", {}), ("vae", {}), ("betavae", {"beta": 4.0})):
        _, step = recorded(name, **options)
        total = step.terms.recon + step.terms.beta * step.terms.kl.sum(axis=1)
        assert abs(total.mean() - step.loss) <= FLOAT64 * step.loss


def test_contributions_add_up_to_the_gradients() -> None:
    model, step = recorded()
    last = {event.receiver: event.total for event in step.backward}
    for update in step.updates:
        np.testing.assert_array_equal(update.gradient, last[update.name])
    assert {update.name for update in step.updates} == set(model.named_parameters())


def test_the_two_paths_into_the_posterior_are_shown() -> None:
    _, step = recorded()
    for receiver in ("mu", "logvar"):
        senders = [e.sender for e in step.backward if e.receiver == receiver]
        assert senders == ["kl", "z"]


def test_unbroadcasting_is_shown_where_it_happens() -> None:
    model = build("vae", shape=(1, 2, 3), latent=2, hidden=(4,), likelihood="gaussian")
    model.to(dtype=np.float64)
    step = record(model, X, EPS, SGD(model.parameters(), 1e-4))
    (event,) = [e for e in step.backward if e.receiver == "recon_logvar"]
    assert event.summed_axes == (0, 1, 2, 3)
    assert "summed over axis 0, 1, 2, 3" in as_text(step)


def test_the_gradient_predicts_the_change_of_a_small_step() -> None:
    _, step = recorded()
    predicted, real = step.loss_predicted - step.loss, step.loss_after - step.loss
    assert real < 0
    assert abs(predicted - real) <= 1e-3 * abs(real)


def test_a_recording_is_plain_data() -> None:
    def check(value: Any) -> None:
        assert not isinstance(value, (Tensor, Parameter))
        if is_dataclass(value):
            for each in fields(value):
                check(getattr(value, each.name))
        elif isinstance(value, (list, tuple)):
            for item in value:
                check(item)

    check(recorded()[1])


def test_recording_ends_even_if_the_step_fails() -> None:
    model = tiny()
    with pytest.raises(ValueError, match="takes images"):
        record(model, X[:, :, :1], EPS, SGD(model.parameters()))
    assert mode.observer is None


@pytest.mark.parametrize("name", MODELS)
def test_the_text_fits_a_terminal_and_says_every_event(name: str) -> None:
    _, step = recorded(name)
    text = as_text(step)
    assert max(map(len, text.splitlines())) <= 80
    for title in ("FORWARD", "THE LOSS BY IMAGE", "BACKWARD", "UPDATE"):
        assert f"\n{title}  " in text
    for node in step.forward:
        assert f"{node.name} = {node.op}(" in text
    for event in step.backward:
        assert f"{event.sender} → {event.receiver}" in text
