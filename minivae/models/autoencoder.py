"""The autoencoder: a code, and nothing said about how codes are distributed."""

from __future__ import annotations

from minivae import nn
from minivae.backend import Array
from minivae.distributions import NoiseLike
from minivae.models.base import Autoencoder, LossTerms
from minivae.ops.losses import Reduction
from minivae.random import Noise
from minivae.tensor import Tensor


class AE(Autoencoder):
    """z = encoder(x), x̂ = decoder(z), loss = recon(x̂, x)."""

    name = "ae"
    has_kl = False

    def add_heads(self, noise: Noise) -> None:
        """Add one linear layer from the last hidden layer to the code."""
        self.code_layer = nn.Linear(self.code_inputs, self.latent, noise)

    def encode(self, x: Tensor | Array, dropout: Noise | None = None) -> Tensor:
        """Return the code (N, Z)."""
        return self.code_layer(self.hidden_code(x, dropout))

    def loss_terms(
        self,
        x: Tensor | Array,
        noise: NoiseLike | None = None,
        *,
        warmth: float = 1.0,
        dropout: Noise | None = None,
        reduction: Reduction = "mean",
    ) -> LossTerms:
        """Return the reconstruction term; noise and warmth have nothing to act on."""
        x = self.here(x)
        recon = self.recon(self.encode(x, dropout), x, dropout, reduction)
        return LossTerms(recon, recon, None)
