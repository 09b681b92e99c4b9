"""Pictures: what there is to see of a model, as arrays and as PNG."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minivae.backend import Array
from minivae.data import Dataset
from minivae.errors import UserError
from minivae.files import write
from minivae.models import Autoencoder
from minivae.random import Noise, Stream

WIDTH = 960  # pixels, about: that of a picture on a page
GAP = 2


def grid(images: Array, columns: int) -> Array:
    """Tile images (N, C, H, W) in [0, 1] row by row into one (H', W', C) picture.

    The gaps are mid-grey, so that both white and black images show their edge. Images
    that are neither grey nor RGB are shown channel by channel.
    """
    if images.shape[1] not in (1, 3):
        images = images.reshape(-1, 1, *images.shape[2:])
    N, C, H, W = images.shape
    rows = math.ceil(N / columns)
    sheet = np.full((rows * (H + GAP) + GAP, columns * (W + GAP) + GAP, C), 0.5)
    for i, image in enumerate(images):
        top = GAP + (i // columns) * (H + GAP)
        left = GAP + (i % columns) * (W + GAP)
        sheet[top : top + H, left : left + W] = image.transpose(1, 2, 0)
    return sheet.clip(0, 1)


def as_png(sheet: Array) -> bytes:
    """Encode a picture as PNG, each pixel enlarged by a whole number to be seen."""
    from matplotlib import image

    scale = max(1, round(WIDTH / sheet.shape[1]))
    sheet = sheet.repeat(scale, axis=0).repeat(scale, axis=1)
    if sheet.shape[2] == 1:
        sheet = sheet.repeat(3, axis=2)
    if sheet.shape[2] != 3:
        raise UserError(f"a picture has 1 or 3 channels, not {sheet.shape[2]}")
    buffer = io.BytesIO()
    image.imsave(buffer, np.ascontiguousarray(sheet), format="png")
    return buffer.getvalue()


def as_sheet(images: Array, columns: int) -> tuple[bytes, tuple[int, int]]:
    """Encode images, tiled, as a PNG of their own pixels; returns it and its size.

    Between and around them is a transparent pixel: they take the colour behind.
    """
    if images.shape[1] not in (1, 3):
        images = images.reshape(-1, 1, *images.shape[2:])
    N, C, H, W = images.shape
    rows = math.ceil(N / columns)
    height, width = rows * (H + 1) + 1, columns * (W + 1) + 1
    sheet = np.zeros((height, width, C + 1), np.uint8)
    levels = np.rint(255 * images.clip(0, 1)).astype(np.uint8).transpose(0, 2, 3, 1)
    for i, image in enumerate(levels):
        top, left = 1 + (i // columns) * (H + 1), 1 + (i % columns) * (W + 1)
        sheet[top : top + H, left : left + W, :C] = image
        sheet[top : top + H, left : left + W, C] = 255
    return _png(sheet), (width, height)


def _png(pixels: Array) -> bytes:
    """Encode bytes (H, W, C), the last channel alpha, with C = 2 (grey) or 4 (RGB)."""
    H, W, C = pixels.shape
    header = struct.pack(">IIBBBBB", W, H, 8, {2: 4, 4: 6}[C], 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)  # 0: no filter
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data))
        + name
        + data
        + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def save(images: Array, columns: int, stem: Path) -> list[Path]:
    """Write images as `stem`.png (a grid) and `stem`.npy (N, C, H, W)."""
    array = io.BytesIO()
    np.save(array, images, allow_pickle=False)
    contents = {".png": as_png(grid(images, columns)), ".npy": array.getvalue()}
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {stem.parent}: {error.strerror}") from error
    paths = {stem.with_name(stem.name + suffix): suffix for suffix in contents}
    for path, suffix in paths.items():
        write(path, contents[suffix])
    return list(paths)


# What there is to see of a model


def reconstructions(model: Autoencoder, data: Dataset, split: str, n: int) -> Array:
    """Return n images of a split, each followed by its reconstruction."""
    originals = data.split(split).images[:n]
    pairs = np.stack([originals, model.reconstruct(originals)], axis=1)
    return pairs.reshape(-1, *originals.shape[1:])


def samples(model: Autoencoder, n: int, seed: int) -> Array:
    """Return n images decoded from draws of N(0, I)."""
    return model.sample(n, Noise(seed, Stream.PRIOR))


def interpolations(
    model: Autoencoder,
    data: Dataset,
    split: str,
    pairs: Sequence[tuple[int, int]],
    steps: int,
) -> Array:
    """Return, for each pair of image numbers, the decoded line between their codes."""
    images = data.split(split).images
    for number in {number for pair in pairs for number in pair}:
        if not 0 <= number < len(images):
            raise UserError(f"no image {number}: {split} has 0 to {len(images) - 1}")
    lines = [model.interpolate(images[a], images[b], steps) for a, b in pairs]
    return np.concatenate(lines)


def traversals(
    model: Autoencoder,
    data: Dataset,
    split: str,
    number: int,
    latents: Sequence[int],
    values: Array,
) -> Array:
    """Return, for each latent, one image decoded with that latent at each value."""
    images = data.split(split).images
    if not 0 <= number < len(images):
        raise UserError(f"no image {number}: {split} has 0 to {len(images) - 1}")
    rows = [model.traverse(images[number], latent, values) for latent in latents]
    return np.concatenate(rows)


def liveliest(kl_per_latent: Sequence[float], count: int) -> list[int]:
    """Return the latents with the largest KL, largest first."""
    return [int(i) for i in np.argsort(kl_per_latent)[::-1][:count]]
