"""Every operation by family: the index of the engine's algebra.

Each op stands beside its rules and their formulas. x̄ is the adjoint ∂loss/∂x; ⊙ and
plain products of arrays of one shape are elementwise. Rules never sum back what
broadcasting repeated: the engine does that once, for all of them.
"""

from minivae.ops.activations import (
    dropout,
    elu,
    leaky_relu,
    relu,
    sigmoid,
    softplus,
    tanh,
)
from minivae.ops.arithmetic import (
    abs,
    add,
    div,
    exp,
    expm1,
    log,
    log1p,
    maximum,
    mul,
    neg,
    pow,
    sqrt,
    sub,
    where,
)
from minivae.ops.conv import conv2d, conv_transpose2d
from minivae.ops.linear import linear, matmul
from minivae.ops.losses import (
    bernoulli_nll,
    gaussian_kl,
    gaussian_nll,
    logmeanexp,
    reparameterize,
    reparameterize_kl,
    soft_bce,
    squared_error,
)
from minivae.ops.normalise import layer_norm
from minivae.ops.pooling import avg_pool2d, max_pool2d, upsample_nearest
from minivae.ops.reduce import logsumexp, max, mean, sum
from minivae.ops.shape import (
    broadcast_to,
    concatenate,
    getitem,
    reshape,
    stack,
    transpose,
)

__all__ = [
    "abs",
    "add",
    "avg_pool2d",
    "bernoulli_nll",
    "broadcast_to",
    "concatenate",
    "conv2d",
    "conv_transpose2d",
    "div",
    "dropout",
    "elu",
    "exp",
    "expm1",
    "gaussian_kl",
    "gaussian_nll",
    "getitem",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log",
    "log1p",
    "logmeanexp",
    "logsumexp",
    "matmul",
    "max",
    "max_pool2d",
    "maximum",
    "mean",
    "mul",
    "neg",
    "pow",
    "relu",
    "reparameterize",
    "reparameterize_kl",
    "reshape",
    "sigmoid",
    "soft_bce",
    "softplus",
    "sqrt",
    "squared_error",
    "stack",
    "sub",
    "sum",
    "tanh",
    "transpose",
    "upsample_nearest",
    "where",
]
