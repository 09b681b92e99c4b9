"""The cases in PyTorch, eager, as its users write them, with its fused Adam."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.peers.work import (
    BATCHES,
    BETAS,
    CHECKED_STEPS,
    EPS,
    LOSSES,
    LR,
    READY,
    SGEMM_SIZE,
    Arrays,
    Case,
    D,
    H,
    Z,
    flat,
    loss_inputs,
    size,
    weights,
)


def cases(given: Arrays) -> dict[str, Case]:
    """Return every case by name."""
    return {
        "sgemm": sgemm_case(),
        **{f"step {batch}": step_case(given, batch) for batch in BATCHES},
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


class VAE(nn.Module):
    """The VAE 784-400-20-400-784."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(D, H), nn.ReLU())
        self.mu = nn.Linear(H, Z)
        self.logvar = nn.Linear(H, Z)
        self.decoder = nn.Sequential(
            nn.Linear(Z, H), nn.ReLU(), nn.Linear(H, D), nn.Unflatten(1, (1, 28, 28))
        )

    def loss(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return recon + kl, a mean over the batch."""
        h = self.encoder(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.exp(0.5 * logvar) * noise
        return (bce(self.decoder(z), x) + gaussian_kl(mu, logvar)) / len(x)


class Stepper:
    """A model in training, on images and noise that are ready."""

    def __init__(self, given: Arrays, batch: int) -> None:
        self.model = VAE()
        state = {name: torch.tensor(w) for name, w in weights(given).items()}
        self.model.load_state_dict(state)
        self.optimizer = adam(list(self.model.parameters()))
        self.images = list(torch.from_numpy(given[f"x/{batch}"]))
        self.noise = list(torch.from_numpy(given[f"noise/{batch}"]))
        self.steps = 0

    def step(self) -> float:
        """zero_grad, forward, backward, update; returns the loss before the update."""
        i = self.steps % READY
        self.steps += 1
        self.optimizer.zero_grad()
        loss = self.model.loss(self.images[i], self.noise[i])
        loss.backward()
        self.optimizer.step()
        return loss.item()


def step_case(given: Arrays, batch: int) -> Case:
    def check() -> list[float]:
        stepper = Stepper(given, batch)
        return [stepper.step() for _ in range(CHECKED_STEPS)]

    return Case(check, Stepper(given, batch).step)


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
