"""minivae: autoencoders from scratch, every step visible, every number checked.

import minivae as mv

data = mv.data.load("fashion10k:dynamic")
model = mv.VAE(data.shape, latent=20)
run = mv.fit(model, data, epochs=5)
print(mv.evaluate.ledger(run.model, data))
"""

from minivae import ops, tensor

tensor.ops = ops  # the operators of Tensor reach the ops through this reference

from minivae import (  # noqa: E402 (what follows needs the operators)
    data,
    distributions,
    evaluate,
    gradcheck,
    models,
    nn,
    optim,
    study,
    verify,
)
from minivae.page import notebook  # noqa: E402

study.recording.notebook = notebook
tensor.Tensor._repr_html_ = notebook.tensor_html  # type: ignore[attr-defined]

from minivae.errors import UserError  # noqa: E402
from minivae.models import (  # noqa: E402
    AE,
    IWAE,
    VAE,
    BernoulliVAE,
    BetaVAE,
    DenoisingAE,
    MixtureVAE,
)
from minivae.random import Noise  # noqa: E402
from minivae.tensor import Parameter, Tensor, no_grad  # noqa: E402
from minivae.train import Run, fit, load_run, resume  # noqa: E402

__all__ = [
    "AE",
    "IWAE",
    "VAE",
    "BernoulliVAE",
    "BetaVAE",
    "DenoisingAE",
    "MixtureVAE",
    "Noise",
    "Parameter",
    "Run",
    "Tensor",
    "UserError",
    "data",
    "distributions",
    "evaluate",
    "fit",
    "gradcheck",
    "load_run",
    "models",
    "nn",
    "no_grad",
    "ops",
    "optim",
    "resume",
    "study",
    "verify",
]
