"""Sprites: the geometry that is promised, every factor in its period, files and all."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import done, refused
from tolerances import FLOAT32

import minivae as mv
from minivae.backend import Array
from minivae.data import MODES, Factors, Sprites, factor_files, load
from minivae.data.factor_files import read_factored, thinned, write_sprites
from minivae.data.sprites import FULL, PERIODS, SHAPES, SMALL
from minivae.errors import UserError

SPLITS = ("train", "validation", "test")
TINY = (3, 2, 4, 3, 3)
SAMPLE = 0.125  # pixels: half of the distance between the points that are looked at
each_shape = pytest.mark.parametrize("shape", range(3), ids=SHAPES)


def lit(image: Array) -> tuple[Array, Array, Array]:
    """Levels, and where the pixels' centres are, of an image of 64x64."""
    levels = image[0].astype(np.float64)
    at = np.arange(64) + 0.5
    return levels, at[:, None], at


def centroid(image: Array) -> tuple[float, float]:
    levels, y, x = lit(image)
    return float((levels * x).sum() / levels.sum()), float(
        (levels * y).sum() / levels.sum()
    )


# Geometry, in pixels of a 64x64 image


@pytest.mark.parametrize(("scale", "s"), [(0, 0.5), (3, 0.8), (5, 1.0)])
@pytest.mark.parametrize(
    ("shape", "area"), [(0, 400.0), (1, np.pi * 91), (2, 222.0)], ids=SHAPES
)
def test_a_shape_has_its_area_at_every_angle(
    shape: int, area: float, scale: int, s: float
) -> None:
    sprites = Sprites(64)
    for k in (0, 7, 13, 39):
        image = sprites.at(shape=shape, scale=scale, orientation=k)
        assert abs(image.sum() / (area * s * s) - 1) <= 0.02


def test_extents_are_those_of_the_note() -> None:
    sprites = Sprites(64, binary=True)
    boxes = {0: (20, 20), 1: (26, 14), 2: (20, 17)}
    for shape, (wide, high) in boxes.items():
        levels, _, _ = lit(sprites.at(shape=shape, scale=5, orientation=0))
        assert abs(levels.any(axis=0).sum() - wide) <= 1
        assert abs(levels.any(axis=1).sum() - high) <= 1


@pytest.mark.parametrize(("i", "p"), [(0, 16.0), (31, 48.0), (10, 16 + 320 / 31)])
def test_positions_run_over_the_middle_half(i: int, p: float) -> None:
    sprites = Sprites(64)
    for shape in (0, 1):
        x, y = centroid(sprites.at(shape=shape, scale=5, orientation=0, x=i, y=31 - i))
        assert abs(x - p) <= SAMPLE
        assert abs(y - (64 - p)) <= SAMPLE


def test_a_heart_stands_on_its_point_its_centroid_above_the_centre() -> None:
    image = Sprites(64, (3, 6, 40, 1, 1)).at(shape=2, scale=5, orientation=0)
    x, y = centroid(image)
    assert abs(x - 32) <= 0.05
    assert abs(32 - y - 1.93) <= 0.05
    widths = image[0].sum(axis=1)
    rows = np.flatnonzero(widths)
    assert widths[rows[-1]] < widths[rows[0]]  # the point is below


def test_angles_turn_counter_clockwise() -> None:
    heart = Sprites(64, (3, 6, 4, 1, 1))
    x, y = centroid(heart.at(shape=2, scale=5, orientation=1))  # by 90 degrees
    assert abs(32 - x - 1.93) <= 0.05  # what was above is now on the left
    assert abs(y - 32) <= 0.05


@each_shape
def test_a_shape_is_itself_again_after_its_period_and_not_before(shape: int) -> None:
    sprites = Sprites(64, (3, 6, 8, 1, 1))
    images = [sprites.at(shape=shape, scale=5, orientation=k) for k in range(8)]
    for k in range(1, 8):
        assert np.abs(images[k] - images[0]).sum() > 4
    whole = np.array([[shape, 5, 0, 0, 0]])
    angles = [PERIODS[shape] * k / 8 for k in range(8)]
    classes = np.repeat(whole, 8, axis=0)
    classes[:, 2] = np.arange(8)
    np.testing.assert_allclose(sprites.values(classes)[:, 2], angles)
    # turned by one more period, by way of a grid in which that is half of the circle
    counts = np.zeros((1, 64, 64), np.uint8)
    values = sprites.values(whole) + np.array([0, 0, PERIODS[shape], 0, 0])
    sprites._draw_window(counts, np.array([0]), shape, values)
    assert np.abs(counts / np.float32(16) - images[0]).sum() <= 1


@pytest.mark.parametrize("size", [16, 32])
def test_smaller_images_are_the_large_ones_seen_from_afar(size: int) -> None:
    grid, k = (3, 3, 5, 3, 3), 64 // size
    small, large = Sprites(size, grid), Sprites(64, grid)
    rows = np.arange(0, len(small), 7)
    blocks = large[rows].reshape(-1, 1, size, k, size, k).mean(axis=(3, 5))
    assert np.abs(blocks - small[rows]).mean() <= 0.005
    assert np.abs(blocks - small[rows]).max() <= 0.25


def test_a_binary_pixel_is_its_centre_an_antialiased_one_a_share() -> None:
    rows = np.arange(0, 2000, 13)
    binary, grey = Sprites(32, SMALL, binary=True)[rows], Sprites(32, SMALL)[rows]
    assert set(np.unique(binary)) == {0, 1}
    assert set(np.unique(grey * 16)) == set(range(17))
    assert ((grey > 0.75) <= (binary == 1)).mean() > 0.999
    assert binary[grey == 0].sum() == 0


# The grid


def test_the_full_grid_has_the_images_of_dsprites() -> None:
    assert len(Sprites(64)) == 737_280
    assert Sprites(64).factors.sizes == FULL


def test_an_image_is_found_by_its_factors_and_the_factors_by_its_number() -> None:
    sprites = Sprites(16)
    rows = np.array([0, 1, 32, 737_279, 400_123])
    classes = sprites.factors.classes(rows)
    np.testing.assert_array_equal(sprites.factors.index(classes), rows)
    np.testing.assert_array_equal(classes[1], [0, 0, 0, 0, 1])
    named = dict(zip(sprites.factors.names, classes[4].tolist(), strict=True))
    np.testing.assert_array_equal(sprites.at(**named), sprites[400_123])
    np.testing.assert_array_equal(sprites[rows][4], sprites[400_123])
    np.testing.assert_array_equal(sprites[10:13], sprites[[10, 11, 12]])
    assert sprites[[]].shape == (0, 1, 16, 16)
    tiny = Sprites(16, TINY)
    np.testing.assert_array_equal(np.stack(list(tiny)), tiny[:])


def test_an_image_does_not_depend_on_those_drawn_with_it() -> None:
    sprites = Sprites(16, SMALL)
    rows = np.random.default_rng(0).permutation(len(sprites))[:500]
    together = sprites[rows]
    for i in (0, 123, 499):
        np.testing.assert_array_equal(sprites[int(rows[i])], together[i])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Sprites(28), "16, 32 or 64"),
        (lambda: Sprites(16, (4, 1, 1, 1, 1)), "there are 3 shapes"),
        (lambda: Sprites(16, (3, 2)), "five sizes"),
        (lambda: Sprites(16, (3, 0, 1, 1, 1)), "at least one value"),
        (lambda: Sprites(16, (3, 1 << 20, 1 << 20, 1, 1)), "too many"),
        (lambda: Sprites(16)[737_280], "no image 737280: there are 0 to 737279"),
        (lambda: Sprites(16)[-1], "no image -1"),
        (lambda: Sprites(16)[np.ones(3, bool)], "indexed by a number"),
        (lambda: Sprites(16)[[0.5]], "indexed by a number"),
        (lambda: Sprites(16)[[[0, 1]]], "indexed by a number"),
        (lambda: Sprites(16).at(colour=1), "no factor 'colour'; have shape"),
        (lambda: Sprites(16).at(x=32), "x takes the values 0 to 31"),
        (lambda: Factors(("a", "a"), (2, 2)), "do not match"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        call()


BUDGET = """
import pathlib, resource, sys
import numpy as np
from minivae.data import Sprites
sprites = Sprites(64)
rows = np.random.default_rng(0).integers(0, len(sprites), 2000)
total = sum(float(sprites[part].sum()) for part in np.array_split(rows, 8))
factors = sprites.factors.classes(np.arange(len(sprites)))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
peak *= 1 if sys.platform == "darwin" else 1024
status = pathlib.Path("/proc/self/status")
if status.exists():  # ru_maxrss begins with the peak of the process that forked
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    peak = 1024 * int(lines["VmHWM"].split()[0])
print(len(factors), total > 0, peak)
"""


def test_the_full_set_is_indexed_within_300_megabytes() -> None:
    run = [sys.executable, "-c", BUDGET]
    told = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    count, drawn, peak = told.split()
    assert (count, drawn) == ("737280", "True")
    assert int(peak) < 300e6


# As data sets


@pytest.mark.parametrize("mode", MODES)
def test_sprites_are_a_data_set_under_every_mode(mode: str) -> None:
    data = load(f"sprites16:{mode}")
    assert data.name == f"sprites16:{mode}"
    assert data.shape == (1, 16, 16)
    assert [len(data.split(s)) for s in SPLITS] == [9600, 1200, 1200]
    assert data.binary == (mode != "gray")
    assert data.factors is not None
    assert data.factors.names == ("shape", "scale", "orientation", "x", "y")
    assert data.factors.sizes == SMALL
    assert data.classes == SHAPES


def test_the_factors_of_a_split_are_those_its_images_were_drawn_from() -> None:
    data, sprites = load("sprites16"), Sprites(16, SMALL)
    seen: set[int] = set()
    for split in map(data.split, SPLITS):
        assert split.factors is not None
        np.testing.assert_array_equal(sprites.draw(split.factors), split.grey)
        np.testing.assert_array_equal(split.labels, split.factors[:, 0])
        seen |= set(sprites.factors.index(split.factors).tolist())
    assert seen == set(range(12_000))


def test_the_images_of_sprites16_never_change() -> None:
    assert load("sprites16").digest() == (
        "411ec53adf717e299503136e179be48b9fb451482d520005c6d1a8027e64d517"
    )


def test_other_sets_have_no_factors() -> None:
    assert load("digits").factors is None
    assert load("digits").test.factors is None


# Files


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "sprites.npz"
    write_sprites(path, Sprites(16, TINY, binary=True))
    return path


def test_a_file_that_was_made_is_read_with_its_factors(made: Path) -> None:
    data = load(str(made))
    assert data.factors == Factors(Sprites().factors.names, TINY, ("shape",))
    assert data.binary
    sprites = Sprites(16, TINY, binary=True)
    for split in map(data.split, SPLITS):
        np.testing.assert_array_equal(sprites.draw(split.factors), split.grey)
        np.testing.assert_array_equal(split.labels, split.factors[:, 0])


def test_a_file_that_was_made_is_read_by_numpy(made: Path) -> None:
    with np.load(made) as held:
        assert held["imgs"].shape == (216, 16, 16)
        assert held["imgs"].dtype == np.uint8
        sprites = Sprites(16, TINY)
        classes = sprites.factors.classes(np.arange(216))
        np.testing.assert_array_equal(held["latents_classes"], classes)
        np.testing.assert_array_equal(held["latents_values"], sprites.values(classes))
        assert tuple(held["factor_names"]) == sprites.factors.names


def test_grey_levels_survive_a_file_to_a_byte(tmp_path: Path) -> None:
    sprites = Sprites(16, TINY)
    write_sprites(tmp_path / "grey.npz", sprites)
    held = read_factored(tmp_path / "grey.npz")
    assert held is not None
    assert np.abs(held.images - sprites[:]).max() <= 0.5 / 255 + FLOAT32


def dsprites(**other: Any) -> bytes:
    """A file as dSprites has it, of other images: with colour, and a pickle."""
    sprites = Sprites(16, TINY, binary=True)
    classes = sprites.factors.classes(np.arange(len(sprites)))
    arrays = {
        "metadata": np.array({"title": "dSprites"}, dtype=object),
        "imgs": sprites.levels(classes)[:, 0],
        "latents_classes": np.insert(classes, 0, 0, axis=1),
        "latents_values": np.insert(sprites.values(classes), 0, 1, axis=1),
    }
    buffer = io.BytesIO()
    kept = {n: a for n, a in (arrays | other).items() if a is not None}
    np.savez_compressed(buffer, **kept)
    return buffer.getvalue()


def test_dsprites_own_layout_is_read_and_its_pickle_is_not(tmp_path: Path) -> None:
    path = tmp_path / "dsprites.npz"
    path.write_bytes(dsprites())
    data = load(str(path))
    assert data.factors is not None
    assert data.factors.names == ("shape", "scale", "orientation", "posX", "posY")
    assert data.factors.sizes == TINY  # colour, which never varies, is left out
    assert data.binary
    assert data.train.grey.max() == 1


@pytest.mark.parametrize("block", [1, 1 << 12, 1 << 22])
@pytest.mark.parametrize("most", [216, 200, 100, 20])
def test_of_too_large_a_set_a_part_of_each_factors_values_is_kept(
    most: int, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factor_files, "BLOCK", block)
    path = tmp_path / "dsprites.npz"
    path.write_bytes(dsprites())
    held = read_factored(path, most * 256)
    assert held is not None
    assert len(held.images) == held.factors.combinations <= max(most, 2**5)
    assert held.share == ("" if most == 216 else f" ({len(held.images)} of 216)")
    assert len({*held.factors.index(held.classes).tolist()}) == len(held.images)
    sprites = Sprites(16, TINY, binary=True)
    rows = thinned(sprites.factors.classes(np.arange(216)), most)
    np.testing.assert_array_equal(held.images, sprites[rows])


def test_dsprites_is_thinned_without_its_last_angle_which_is_its_first() -> None:
    classes = Factors(("o", "x"), (40, 32)).classes(np.arange(1280))
    kept = classes[thinned(classes, 400)]
    assert len(kept) <= 400
    assert kept[:, 0].max() < 39
    assert {0} <= {*kept[:, 0]} & {*kept[:, 1]}


CLASSES = np.zeros((216, 2), int)
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "imageless": ({"imgs": None}, "no array named imgs"),
    "factorless": ({"latents_classes": None}, "'imgs' and 'latents_classes'"),
    "too few classes": ({"latents_classes": CLASSES[:9]}, "of 9 images"),
    "constant": ({"latents_classes": CLASSES}, "no factor takes more than one value"),
    "float classes": ({"latents_classes": CLASSES * 0.5}, "are integers"),
    "flat classes": ({"latents_classes": CLASSES[:, 0]}, "are integers (N, F)"),
    "negative classes": ({"latents_classes": CLASSES - 1}, "numbers from 0"),
    "enormous classes": ({"latents_classes": CLASSES + 2**40}, "numbers from 0"),
    "pickled classes": ({"latents_classes": CLASSES.astype(object)}, "pickle"),
    "pickled images": ({"imgs": np.zeros((216, 4, 4), object)}, "bytes or floats"),
    "flat images": ({"imgs": np.zeros((216, 16), np.uint8)}, "have the shape"),
    "empty images": ({"imgs": np.zeros((216, 0, 4), np.uint8)}, "have the shape"),
    "integer images": ({"imgs": np.zeros((216, 4, 4), int)}, "bytes or floats"),
    "bright images": ({"imgs": np.full((216, 4, 4), 9.0)}, "values from 9 to 9"),
    "NaN images": ({"imgs": np.full((216, 4, 4), np.nan)}, "NaN or infinite"),
    "columns first": (
        {"imgs": np.asfortranarray(np.zeros((216, 4, 4), np.uint8))},
        "in C order",
    ),
    "twice named": ({"factor_names": np.array(["x"] * 6)}, "6 words"),
    "nameless": ({"factor_names": np.arange(6)}, "6 words"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_file_with_factors_is_refused(fault: str, tmp_path: Path) -> None:
    other, words = FAULTS[fault]
    path = tmp_path / "bad.npz"
    path.write_bytes(dsprites(**other))
    with pytest.raises(UserError) as caught:
        load(str(path))
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_images_that_are_cut_short_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "short.npz"
    with (
        zipfile.ZipFile(io.BytesIO(dsprites())) as whole,
        zipfile.ZipFile(path, "w") as short,
    ):
        for name in whole.namelist():
            content = whole.read(name)
            short.writestr(name, content[:-100] if name == "imgs.npy" else content)
    with pytest.raises(UserError, match="imgs end after image 215"):
        load(str(path))


# The command


def test_make_draws_a_file_once_and_train_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ask = ("data", "make", "sprites", "--size", 16, "--grid", 3, 2, 4, 5, 5)
    path = Path(done(*ask).strip())
    assert path.name == "sprites16-3x2x4x5x5.npz"
    before = path.stat().st_mtime_ns
    assert done(*ask).strip() == str(path)
    assert path.stat().st_mtime_ns == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    small = ("--hidden", 8, "--latent", 2, "--epochs", 1, "--batch", 100)
    printed = done("train", "--data", path, "--out", tmp_path / "run", *small)
    assert "sprites16-3x2x4x5x5:gray, test, 60 images" in printed
    run = mv.load_run(tmp_path / "run")
    assert run.config["data"]["source"] == f"{path}:gray"


def test_make_refuses_what_it_cannot_draw(tmp_path: Path) -> None:
    refused("what can be drawn is sprites", "data", "make", "digits")
    refused("16, 32 or 64", "data", "make", "sprites", "--size", 20)
    refused("path of an .npz", "data", "make", "sprites", "--out", tmp_path / "a.npy")
    taken = tmp_path / "a.npz"
    taken.touch()
    refused("is there already", "data", "make", "sprites", "--out", taken)
    (tmp_path / "file").touch()
    bad = tmp_path / "file" / "a.npz"
    grid = ("--size", 16, "--grid", 1, 2, 2, 2, 2)
    refused("cannot write", "data", "make", "sprites", "--out", bad, *grid)


def test_a_drawing_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sprites(tmp_path / "a.npz", Sprites(16, TINY), stop)
    assert list(tmp_path.iterdir()) == []
