"""What a code is good for, where the answer is known beforehand."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny import fit, small

import minivae as mv
from minivae.backend import Array
from minivae.data import Dataset, load
from minivae.errors import UserError
from minivae.evaluate import foreign, likeness, pictures
from minivae.evaluate.detect import Judge
from minivae.evaluate.features import Features, features, flat
from minivae.evaluate.probe import labelled_subset, nearest, standardised

CLASSES = 3


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Noise of 4x4 pixels, whose first one tells the class: 0, 1/2 or 1."""
    rng = np.random.default_rng(0)
    parts = []
    for N in (240, 60, 150):
        labels = rng.permutation(np.arange(N) % CLASSES)
        images = rng.random((N, 1, 4, 4)).astype(np.float32)
        images[:, 0, 0, 0] = labels / (CLASSES - 1)
        parts.append((images, labels))
    return Dataset.from_parts("told", "gray", parts)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


def stub(encode: Callable[[Array], Array], shape: tuple[int, ...], latent: int) -> Any:
    """Something with the codes that `encode` makes of images."""
    return SimpleNamespace(
        name="stub", has_kl=False, shape=shape, latent=latent, embed=encode
    )


def told(images: Array) -> Array:
    """Return the class of each image as a code of ones and zeros."""
    classes = np.rint(images[:, 0, 0, 0] * (CLASSES - 1)).astype(int)
    return np.eye(CLASSES)[classes]


def at_random(images: Array) -> Array:
    """Return codes that have nothing to do with the images but their bytes."""
    seeds = [int(1e6 * float(image.sum())) for image in images]
    return np.stack([np.random.default_rng(s).standard_normal(CLASSES) for s in seeds])


def permuted(data: Dataset, seed: int = 1) -> Dataset:
    """Return the same images in another order within each split."""
    rng, parts = np.random.default_rng(seed), []
    for name in ("train", "validation", "test"):
        split = data.split(name)
        order = rng.permutation(len(split))
        assert split.labels is not None
        parts.append((split.grey[order], split.labels[order]))
    return Dataset.from_parts("permuted", "gray", parts)


# Probing


def test_a_code_that_is_the_label_is_probed_perfectly(data: Dataset) -> None:
    found = mv.evaluate.probe(stub(told, data.shape, CLASSES), data, draws=2)
    assert found["code"] == "mean"
    assert [row["labels"] for row in found["rows"]] == [10, 100, "all"] * 2
    for row in found["rows"]:
        assert row["accuracy"]["code"] == {"value": 1, "low": 1, "high": 1}
        assert row["verdict"]["winner"] != "baseline"


def test_a_random_code_is_probed_at_chance_and_loses(data: Dataset) -> None:
    model = stub(at_random, data.shape, CLASSES)
    for row in mv.evaluate.probe(model, data, labels=["all"])["rows"]:
        chance = row["accuracy"]["code"]
        assert chance["low"] <= 1 / CLASSES <= chance["high"]
        assert row["verdict"]["winner"] == "baseline"
        assert row["verdict"]["short"] == "baseline wins"


def test_the_identity_is_as_good_as_pixels(digits: Dataset) -> None:
    model = stub(lambda x: x.reshape(len(x), -1), digits.shape, 64)
    for row in mv.evaluate.probe(model, digits, labels=[50], draws=2)["rows"]:
        assert row["accuracy"]["code"] == row["accuracy"]["pixels"]
        assert row["verdict"]["difference"]["value"] <= 0
        assert row["verdict"]["winner"] != "model"


def test_the_order_and_the_names_of_classes_do_not_matter(digits: Dataset) -> None:
    train, test = digits.train, digits.test
    pair = Features(flat(train.images), flat(test.images))
    known, truth = train.labels, test.labels
    assert known is not None
    assert truth is not None
    hits = nearest(pair.train, known, pair.test) == truth
    order = np.random.default_rng(0).permutation(len(truth))
    np.testing.assert_array_equal(
        nearest(pair.train, known, pair.test[order]) == truth[order], hits[order]
    )
    renamed = nearest(pair.train, (known + 3) % 10, pair.test)
    agree = (renamed == (truth + 3) % 10) == hits
    assert agree.mean() > 0.98  # equal votes are decided by the smaller label


def test_labelled_subsets_are_even_and_follow_their_seed() -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 3])
    for n, counts in ((3, [1, 1, 1]), (9, [3, 3, 3]), (13, [5, 5, 3])):
        rows = labelled_subset(labels, n, seed=0, draw=0)
        assert len(set(rows)) == n
        assert np.bincount(labels[rows]).tolist() == counts
    ten = labelled_subset(labels, 10, 0, 0)
    assert sorted(np.bincount(labels[ten]))[:2] == [3, 3]
    np.testing.assert_array_equal(ten, labelled_subset(labels, 10, 0, 0))
    assert set(ten) != set(labelled_subset(labels, 10, 0, 1))
    assert set(ten) != set(labelled_subset(labels, 10, 1, 0))


def test_features_are_scaled_by_one_number() -> None:
    rng = np.random.default_rng(0)
    train, test = rng.random((20, 3)) * [1, 2, 5], rng.random((5, 3))
    scaled = standardised(Features(train, test))
    np.testing.assert_allclose(scaled.train.var(axis=0).mean(), 1)
    ratio = scaled.train.std(axis=0) / train.std(axis=0)
    np.testing.assert_allclose(ratio, ratio[0])
    again = standardised(Features(7 * train + 3, 7 * test + 3))
    np.testing.assert_allclose(again.test, scaled.test)


def test_labels_come_from_training_alone(data: Dataset) -> None:
    """Other validation labels change nothing; nor do those of images not drawn."""
    model = stub(told, data.shape, CLASSES)
    assert data.validation.labels is not None
    before = mv.evaluate.probe(model, data, labels=[9], draws=2)
    parts = [(s.grey, s.labels) for s in (data.train, data.validation, data.test)]
    parts[1] = (parts[1][0], (data.validation.labels + 1) % CLASSES)
    changed = Dataset.from_parts("told", "gray", parts)
    assert mv.evaluate.probe(model, changed, labels=[9], draws=2) == before


# Clusters


def test_a_code_that_is_the_label_clusters_perfectly(data: Dataset) -> None:
    found = mv.evaluate.cluster(stub(told, data.shape, CLASSES), data)
    for metric in ("nmi", "ari"):
        assert found["rows"]["code"][metric]["value"] == pytest.approx(1)
        assert found["verdicts"][metric]["winner"] == "model"


def test_a_random_code_clusters_by_chance(data: Dataset) -> None:
    found = mv.evaluate.cluster(stub(at_random, data.shape, CLASSES), data)
    for metric in ("nmi", "ari"):
        chance = found["rows"]["code"][metric]
        assert chance["low"] <= 0 <= chance["high"] <= 0.1
        assert found["verdicts"][metric]["winner"] != "model"


def test_the_identity_clusters_as_pixels_do(digits: Dataset) -> None:
    model = stub(lambda x: x.reshape(len(x), -1), digits.shape, 64)
    found = mv.evaluate.cluster(model, digits, restarts=1)
    assert found["rows"]["code"] == found["rows"]["pixels"]


# Pictures in the plane


def test_the_plane_of_pixels_ties_with_the_baseline(digits: Dataset) -> None:
    model = stub(lambda x: x.reshape(len(x), -1), digits.shape, 64)
    found = mv.evaluate.embed(model, digits)
    np.testing.assert_allclose(np.abs(found.code), np.abs(found.pca), atol=1e-5)
    assert found.document["verdict"]["winner"] == "neither"
    assert found.codes.shape == (179, 64)


def test_a_random_plane_is_not_to_be_trusted(digits: Dataset) -> None:
    model = stub(lambda x: at_random(x)[:, :2], digits.shape, 2)
    found = mv.evaluate.embed(model, digits)
    trust, N, k = found.document["trustworthiness"]["code"], 179, 5
    beyond = (N - 1 - k) * (N - k) / 2 / (N - 1)  # of a rank that may be any
    chance = 1 - beyond * 2 / (2 * N - 3 * k - 1)
    assert abs(trust["value"] - chance) <= trust["high"] - trust["low"]
    assert found.document["verdict"]["winner"] == "baseline"


def test_chosen_latents_are_drawn_as_they_are(digits: Dataset) -> None:
    found = mv.evaluate.embed(mv.VAE(digits.shape, 5, (8,)), digits, latents=(3, 1))
    np.testing.assert_array_equal(found.code, found.codes[:, [3, 1]])
    assert found.axes == ("latent 3", "latent 1")


def test_the_two_of_largest_kl_are_found(digits: Dataset) -> None:
    model: Any = mv.VAE(digits.shape, 4, (8,), likelihood="soft_bce")
    weights = np.zeros_like(model.mu.weight.data)
    weights[2], weights[0] = 3.0, 0.5
    model.mu.weight.assign(weights)
    model.logvar.weight.assign(np.zeros_like(weights))
    found = mv.evaluate.embed(model, digits, by="kl")
    assert [axis.split(" (")[0] for axis in found.axes] == ["latent 2", "latent 0"]
    order, carried, what = pictures.ranked_latents(model, digits)
    assert (order[:2], what) == ([2, 0], "KL")
    assert carried == sorted(carried, reverse=True)


# Detection


def separated(amount: float) -> tuple[Dataset, Array, Array]:
    """Dark images to train on; dark ones and, by `amount`, brighter ones to judge."""
    rng = np.random.default_rng(0)

    def dark(N: int) -> Array:
        return (0.2 * rng.random((N, 1, 8, 8))).astype(np.float32)

    parts: Any = [(dark(N), None) for N in (80, 200, 300)]
    foreign = np.arange(300) >= 250
    images = parts[2][0] + amount * foreign[:, None, None, None].astype(np.float32)
    return Dataset.from_parts("dark", "gray", parts), images, foreign


@pytest.fixture(scope="module")
def dark() -> Any:
    data, images, foreign = separated(0.7)
    model = small("vae", likelihood="gaussian")
    return fit(model, data).model, data, images, foreign


def test_what_is_far_away_is_found_by_every_score(dark: Any) -> None:
    found, scores = mv.evaluate.detect(*dark, k=4, resamples=100)
    names = ["reconstruction", "−ELBO", "−IWAE-4", "PCA residual", "mean image"]
    assert [row["score"] for row in found["scores"]] == names == list(scores)
    for row in found["scores"]:
        for metric in ("auroc", "average_precision"):
            assert row[metric] == {"value": 1, "low": 1, "high": 1}
        rate = row["false_positive_rate"]
        assert row["detection_rate"]["value"] == 1
        assert rate["low"] <= 0.05 <= rate["high"]
    assert found["verdicts"]["auroc"]["winner"] == "neither"
    assert not found["below_chance"]


def test_what_is_alike_is_found_by_chance() -> None:
    data, images, foreign = separated(0.0)
    found, _ = mv.evaluate.detect(
        small("ae", likelihood="squared_error"), data, images, foreign
    )
    names = [row["score"] for row in found["scores"]]
    assert names == ["reconstruction", "PCA residual", "mean image"]
    assert found["missing"] == "no −ELBO and no IWAE: an autoencoder has no prior"
    for row in found["scores"]:
        assert row["auroc"]["low"] <= 0.5 <= row["auroc"]["high"]


def test_the_order_of_images_does_not_matter_to_a_detector() -> None:
    data, images, foreign = separated(0.02)
    model = small("ae", likelihood="squared_error")
    order = np.random.default_rng(0).permutation(len(images))
    found, scores = mv.evaluate.detect(model, data, images, foreign)
    again, others = mv.evaluate.detect(model, data, images[order], foreign[order])
    for name, values in scores.items():
        np.testing.assert_allclose(others[name], values[order], rtol=1e-5)
    for row, other in zip(found["scores"], again["scores"], strict=True):
        assert other["auroc"]["value"] == pytest.approx(row["auroc"]["value"])


def test_the_baselines_are_what_they_say(digits: Dataset) -> None:
    images, train = digits.test.images, flat(digits.train.images)
    scores = Judge(small("vae", likelihood="soft_bce"), digits, 2)(images)
    assert list(scores) == [
        *("reconstruction", "recon + KL", "PCA residual", "mean image")
    ]
    centred = flat(images) - train.mean(axis=0)
    _, directions = np.linalg.eigh(np.cov(train.T))
    rest = centred - centred @ directions[:, -2:] @ directions[:, -2:].T
    np.testing.assert_allclose(scores["PCA residual"], (rest**2).sum(axis=1), rtol=1e-6)
    np.testing.assert_allclose(scores["mean image"], (centred**2).sum(axis=1))


def test_the_bounds_are_those_of_the_ledger() -> None:
    data = load("digits:fixed")
    model = small("vae", likelihood="bernoulli")
    scores = Judge(model, data, 50)(data.test.images)
    ledger = mv.evaluate.ledger(model, data, draws=50)
    assert scores["−IWAE-50"].mean() == pytest.approx(ledger["iwae"]["50"]["value"])
    assert abs(scores["−ELBO"].mean() - ledger["neg_elbo"]) <= 0.05
    assert (scores["−IWAE-50"] <= scores["−ELBO"]).all()


def test_the_class_left_out_is_in_no_split_that_trains(digits: Dataset) -> None:
    left = foreign.without(digits, 4)
    for name in ("train", "validation"):
        labels, before = left.split(name).labels, digits.split(name).labels
        assert labels is not None
        assert before is not None
        assert set(labels) == set(range(10)) - {4}
        assert len(labels) == len(left.split(name).images) == (before != 4).sum()
    assert left.test is digits.test
    assert left.name == "digits:gray without 4"


def test_a_model_is_trained_again_as_the_run_was(digits: Dataset) -> None:
    run = fit(small("vae", activation="tanh", seed=3), digits, epochs=1, seed=3)
    again = foreign.retrained(run, digits)
    for name, array in run.model.state().items():
        np.testing.assert_array_equal(again.state()[name], array)
    twice = foreign.retrained(run, digits, epochs=2)
    assert (twice.state()["mu.weight"] != run.model.state()["mu.weight"]).any()


def test_classes_have_names_and_numbers() -> None:
    clothes = load("fashion10k")
    assert foreign.class_labels(clothes, ["bag", "1", "Bag"]) == [8, 1]
    assert foreign.class_labels(clothes, ["all"]) == list(range(10))


# Pictures and the numbers beside them


def test_a_spherical_path_turns_evenly() -> None:
    from minivae.models.base import linear, spherical

    t = np.linspace(0, 1, 5)[:, None]
    a, b = np.array([2.0, 0, 0]), np.array([0.0, 2.0, 0])
    path = spherical(a, b, t)
    np.testing.assert_allclose(path[[0, -1]], [a, b], atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), 2)
    angles = np.arctan2(path[:, 1], path[:, 0])
    np.testing.assert_allclose(np.diff(angles), np.pi / 8)
    for other in (3 * a, -a, 0 * a):
        np.testing.assert_allclose(spherical(a, other, t), linear(a, other, t))


def test_a_fade_is_between_the_grey_images(digits: Dataset) -> None:
    model = small("vae", likelihood="soft_bce")
    row = pictures.path_between(model, digits.test, (3, 5), 3, "pixels")
    grey = digits.test.grey
    np.testing.assert_allclose(row, [grey[3], (grey[3] + grey[5]) / 2, grey[5]])


def test_a_manifold_is_decoded_at_the_quantiles_of_the_prior(digits: Dataset) -> None:
    from scipy.stats import norm

    model = mv.VAE(digits.shape, 3, (8,), likelihood="soft_bce")
    images = pictures.manifold(model, digits, 4, (2, 0))
    low, high = norm.ppf([1 / 8, 7 / 8])
    corners = [[high, 0, low], [high, 0, high], [low, 0, low], [low, 0, high]]
    expected = model.picture(np.array(corners, np.float32))
    np.testing.assert_allclose(images[[0, 3, 12, 15]], expected, rtol=1e-5)


def test_without_a_prior_a_manifold_spans_the_codes(digits: Dataset) -> None:
    model = small("ae", likelihood="soft_bce")
    images = pictures.manifold(model, digits, 3)
    codes = model.embed(digits.validation.images)
    middle = np.median(codes, axis=0).astype(np.float32)[None]
    np.testing.assert_allclose(images[4], model.picture(middle)[0], rtol=1e-4)


def test_the_linear_autoencoder_ties_with_pca_on_what_it_rebuilds() -> None:
    """Its numbers are those of PCA, if its decoder and encoder are."""
    digits = load("digits")
    pair = features(stub(lambda x: x[:, 0, 0, :2], digits.shape, 2), digits, "test")
    train = flat(digits.train.images)
    mean = train.mean(axis=0)
    _, directions = np.linalg.eigh(np.cov(train.T))
    U = directions[:, -2:]
    model = stub(lambda x: (flat(x) - mean) @ U, digits.shape, 2)
    model.reconstruct = lambda x: ((flat(x) - mean) @ U @ U.T + mean).reshape(x.shape)
    found = likeness.reconstruction(model, digits, "test")
    assert found["rows"]["code"]["value"] == pytest.approx(
        found["rows"]["PCA of 2"]["value"]
    )
    assert found["verdicts"]["code"]["winner"] == "neither"
    assert pair["pca"].test.shape == (179, 2)


def test_a_training_image_is_its_own_nearest(digits: Dataset) -> None:
    near = likeness.nearest_training_image(digits.train.grey[:20], digits)
    np.testing.assert_allclose(near, 0, atol=1e-6)
    assert (likeness.nearest_training_image(digits.test.grey[:20], digits) > 0).all()


def test_a_frame_tells_the_foreign_ones() -> None:
    images = np.full((2, 1, 4, 4), 0.25, np.float32)
    framed = pictures.framed(images, np.array([True, False]))
    assert framed.shape == (2, 3, 8, 8)
    np.testing.assert_allclose(framed[:, :, 2:-2, 2:-2], 0.25)
    assert framed[0, 0, 0, 0] > framed[0, 2, 0, 0]
    assert framed[1, 0, 0, 0] == framed[1, 2, 0, 0]


# What cannot be answered


def single(data: Dataset) -> Dataset:
    splits = (data.train, data.validation, data.test)
    parts: Any = [(s.grey, np.zeros(len(s), int)) for s in splits]
    return Dataset.from_parts("single", "gray", parts)


def unlabelled(data: Dataset) -> Dataset:
    parts: Any = [(s.grey, None) for s in (data.train, data.validation, data.test)]
    return Dataset.from_parts("bare", "gray", parts)


@pytest.mark.parametrize("application", [mv.evaluate.probe, mv.evaluate.cluster])
def test_labels_of_two_classes_are_needed(application: Any, data: Dataset) -> None:
    model = stub(told, data.shape, CLASSES)
    with pytest.raises(UserError, match="bare:gray has no labels"):
        application(model, unlabelled(data))
    with pytest.raises(UserError, match=r"two classes or more.*has only 0"):
        application(model, single(data))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labels": [2]}, "2 labelled images are fewer than the 3 classes"),
        ({"labels": [241]}, "241 labelled images asked of 240 in training"),
        ({"labels": ["few"]}, "whole numbers or all, not few"),
        ({"labels": []}, "how many labelled images"),
        ({"draws": 0}, "at least once, not 0"),
        ({"split": "dev"}, "no split 'dev'"),
    ],
    ids=str,
)
def test_a_probe_without_an_answer_is_refused(
    options: dict[str, Any], words: str, data: Dataset
) -> None:
    with pytest.raises(UserError, match=words):
        mv.evaluate.probe(stub(told, data.shape, CLASSES), data, **options)


@pytest.mark.parametrize("images", ["all", "none"])
def test_foreign_images_are_needed_and_others_too(images: str) -> None:
    data, _, _ = separated(0.0)
    marked = np.full(len(data.test), images == "all")
    with pytest.raises(UserError, match=f"{images} of the 300 images"):
        mv.evaluate.detect(
            small("ae", likelihood="squared_error"), data, data.test.images, marked
        )


def test_an_application_on_other_images_is_refused(data: Dataset) -> None:
    model = small("vae", likelihood="soft_bce")
    for application in (mv.evaluate.probe, mv.evaluate.cluster, mv.evaluate.embed):
        with pytest.raises(UserError, match=r"takes \(1, 8, 8\) images"):
            application(model, data)


def test_a_permuted_split_clusters_alike(data: Dataset) -> None:
    model = stub(told, data.shape, CLASSES)
    found = mv.evaluate.cluster(model, permuted(data), restarts=2)
    assert found["rows"]["code"]["ari"]["value"] == pytest.approx(1)
