"""Convolution on a CUDA device, in Numba: the definition, a thread a result.

    y[n,o,p,q] = Σ_{c,a,b} x[n, c, s p + a − m, s q + b − m] w[o,c,a,b]

Maps and weights may lie in any order; results have their channels last.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="attr-defined"
from __future__ import annotations

from numba import cuda

from minivae_kernels.launch import numba_kernel


@numba_kernel("real[:,:,:,:], real[:,:,:,:], real[::1], real[:,:,:,::1], int32, int32")
def forward(x, w, bias, y, stride, padding):
    """A thread an output y (N, P, Q, O): every tap of its window, every channel."""
    i, (_, P, Q, O) = cuda.grid(1), y.shape  # noqa: E741
    if i < y.size:
        o, q, p, n = i % O, i // O % Q, i // (O * Q) % P, i // (O * Q * P)
        total = bias[o] if bias.size > 0 else y.dtype.type(0)
        for a in range(w.shape[2]):
            h = p * stride + a - padding
            for b in range(w.shape[3]):
                v = q * stride + b - padding
                if 0 <= h < x.shape[2] and 0 <= v < x.shape[3]:
                    for c in range(x.shape[1]):
                        total += x[n, c, h, v] * w[o, c, a, b]
        y[n, p, q, o] = total


@numba_kernel("real[:,:,:,:], real[:,:,:,:], real[::1], real[:,:,:,::1], int32, int32")
def adjoint(y, w, bias, x, stride, padding):
    """A thread a pixel's channel of x (N, H, W, C): every window over the pixel."""
    i, (_, H, W, C) = cuda.grid(1), x.shape
    if i < x.size:
        c, v, h, n = i % C, i // C % W, i // (C * W) % H, i // (C * W * H)
        total = bias[c] if bias.size > 0 else x.dtype.type(0)
        for a in range(w.shape[2]):
            above = h + padding - a  # s p, if a window has its tap a here
            for b in range(w.shape[3]):
                left = v + padding - b
                if above >= 0 and left >= 0:
                    p, q = above // stride, left // stride
                    meets = p * stride == above and q * stride == left
                    if meets and p < y.shape[2] and q < y.shape[3]:
                        for o in range(y.shape[1]):
                            total += y[n, o, p, q] * w[o, c, a, b]
        x[n, h, v, c] = total


@numba_kernel("real[:,:,:,:], real[:,:,:,:], real[:,:,:,::1], int32, int32")
def weight(x, y, w, stride, padding):
    """A thread a weight w (O, C, Kh, Kw): every image and every window."""
    i, (_, C, Kh, Kw) = cuda.grid(1), w.shape
    if i < w.size:
        b, a, c, o = i % Kw, i // Kw % Kh, i // (Kw * Kh) % C, i // (Kw * Kh * C)
        total = w.dtype.type(0)
        for n in range(y.shape[0]):
            for p in range(y.shape[2]):
                h = p * stride + a - padding
                for q in range(y.shape[3]):
                    v = q * stride + b - padding
                    if 0 <= h < x.shape[2] and 0 <= v < x.shape[3]:
                        total += x[n, c, h, v] * y[n, o, p, q]
        w[o, c, a, b] = total
