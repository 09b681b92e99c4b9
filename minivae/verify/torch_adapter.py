"""A VAE in PyTorch behind the protocol, of the shape that most public ones have.

    encode(x) -> (mu, logvar),  reparameterize(mu, logvar) -> z,  decode(z) -> images

and a function loss_function(recon_x, x, mu, logvar), of the module's file or a method.
The module's noise is given to it: while `reparameterize` runs, torch's normal draws
return what the check says. What the loss has at mu = logvar = 0 is its reconstruction
term, the rest its KL. Attributes of the module may say `likelihood`, `sigma2`, `beta`,
`pixels`, `latent`, `mean` (True if its loss is a mean over the batch already) and
`returns_logits`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from minivae.backend import Array
from minivae.errors import UserError


class OfTorch:
    """A torch module as a subject: parameters and buffers are taken to float64."""

    def __init__(self, module: Any, loss_function: Callable[..., Any] | None) -> None:
        self.torch: Any = import_module("torch")
        self.module = module.double().eval()
        name = type(module).__name__
        needed = ("encode", "decode", "reparameterize")
        missing = [part for part in needed if not hasattr(module, part)]
        loss_function = getattr(module, "loss_function", loss_function)
        if loss_function is None:
            missing.append("loss_function")
        if missing:
            raise UserError(
                f"{name} lacks {', '.join(missing)}: a torch VAE needs encode(x), "
                "reparameterize(mu, logvar), decode(z) and "
                "loss_function(recon_x, x, mu, logvar)"
            )
        self.loss_function: Any = loss_function
        self.likelihood = getattr(module, "likelihood", "bernoulli")
        for part in ("sigma2", "beta"):
            if hasattr(module, part):
                setattr(self, part, float(getattr(module, part)))
        self.pixels = int(getattr(module, "pixels", self._first_size(1)))
        self.latent = int(getattr(module, "latent", 0)) or self._latent()

    def _first_size(self, axis: int) -> int:
        shapes = (p.shape for p in self.module.parameters() if p.ndim == 2)
        first = next(shapes, None)
        if first is None:
            raise UserError(f"say {type(self.module).__name__}.pixels and .latent")
        return int(first[axis])

    def _latent(self) -> int:
        mu, _ = self.encode(np.zeros((1, self.pixels)))
        return int(mu.shape[1])

    def _tensor(self, array: Array) -> Any:
        return self.torch.as_tensor(np.array(array, np.float64))

    def encode(self, x: Array) -> tuple[Array, Array]:
        """Return mu and logvar."""
        with self.torch.no_grad():
            mu, logvar = self.module.encode(self._tensor(x))
        return mu.numpy(), logvar.numpy()

    def sample(self, mu: Array, logvar: Array, eps: Array) -> Array:
        """Return z, the module's normal draws being eps."""
        with self.torch.no_grad(), self._drawing(eps):
            z = self.module.reparameterize(self._tensor(mu), self._tensor(logvar))
        return z.numpy()

    @contextmanager
    def _drawing(self, eps: Array) -> Iterator[None]:
        """Let torch's normal draws be `eps`."""
        torch, drawn = self.torch, self._tensor(eps)
        before = torch.randn_like, torch.randn, torch.Tensor.normal_, torch.normal

        def given(*sizes: Any, **options: Any) -> Any:
            return drawn.clone()

        def at(mean: Any, std: Any, *rest: Any, **options: Any) -> Any:
            return mean + std * drawn

        torch.randn_like, torch.randn, torch.Tensor.normal_ = given, given, given
        torch.normal = at
        try:
            yield
        finally:
            torch.randn_like, torch.randn, torch.Tensor.normal_, torch.normal = before

    def decode(self, z: Array) -> Array:
        """Return what the likelihood takes; probabilities become logits."""
        with self.torch.no_grad():
            decoded = self.module.decode(self._tensor(z)).numpy().reshape(len(z), -1)
        if self.likelihood == "bernoulli" and not self._returns_logits():
            return np.log(decoded) - np.log1p(-decoded)
        return decoded

    def _returns_logits(self) -> bool:
        return bool(getattr(self.module, "returns_logits", False))

    def _total(self, decoded: Array, x: Array, mu: Array, logvar: Array) -> float:
        """The module's loss of a batch, per image."""
        if self.likelihood == "bernoulli" and not self._returns_logits():
            decoded = 1 / (1 + np.exp(-np.asarray(decoded, np.float64)))
        with self.torch.no_grad():
            loss = self.loss_function(*map(self._tensor, (decoded, x, mu, logvar)))
        loss = loss["loss"] if isinstance(loss, dict) else loss
        loss = loss[0] if isinstance(loss, tuple) else loss
        mean = getattr(self.module, "mean", False)
        return float(loss) / (1 if mean else len(x))

    def _apart(self, decoded: Array, x: Array, mu: Array, logvar: Array) -> Array:
        rows = zip(decoded, x, mu, logvar, strict=True)
        return np.array([self._total(*(a[None] for a in row)) for row in rows])

    def log_likelihood(self, decoded: Array, x: Array) -> Array:
        """Return minus the loss of each image at mu = logvar = 0."""
        zero = np.zeros((len(x), self.latent))
        return -self._apart(decoded, x, zero, zero)

    def kl(self, mu: Array, logvar: Array) -> Array:
        """Return the loss at mu and logvar less that at 0, over beta."""
        x = np.zeros((len(mu), self.pixels))
        zero = np.zeros_like(mu)
        apart = self._apart(x, x, mu, logvar) - self._apart(x, x, zero, zero)
        return apart / getattr(self, "beta", 1.0)

    def loss(self, x: Array, eps: Array) -> tuple[float, float, float]:
        """Return loss, recon and kl, means over the batch."""
        mu, logvar = self.encode(x)
        decoded = self.decode(self.sample(mu, logvar, eps))
        zero = np.zeros_like(mu)
        whole = self._total(decoded, x, mu, logvar)
        recon = self._total(decoded, x, zero, zero)
        return whole, recon, (whole - recon) / getattr(self, "beta", 1.0)
