"""The same models and optimizers in PyTorch, run as a process of their own.

    python torch_twin.py GIVEN.npz ANSWERS.npz

Names in GIVEN are paths: "<case>/weight/<parameter>", "<case>/x", "<case>/noise". The
array "cases" is a JSON text that says what each case is. The answers are named alike.
Formulas are PyTorch's own wherever it has one, so that nothing is checked against a
copy of itself. This is the only file of the tests that imports torch.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
}
OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}
Arrays = dict[str, np.ndarray]


class Twin(nn.Module):
    """AE, VAE or beta-VAE, built from the `config()` of ours."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        latent, hidden = config["latent"], config["hidden"]
        self.likelihood, self.beta = config["likelihood"], config.get("beta", 1.0)
        layer = ACTIVATIONS[config["activation"]]
        convolutions, map_shape = halving(config["shape"], config["channels"], layer)
        D = math.prod(map_shape)
        self.encoder = nn.Sequential(
            *convolutions, nn.Flatten(), *hidden_layers([D, *hidden], layer)
        )
        self.is_vae = config["model"] != "ae"
        if self.is_vae:
            self.mu = nn.Linear(hidden[-1], latent)
            self.logvar = nn.Linear(hidden[-1], latent)
        else:
            self.code_layer = nn.Linear(hidden[-1], latent)
        self.decoder = nn.Sequential(
            *hidden_layers([latent, *hidden[::-1]], layer),
            nn.Linear(hidden[0], D),
            nn.Unflatten(1, map_shape),
            *doubling([*config["channels"][::-1], config["shape"][0]], layer),
        )
        if self.likelihood == "gaussian":
            self.recon_logvar = nn.Parameter(torch.zeros(()))

    def terms(self, x: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Return loss = recon + beta kl and its parts, each a mean over the batch."""
        h = self.encoder(x)
        if not self.is_vae:
            recon = self.recon(self.decoder(self.code_layer(h)), x)
            return {"loss": recon, "recon": recon}
        q = Normal(self.mu(h), torch.exp(self.logvar(h) / 2))
        recon = self.recon(self.decoder(q.loc + q.scale * noise), x)
        prior = Normal(torch.zeros_like(q.loc), torch.ones_like(q.scale))
        kl = kl_divergence(q, prior).sum() / len(x)
        return {"loss": recon + self.beta * kl, "recon": recon, "kl": kl}

    def recon(self, decoded: Tensor, x: Tensor) -> Tensor:
        """Return PyTorch's reading of the likelihood."""
        if self.likelihood == "squared_error":
            total = nn.functional.mse_loss(decoded, x, reduction="sum")
        elif self.likelihood == "gaussian":
            var = torch.exp(self.recon_logvar).expand_as(decoded)
            total = nn.functional.gaussian_nll_loss(
                decoded, x, var, full=True, reduction="sum"
            )
        else:
            total = nn.functional.binary_cross_entropy_with_logits(
                decoded, x, reduction="sum"
            )
        return total / len(x)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return the mean image of the mean code."""
        h = self.encoder(x)
        decoded = self.decoder(self.mu(h) if self.is_vae else self.code_layer(h))
        bernoulli = self.likelihood in ("bernoulli", "soft_bce")
        return torch.sigmoid(decoded) if bernoulli else decoded


def hidden_layers(
    sizes: list[int], activation: Callable[[], nn.Module]
) -> Iterable[nn.Module]:
    """Yield Linear and activation for each step of `sizes`."""
    for n_in, n_out in pairwise(sizes):
        yield from (nn.Linear(n_in, n_out), activation())


def halving(
    shape: list[int], channels: list[int], activation: Callable[[], nn.Module]
) -> tuple[list[nn.Module], list[int]]:
    """Return convolutions and activations, and the shape that an image leaves in."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise([shape[0], *channels]):
        layers += [nn.Conv2d(n_in, n_out, 4, stride=2, padding=1), activation()]
    with torch.no_grad():
        left = nn.Sequential(*layers)(torch.zeros(1, *shape))
    return layers, list(left.shape[1:])


def doubling(
    channels: list[int], activation: Callable[[], nn.Module]
) -> Iterable[nn.Module]:
    """Yield activation and transposed convolution for each step of `channels`."""
    for n_in, n_out in pairwise(channels):
        yield activation()
        yield nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1)


# The kinds of cases


def gradients(config: dict[str, Any], given: Arrays) -> Arrays:
    """Return the terms of the loss and the gradient of every parameter."""
    twin, x = Twin(config), torch.from_numpy(given["x"])
    twin.to(x.dtype).load_state_dict(weights(given), strict=True)
    terms = twin.terms(x, torch.from_numpy(given["noise"]))
    terms["loss"].backward()
    grads = {f"grad/{n}": p.grad.numpy() for n, p in twin.named_parameters()}
    return {name: term.detach().numpy() for name, term in terms.items()} | grads


def updates(options: dict[str, Any], given: Arrays) -> Arrays:
    """Return the parameters after one update for each of the given gradients."""
    options = dict(options)
    optimizer, clip = options.pop("optimizer"), options.pop("clip_norm", None)
    parameters = {n: nn.Parameter(w) for n, w in weights(given).items()}
    # The loop over single parameters, which is PyTorch's definition of each of them
    update = OPTIMIZERS[optimizer](parameters.values(), foreach=False, **options)
    for step in range(len(next(iter(under(given, "gradient/").values())))):
        for name, parameter in parameters.items():
            parameter.grad = torch.tensor(given[f"gradient/{name}"][step])
        if clip is not None:
            clip_exactly([p.grad for p in parameters.values()], clip)
        update.step()
    return {name: p.detach().numpy() for name, p in parameters.items()}


def clip_exactly(grads: list[Tensor], bound: float) -> None:
    """Scale by min(1, bound / norm); `clip_grad_norm_` divides by norm + 1e-6."""
    norm = float(nn.utils.get_total_norm(grads))
    for grad in grads:
        grad.mul_(min(1.0, bound / norm))


def reconstruction(config: dict[str, Any], given: Arrays) -> Arrays:
    """Return what a model reconstructs with the weights of a run's checkpoint."""
    twin = Twin(config)
    checkpoint = Path(str(given["folder"])) / "checkpoint.safetensors"
    twin.load_state_dict(load_file(checkpoint), strict=True)
    with torch.no_grad():
        return {"recon": twin.reconstruct(torch.from_numpy(given["x"])).numpy()}


def function(options: dict[str, Any], given: Arrays) -> Arrays:
    """Return y = f(inputs) and the adjoints of the inputs, given ȳ."""
    inputs = [torch.tensor(a).requires_grad_() for a in under(given, "in/").values()]
    y = FUNCTIONS[options["name"]](*inputs, **options["params"])
    y.backward(torch.tensor(given["upstream"]))
    names = under(given, "in/")
    grads = {f"grad/{n}": x.grad.numpy() for n, x in zip(names, inputs, strict=True)}
    return {"y": y.detach().numpy()} | grads


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "conv2d": nn.functional.conv2d,
    "conv_transpose2d": nn.functional.conv_transpose2d,
    "max_pool2d": lambda x, *, kernel, **o: nn.functional.max_pool2d(x, kernel, **o),
    "avg_pool2d": lambda x, *, kernel, **o: nn.functional.avg_pool2d(x, kernel, **o),
    "upsample_nearest": lambda x, *, factor: nn.functional.interpolate(
        x, scale_factor=factor, mode="nearest"
    ),
    "layer_norm": lambda x, w, b, *, eps: nn.functional.layer_norm(
        x, w.shape, w, b, eps
    ),
}

KINDS: dict[str, Callable[[dict[str, Any], Arrays], Arrays]] = {
    "function": function,
    "gradients": gradients,
    "updates": updates,
    "reconstruction": reconstruction,
}


def under(arrays: Arrays, prefix: str) -> Arrays:
    """Return the arrays whose names begin with `prefix`, without it."""
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def weights(given: Arrays) -> dict[str, Tensor]:
    """Return the given weights as tensors of their own memory."""
    return {n: torch.tensor(w) for n, w in under(given, "weight/").items()}


def main(given_path: str, answers_path: str) -> None:
    """Answer every case, on one thread: small arrays gain nothing from more."""
    torch.set_num_threads(1)
    with np.load(given_path) as file:
        given = dict(file)
    answers = {
        f"{name}/{part}": array
        for name, case in json.loads(str(given["cases"])).items()
        for part, array in KINDS[case["kind"]](
            case["options"], under(given, f"{name}/")
        ).items()
    }
    np.savez(answers_path, **answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
