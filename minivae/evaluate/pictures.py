"""Pictures: what there is to see of a model, as arrays and as PNG."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from minivae.backend import Array
from minivae.data import Dataset, Images, Split
from minivae.errors import UserError
from minivae.evaluate.features import (
    check_latents,
    fitted_pca,
    kl_per_latent,
    mean_codes,
)
from minivae.files import write
from minivae.models import VAE, Autoencoder, MixtureVAE
from minivae.random import Noise, Stream

WIDTH = 960  # pixels, about: that of a picture on a page
GAP = 2
MOST_FRAMES = 500  # of a GIF
MOST_STEPS = 100  # a side of a grid
FRAME_TIME = 80  # milliseconds
FADE = "pixels"
PATHS = ("linear", "spherical", FADE)


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


def as_npy(array: Array) -> bytes:
    """Encode an array as .npy."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def as_gif(sheets: Sequence[Array], milliseconds: int = FRAME_TIME) -> bytes:
    """Encode pictures (H', W', C), shown one after another for ever, as a GIF."""
    from PIL import Image

    scale = max(1, round(WIDTH / 2 / sheets[0].shape[1]))
    frames = []
    for sheet in sheets:
        levels = np.rint(255 * sheet.clip(0, 1)).astype(np.uint8)
        large = levels.repeat(scale, axis=0).repeat(scale, axis=1)
        frames.append(Image.fromarray(large[..., 0] if large.shape[2] == 1 else large))
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=frames[1:],
        duration=milliseconds,
        loop=0,
    )
    return buffer.getvalue()


def framed(images: Array, marked: Array, width: int = 2) -> Array:
    """Return images as RGB with a frame, orange where `marked` (N,), else grey."""
    colours = np.where(marked[:, None], (0.90, 0.35, 0.0), (0.5, 0.5, 0.5))
    N, C, H, W = images.shape
    sheet = np.empty((N, 3, H + 2 * width, W + 2 * width), np.float32)
    sheet[:] = colours[:, :, None, None]
    sheet[:, :, width:-width, width:-width] = images if C == 3 else images[:, :1]
    return sheet


def save(images: Array, columns: int, stem: Path) -> list[Path]:
    """Write images as `stem`.png (a grid) and `stem`.npy (N, C, H, W)."""
    return save_files(contents(images, columns), stem)


def contents(images: Array, columns: int) -> dict[str, bytes]:
    """Return what `save` writes, by suffix."""
    return {".png": as_png(grid(images, columns)), ".npy": as_npy(images)}


def save_files(files: Mapping[str, bytes], stem: Path) -> list[Path]:
    """Write `stem` + suffix for each of `files`; returns the paths."""
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {stem.parent}: {error.strerror}") from error
    paths = [stem.with_name(stem.name + suffix) for suffix in files]
    for path, content in zip(paths, files.values(), strict=True):
        write(path, content)
    return paths


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
    paths: Sequence[str] = ("linear",),
) -> Array:
    """Return, for each pair of image numbers, a row of images for each path.

    "linear" and "spherical" are decoded paths between the mean codes, "pixels" fades
    the one grey image into the other.
    """
    images = data.split(split)
    for number in {number for pair in pairs for number in pair}:
        _check_number(number, images.grey, split)
    rows = [
        path_between(model, images, pair, steps, path)
        for pair in pairs
        for path in paths
    ]
    return np.concatenate(rows)


def path_between(
    model: Autoencoder, split: Split, pair: tuple[int, int], steps: int, path: str
) -> Array:
    """Return a row of images from one of a split to another along a path."""
    a, b = pair
    if path != FADE:
        return model.interpolate(split.images[a], split.images[b], steps, path)
    if steps < 2:
        raise UserError(f"a line needs at least its two ends, not {steps} steps")
    t = np.linspace(0, 1, steps, dtype=np.float32)[:, None, None, None]
    faded: Array = (1 - t) * split.grey[a] + t * split.grey[b]
    return faded


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
    _check_number(number, images, split)
    rows = [model.traverse(images[number], latent, values) for latent in latents]
    return np.concatenate(rows)


def traversal_film(
    model: Autoencoder,
    data: Dataset,
    split: str,
    number: int,
    latents: Sequence[int],
    span: float,
    frames: int,
) -> list[Array]:
    """Return pictures in which every latent swings from −span to span and back.

    Each shows one image for each latent, moved alone; the last leads to the first.
    """
    if not 2 <= frames <= MOST_FRAMES:
        raise UserError(
            f"a GIF of {frames:,} frames: give 2 to {MOST_FRAMES}, which take "
            f"{MOST_FRAMES * FRAME_TIME // 1000} seconds"
        )
    swing = -np.cos(2 * np.pi * np.arange(frames) / frames)
    values = (span * swing).astype(np.float32)
    rows = traversals(model, data, split, number, latents, values)
    moments = rows.reshape(len(latents), frames, *model.shape).swapaxes(0, 1)
    columns = math.ceil(math.sqrt(len(latents)))
    return [grid(moment, columns) for moment in moments]


def manifold(
    model: Autoencoder, data: Dataset, steps: int, latents: Sequence[int] = (0, 1)
) -> Array:
    """Decode a grid over two latents, at equal shares of what is likely: (steps²,...).

    Left to right the first latent rises, bottom to top the second. The values are the
    quantiles (i + ½) / steps of the prior N(0, 1); of codes that have no such prior,
    those of the validation images' mean codes. Other latents are 0, or the mean code.
    """
    if len(latents) != 2 or latents[0] == latents[1]:
        raise UserError(f"a manifold is drawn over two latents, not {list(latents)}")
    check_latents(model, latents)
    if isinstance(model, VAE) and not isinstance(model, MixtureVAE):
        quantiles = np.repeat(normal_quantiles(steps)[:, None], 2, axis=1)
        codes = np.zeros((steps * steps, model.latent))
    else:
        seen = mean_codes(model, data.validation.images)
        shares = (np.arange(steps) + 0.5) / steps
        quantiles = np.quantile(seen[:, list(latents)], shares, axis=0)
        codes = np.repeat(seen.mean(axis=0)[None], steps * steps, axis=0)
    codes[:, latents[0]] = np.tile(quantiles[:, 0], steps)
    codes[:, latents[1]] = np.repeat(quantiles[::-1, 1], steps)
    return model.picture(codes.astype(model.dtype))


def linear_manifold(data: Dataset, steps: int) -> Array:
    """Return the same grid over the first two principal components of the pixels."""
    pca = fitted_pca(data.train.images, 2)
    quantiles = normal_quantiles(steps)
    points = np.stack(
        [np.tile(quantiles, steps), np.repeat(quantiles[::-1], steps)], axis=1
    )
    decoded = pca.inverse_transform(points * np.sqrt(pca.explained_variance_))
    images: Array = decoded.reshape(-1, *data.shape).clip(0, 1).astype(np.float32)
    return images


def normal_quantiles(steps: int) -> Array:
    """Return the quantiles (i + ½) / steps of N(0, 1)."""
    from scipy.stats import norm

    if not 2 <= steps <= MOST_STEPS:
        raise UserError(f"a grid has 2 to {MOST_STEPS} steps a side, not {steps:,}")
    quantiles: Array = norm.ppf((np.arange(steps) + 0.5) / steps)
    return quantiles


def liveliest(kl_per_latent: Sequence[float], count: int) -> list[int]:
    """Return the latents with the largest KL, largest first."""
    return [int(i) for i in np.argsort(kl_per_latent)[::-1][:count]]


def ranked_latents(
    model: Autoencoder, data: Dataset
) -> tuple[list[int], list[float], str]:
    """Return the latents in the order of what they carry, how much, and of what.

    That is their KL over the validation images; where there is none of each latent,
    the variance of the mean codes.
    """
    images = data.validation.images
    carried, what = kl_per_latent(model, images), "KL"
    if not carried:
        variances = mean_codes(model, images).var(axis=0)
        carried, what = [float(v) for v in variances], "variance"
    order = liveliest(carried, model.latent)
    return order, [carried[i] for i in order], what


def _check_number(number: int, images: Images, split: str) -> None:
    if not 0 <= number < len(images):
        raise UserError(f"no image {number}: {split} has 0 to {len(images) - 1}")
