"""The cases in PyTorch, eager, as its users write them, with its fused Adam."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.peers.work import (
    BETAS,
    CHECKED_STEPS,
    EPS,
    LOSSES,
    LR,
    READY,
    SGEMM_SIZE,
    Arrays,
    Case,
    flat,
    layers_of,
    loss_inputs,
    size,
    training,
    weights,
)
from benchmarks.steps import Array


def step(given: Arrays) -> dict[str, Case]:
    """Return the training step, and the matrix product beside it."""
    return {"step": training(partial(Stepper, given)), "sgemm": sgemm_case()}


def kernels(given: Arrays) -> dict[str, Case]:
    """Return the cases of single kernels by name."""
    return {
        **{f"loss {batch}": loss_case(given, batch) for batch in LOSSES},
        "adam": adam_case(partial(one_parameter, given)),
        "adam by parameter": adam_case(partial(all_parameters, given)),
    }


def described() -> str:
    """Return the version and the number of threads."""
    return f"torch {torch.__version__} on {torch.get_num_threads()} threads"


def adam(parameters: list[nn.Parameter]) -> torch.optim.Adam:
    """Return the fused Adam of all cases."""
    return torch.optim.Adam(parameters, lr=LR, betas=BETAS, eps=EPS, fused=True)


def bce(logits: Tensor, x: Tensor) -> Tensor:
    """Return the summed binary cross-entropy from logits."""
    return nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")


def gaussian_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """Return ½ Σ μ² + e^ℓ − 1 − ℓ."""
    return -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())


def layer(weight: Array, transposed: bool = False) -> nn.Module:
    """Return the layer that a weight belongs to."""
    if weight.ndim == 2:
        return nn.Linear(weight.shape[1], weight.shape[0])
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    n_in, n_out = weight.shape[:2] if transposed else weight.shape[1::-1]
    return kind(n_in, n_out, weight.shape[2], stride=2, padding=1)


def encoder(layers: Sequence[Array]) -> nn.Sequential:
    """Return convolutions, flatten, linear layers; ReLU after each."""
    maps = [layer(w) for w in layers if w.ndim == 4]
    rows = [layer(w) for w in layers if w.ndim == 2]

    def activated(layers: list[nn.Module]) -> list[nn.Module]:
        return [part for layer in layers for part in (layer, nn.ReLU())]

    return nn.Sequential(*activated(maps), nn.Flatten(), *activated(rows))


def decoder(layers: Sequence[Array], shape: Sequence[int]) -> nn.Sequential:
    """Return linear layers, unflatten, transposed convolutions; ReLU between them."""
    maps = [layer(w, transposed=True) for w in layers if w.ndim == 4]
    rows = [layer(w) for w in layers if w.ndim == 2]
    C, H, W = shape
    if maps:
        C = next(len(w) for w in layers if w.ndim == 4)
        H, W = H >> len(maps), W >> len(maps)
    parts: list[nn.Module] = []
    for row in rows:
        parts += [row, nn.ReLU()]
    parts[-1] = nn.Unflatten(1, (C, H, W))
    for convolution in maps:
        parts += [nn.ReLU(), convolution]
    return nn.Sequential(*parts)


class VAE(nn.Module):
    """The VAE that the given weights are of, with these."""

    def __init__(self, given: Arrays) -> None:
        super().__init__()
        first = weights(given)
        self.encoder = encoder(list(layers_of(first, "encoder").values()))
        self.mu = layer(first["mu.weight"])
        self.logvar = layer(first["logvar.weight"])
        back = list(layers_of(first, "decoder").values())
        self.decoder = decoder(back, given["x"].shape[2:])
        self.load_state_dict({name: torch.tensor(w) for name, w in first.items()})

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return the loss, recon + kl, a mean over the batch."""
        h = self.encoder(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.exp(0.5 * logvar) * noise
        return (bce(self.decoder(z), x) + gaussian_kl(mu, logvar)) / len(x)


class Stepper:
    """A model in training, on images and noise that are ready."""

    def __init__(
        self,
        given: Arrays,
        compiled: Callable[[nn.Module], Callable[..., Tensor]] = lambda model: model,
    ) -> None:
        model = VAE(given)
        self.loss = compiled(model)
        self.optimizer = adam(list(model.parameters()))
        self.images = list(torch.from_numpy(given["x"]))
        self.noise = list(torch.from_numpy(given["noise"]))
        self.steps = 0

    def __call__(self) -> float:
        """zero_grad, forward, backward, update; returns the loss before the update."""
        i = self.steps % READY
        self.steps += 1
        self.optimizer.zero_grad()
        loss = self.loss(self.images[i], self.noise[i])
        loss.backward()
        self.optimizer.step()
        return loss.item()


def loss_case(given: Arrays, batch: int) -> Case:
    """The loss from leaves μ, ℓ and logits; Σ z z̄ hands z its adjoint."""
    mu, logvar, noise, z_bar, logits, x = map(
        torch.from_numpy, loss_inputs(given, batch)
    )
    leaves = [leaf.requires_grad_() for leaf in (mu, logvar, logits)]

    def call() -> Tensor:
        for leaf in leaves:
            leaf.grad = None
        z = mu + torch.exp(0.5 * logvar) * noise
        loss = bce(logits, x) + gaussian_kl(mu, logvar) + (z * z_bar).sum()
        loss.backward()
        return loss

    def check() -> list[float]:
        return [call().item(), *(size(leaf.grad.numpy()) for leaf in leaves)]

    return Case(check, call)


def one_parameter(given: Arrays) -> list[nn.Parameter]:
    """Return all weights as one flat parameter with its gradient."""
    parameter = nn.Parameter(torch.tensor(flat(weights(given))))
    parameter.grad = torch.tensor(given["gradient"])
    return [parameter]


def all_parameters(given: Arrays) -> list[nn.Parameter]:
    """Return the weights as the model's parameters, each with its own gradient."""
    parameters = [nn.Parameter(torch.tensor(w)) for w in weights(given).values()]
    sizes = [parameter.numel() for parameter in parameters]
    gradients = torch.tensor(given["gradient"]).split(sizes)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone().view_as(parameter)
    return parameters


def adam_case(fresh: Callable[[], list[nn.Parameter]]) -> Case:
    def check() -> list[float]:
        parameters = fresh()
        optimizer = adam(parameters)
        for _ in range(CHECKED_STEPS):
            optimizer.step()
        return [sum(size(p.detach().numpy()) for p in parameters)]

    return Case(check, adam(fresh()).step)


def sgemm_case() -> Case:
    x = torch.rand(SGEMM_SIZE, SGEMM_SIZE)
    return Case(list, partial(torch.mm, x, x, out=torch.empty_like(x)))
