"""What is checked against something exact.

`run(name)` yields the claims of an oracle, `judge(subject)` those of a VAE behind the
protocol of `minivae.verify.protocol`, `claims(model)` the gradient checks.
"""

from __future__ import annotations

from collections.abc import Iterator

from minivae.gradcheck import Claim
from minivae.verify.gradients import claims

__all__ = ["claims", "judge", "load", "run"]


def run(
    name: str | None = None, latent: int = 5, device: str = "cpu"
) -> Iterator[Claim]:
    """Yield the claims of one oracle, or of all.

    `latent` is the number of latents of those about linear models, 1 to 32. On the
    device "ptx", kernels run in the interpreter; of all oracles, those small enough.
    """
    from minivae import backend
    from minivae.errors import UserError
    from minivae.verify import oracles

    if not 1 <= latent <= 32:
        raise UserError(f"the linear oracles take 1 to 32 latents, not {latent}")
    if device not in ("cpu", "ptx"):
        raise UserError(f"verify runs on cpu or ptx, not {device}")
    for oracle in oracles.named(name, device):
        with backend.running_on(device):
            yield from oracle.claims(latent)


def judge(subject: object, only: str | None = None) -> Iterator[Claim]:
    """Yield the claims of the checks that apply to a VAE behind the protocol."""
    from minivae.verify import suite

    return suite.judge(subject, only)  # type: ignore[arg-type]


def load(text: str) -> object:
    """Import and make the VAE that "module:Name" says."""
    from minivae.verify import protocol

    return protocol.load(text)
