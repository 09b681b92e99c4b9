"""What is exact: oracles hold, see what is planted, and any VAE can be judged."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import minivae
from scipy import special

from minivae import backend, verify
from minivae.errors import UserError
from minivae.verify import exact, oracles
from minivae.verify.linear import cubature, images, linear_model, set_to
from minivae.verify.oracles import ORACLES, linear_vae
from minivae.verify.protocol import REQUIRED, check_parts
from minivae.verify.suite import CHECKS, judge

FOLDER = Path(verify.__file__).parent
SLOW = ("linear_vae", "rate_distortion", "quadrature")
QUICK = [name for name in ORACLES if name not in SLOW]


@pytest.mark.parametrize("name", QUICK)
def test_an_oracle_holds(name: str) -> None:
    found = list(verify.run(name))
    assert found
    for claim in found:
        assert claim.passed, claim
        assert claim.name.startswith(f"{name}/")
        assert claim.formula


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_a_trained_oracle_holds(name: str) -> None:
    assert all(claim.passed for claim in verify.run(name))


@pytest.mark.slow
@pytest.mark.parametrize("latent", [1, 2, 8, 16, 24, 32])
def test_the_linear_vae_reaches_the_maximum_for_any_size(latent: int) -> None:
    for claim in verify.run("linear_vae", latent):
        assert claim.passed, claim


def test_the_linear_vae_of_two_latents_reaches_the_maximum() -> None:
    for claim in verify.run("linear_vae", 2):
        assert claim.passed, claim


def test_every_oracle_has_a_file_of_its_name() -> None:
    files = {path.stem for path in (FOLDER / "oracles").glob("*.py")}
    assert files == {*ORACLES, "__init__"}
    assert all(oracle.title.endswith(".") for oracle in ORACLES.values())


def test_the_exact_side_knows_nothing_of_what_it_judges() -> None:
    tree = ast.parse((FOLDER / "exact.py").read_text(encoding="utf-8"))
    ours = [
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("minivae")
    ]
    assert ours == ["minivae.backend"]  # the type of an array


@pytest.mark.parametrize("latent", [0, 33])
def test_a_latent_size_out_of_range_is_refused(latent: int) -> None:
    with pytest.raises(UserError, match="1 to 32"):
        list(verify.run("linear_vae", latent))


def test_an_unknown_oracle_lists_the_known() -> None:
    with pytest.raises(UserError, match="bayes_identity"):
        oracles.named("luck")


@pytest.mark.needs("ptx")
def test_an_oracle_holds_in_the_interpreter() -> None:
    outcome = minivae("verify", "stability", "--device", "ptx", "--json")
    assert outcome.code == 0
    with backend.running_on("ptx") as launches:
        assert all(claim.passed for claim in ORACLES["stability"].claims(5))
    assert {name.partition(":")[0] for name in launches} == {"bernoulli", "logmeanexp"}


@pytest.mark.slow
@pytest.mark.needs("ptx")
@pytest.mark.parametrize("name", [n for n in ORACLES if n not in oracles.TOO_LARGE])
def test_every_small_oracle_holds_in_the_interpreter(name: str) -> None:
    for claim in verify.run(name, 2, "ptx"):
        assert claim.passed, claim


def test_what_is_too_large_for_the_interpreter_says_why() -> None:
    assert set(oracles.TOO_LARGE) < set(ORACLES)
    outcome = minivae("verify", "linear_vae", "--device", "ptx")
    assert (outcome.code, outcome.out) == (2, "")
    assert "trains for 1,000 steps" in outcome.err
    assert minivae("verify", "kl", "--device", "cuda").code == 2


# The exact side against itself: numbers worked out elsewhere


def test_the_spectrum_of_digits_has_its_known_numbers() -> None:
    spectrum = exact.Spectrum.of(exact.digits())
    for k, s2, log_p, rest in (
        (2, 0.054117, 0.005707, 3.355253),
        (5, 0.036197, 8.907637, 2.135612),
    ):
        assert spectrum.best_sigma2(k) == pytest.approx(s2, abs=1e-6)
        assert spectrum.best_log_p(k) == pytest.approx(log_p, abs=1e-6)
        assert spectrum.discarded(k) == pytest.approx(rest, abs=1e-6)
        found = spectrum.best(k).log_p(exact.digits()).mean()
        assert found == pytest.approx(log_p, abs=1e-6)
    rate, distortion = spectrum.rate_distortion(4 * 0.02, 10)
    assert (rate, distortion) == pytest.approx((6.509135, 2.028574), abs=1e-6)
    assert spectrum.learned_sigma2(4, 10) == (pytest.approx(0.047286, abs=1e-6), 7)


def test_an_em_step_never_lowers_log_p() -> None:
    x = exact.digits()
    rng = np.random.default_rng(0)
    model = exact.Linear(0.1 * rng.normal(size=(64, 3)), 0.1)
    before = model.log_p(x).mean()
    for _ in range(20):
        model = exact.em_step(model, x.T @ x / len(x))
        after = model.log_p(x).mean()
        assert after >= before
        before = after


def test_the_elbo_gradients_are_differences_of_the_elbo() -> None:
    rng = np.random.default_rng(1)
    x = exact.digits()[:50]
    W, V = 0.3 * rng.normal(size=(64, 2)), 0.3 * rng.normal(size=(2, 64))
    d, s2, h = np.array([0.4, 1.3]), 0.2, 1e-5
    found = exact.elbo_gradients(W, V, d, s2, x.T @ x / len(x))

    def slope(up: Any, down: Any) -> float:
        high, low = (exact.Linear(w, s).elbo(x, v, e) for w, v, e, s in (up, down))
        return float((high - low).mean() / (2 * h))

    step = np.zeros_like(W)
    step[5, 1] = h
    number = slope((W + step, V, d, s2), (W - step, V, d, s2))
    assert found["W"][5, 1] == pytest.approx(number, rel=1e-6)
    number = slope((W, V + step.T, d, s2), (W, V - step.T, d, s2))
    assert found["V"][1, 5] == pytest.approx(number, rel=1e-6)
    grown = d * np.exp([h, 0]), d * np.exp([-h, 0])
    number = slope((W, V, grown[0], s2), (W, V, grown[1], s2))
    assert found["log d"][0] == pytest.approx(number, rel=1e-6)
    number = slope((W, V, d, s2 * np.exp(h)), (W, V, d, s2 * np.exp(-h)))
    assert found["log s2"] == pytest.approx(number, rel=1e-6)


def test_the_cubature_is_exact_for_a_linear_model() -> None:
    points = cubature(3, 1)[:, 0]
    assert np.abs(points.mean(axis=0)).max() <= 1e-15
    assert np.abs(points.T @ points / len(points) - np.eye(3)).max() <= 1e-15


# An oracle is not fooled


def test_a_wrong_sigma_breaks_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    from minivae.distributions import DiagGaussian

    right = DiagGaussian.log_prob
    monkeypatch.setattr(
        DiagGaussian,
        "log_prob",
        lambda q, z: right(DiagGaussian(q.mu, 2 * q.logvar), z),
    )
    failed = {c.name for c in verify.run("bayes_identity") if not c.passed}
    assert "bayes_identity/every draw" in failed


def test_a_wrong_objective_has_another_gradient() -> None:
    """A KL that is a mean over latents passes every gradient check, but not this."""
    from minivae.ops import gaussian_kl

    right = gaussian_kl.forward, dict(gaussian_kl.rules)
    try:
        gaussian_kl.forward = lambda mu, lv, **o: right[0](mu, lv, **o) / mu.shape[1]
        for name, rule in right[1].items():
            scaled = lambda g, out, mu, lv, f=rule.function, **o: (  # noqa: E731
                f(g, out, mu, lv, **o) / mu.shape[1]
            )
            gaussian_kl.rules[name] = rule._replace(function=scaled)
        claims = list(linear_vae.gradient_claims(3))
    finally:
        gaussian_kl.forward = right[0]
        gaussian_kl.rules.update(right[1])
    wrong = {claim.name.rpartition(" ")[2] for claim in claims if not claim.passed}
    assert {"V", "d"} <= wrong
    assert all(claim.passed for claim in linear_vae.gradient_claims(3))


def test_a_model_set_to_a_solution_has_it() -> None:
    known = exact.Spectrum.of(exact.digits()).best(2)
    model = linear_model("vae", 2)
    set_to(model, known, known.encoder(), np.ones(2))
    mu = model.embed(images(exact.digits()[:5]))
    assert np.abs(mu - known.posterior(exact.digits()[:5])[0]).max() <= 1e-12


# Another's VAE, through the protocol


class TheirVAE:
    """A VAE in plain NumPy: linear layers, Bernoulli pixels."""

    pixels, latent, likelihood = 6, 2, "bernoulli"

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.V, self.L = rng.normal(size=(2, 2, 6)) / 3
        self.W = rng.normal(size=(6, 2))

    def encode(self, x: Any) -> Any:
        return x @ self.V.T, x @ self.L.T

    def sample(self, mu: Any, logvar: Any, eps: Any) -> Any:
        return mu + np.exp(logvar / 2) * eps

    def decode(self, z: Any) -> Any:
        return z @ self.W.T

    def log_likelihood(self, decoded: Any, x: Any) -> Any:
        if ((x != 0) & (x != 1)).any():
            raise ValueError("not 0/1")
        on, off = special.log_expit(decoded), special.log_expit(-decoded)
        return (x * on + (1 - x) * off).sum(axis=1)

    def kl(self, mu: Any, logvar: Any) -> Any:
        return 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar).sum(axis=1)

    def loss(self, x: Any, eps: Any) -> Any:
        mu, logvar = self.encode(x)
        decoded = self.decode(self.sample(mu, logvar, eps))
        recon, kl = -self.log_likelihood(decoded, x).mean(), self.kl(mu, logvar).mean()
        return recon + kl, recon, kl


def test_a_right_vae_passes_what_applies() -> None:
    found = {claim.name: claim.passed for claim in judge(TheirVAE())}
    assert all(found.values()), found
    assert "bayes_identity" not in found  # for Gaussians
    assert "loss_is_recon_plus_beta_kl" in found


def test_a_wrong_vae_is_caught() -> None:
    class Wrong(TheirVAE):
        def sample(self, mu: Any, logvar: Any, eps: Any) -> Any:
            return mu + np.exp(logvar) * eps

    failed = {claim.name for claim in judge(Wrong()) if not claim.passed}
    assert "draws_have_the_variance" in failed
    assert "kl_is_that_of_the_draws" in failed
    assert "kl_is_the_closed_form" not in failed


@pytest.mark.parametrize("part", REQUIRED)
def test_a_part_that_lacks_is_named(part: str) -> None:
    class Part:
        pass

    whole = TheirVAE()
    some = Part()
    for name in REQUIRED:
        if name != part:
            setattr(some, name, getattr(whole, name))
    with pytest.raises(UserError, match=f"Part lacks {part}: "):
        check_parts(some)


def test_a_gaussian_must_say_its_variance() -> None:
    gaussian = TheirVAE()
    gaussian.likelihood = "gaussian"
    with pytest.raises(UserError, match="lacks sigma2"):
        check_parts(gaussian)
    gaussian.likelihood = "poisson"
    with pytest.raises(UserError, match="bernoulli or gaussian"):
        check_parts(gaussian)


def test_a_part_that_raises_fails_its_check() -> None:
    class Broken(TheirVAE):
        def kl(self, mu: Any, logvar: Any) -> Any:
            raise RuntimeError("out of luck")

    found = {claim.name: claim for claim in judge(Broken())}
    assert not found["kl_is_the_closed_form"].passed
    assert "out of luck" in found["kl_is_the_closed_form"].claim


def test_one_check_may_be_asked_for() -> None:
    (claim,) = judge(TheirVAE(), "kl_is_the_closed_form")
    assert claim.passed
    with pytest.raises(UserError, match="no check"):
        list(judge(TheirVAE(), "luck"))
    with pytest.raises(UserError, match="needs neg_elbo"):
        list(judge(TheirVAE(), "evaluation_is_the_expectation"))


MINE = """
from test_verify import TheirVAE

class MyVAE(TheirVAE):
    pass

class Lacking:
    pixels = 3

class Wrong(TheirVAE):
    def kl(self, mu, logvar):
        return super().kl(mu, logvar) / 2
"""


@pytest.fixture
def my_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"mine_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(MINE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return name


def test_the_command_judges_a_class(my_module: str) -> None:
    good = minivae("verify", "--model", f"{my_module}:MyVAE")
    assert (good.code, "0 wrong" in good.out) == (0, True)
    assert max(map(len, good.out.splitlines())) <= 80
    bad = minivae("verify", "--model", f"{my_module}:Wrong", "--json")
    assert bad.code == 1
    claims = json.loads(bad.out)
    wrong = {claim["name"] for claim in claims if not claim["passed"]}
    assert "kl_is_the_closed_form" in wrong
    assert set(claims[0]) == {
        "name", "claim", "formula", "exact", "measured", "error", "tolerance", "passed",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("MODULE:Lacking", "Lacking lacks latent, likelihood, encode"),
        ("MODULE:Nothing", "has no Nothing"),
        ("MODULE", "module:Class"),
        ("no_such_module_anywhere:X", "cannot import"),
    ],
)
def test_a_model_that_cannot_be_judged_is_refused(
    text: str, words: str, my_module: str
) -> None:
    outcome = minivae("verify", "--model", text.replace("MODULE", my_module))
    assert (outcome.code, outcome.out) == (2, "")
    assert words in outcome.err
    assert outcome.err.count("\n") == 1


def test_the_command_prints_an_oracle() -> None:
    outcome = minivae("verify", "kl")
    assert outcome.code == 0
    assert "½ (mu² + e^a − 1 − a)" in outcome.out
    for wrong in (["luck"], ["kl", "--latent", 0]):
        outcome = minivae("verify", *wrong)
        assert (outcome.code, outcome.out) == (2, "")


# PyTorch

TORCH = """
import torch
from torch import nn
from torch.nn import functional as F

class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.out = nn.Linear(12, 8), nn.Linear(3, 12)
        self.mu, self.logvar = nn.Linear(8, 3), nn.Linear(8, 3)

    def encode(self, x):
        h = torch.tanh(self.hidden(x))
        return self.mu(h), self.logvar(h)

    def reparameterize(self, mu, logvar):
        return mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)

    def decode(self, z):
        return torch.sigmoid(self.out(z))

class Wrong(VAE):
    def reparameterize(self, mu, logvar):
        return mu + torch.randn_like(mu) * torch.exp(logvar)

class Bare(nn.Module):
    pass

def loss_function(recon_x, x, mu, logvar):
    bce = F.binary_cross_entropy(recon_x, x, reduction="sum")
    return bce - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
"""


@pytest.mark.needs("torch")
def test_a_torch_module_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import subprocess
    import sys

    (tmp_path / "theirs.py").write_text(TORCH, encoding="utf-8")

    def judged(name: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "minivae",
            "verify",
            "--model",
            f"theirs:{name}",
        ]
        return subprocess.run(
            [*command, "--json"], cwd=tmp_path, capture_output=True, text=True
        )

    right = {c["name"]: c for c in json.loads(judged("VAE").stdout)}
    failed = {name for name, claim in right.items() if not claim["passed"]}
    # torch clamps log at −100 and takes grey pixels: its BCE is soft, and says so
    assert failed == {"grey_pixels_are_refused"}
    assert "kl_is_that_of_the_draws" in right
    wrong = {c["name"] for c in json.loads(judged("Wrong").stdout) if not c["passed"]}
    assert {"draws_have_the_variance", "kl_is_that_of_the_draws"} <= wrong
    assert "lacks encode, decode, reparameterize" in judged("Bare").stderr


def test_every_check_has_a_name_and_a_claim() -> None:
    for name, check in CHECKS.items():
        assert name == check.name
        assert check.claim
        assert check.formula
