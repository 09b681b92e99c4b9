"""Built, installed where there is nothing else, and run from there."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def ran(*command: object, cwd: Path) -> str:
    """Run a command that must succeed, without what this process has on its paths."""
    clean = {n: v for n, v in os.environ.items() if not n.startswith("PYTHON")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=clean, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def venv(folder: Path) -> Path:
    ran(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    return folder / "bin"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    place = tmp_path_factory.mktemp("built")
    tools = venv(place / "tools")
    pip = [str(tools / "pip"), "install", "--quiet", "--retries", "1", "hatchling"]
    if (told := subprocess.run(pip, capture_output=True, text=True)).returncode:
        pytest.skip(f"no network to build with: {told.stderr.strip()[-200:]}")
    ran(tools / "python", "-m", "hatchling", "build", "-d", place / "dist", cwd=ROOT)
    return place / "dist"


def inside(archive: Path) -> set[str]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            names = wheel.namelist()
    else:
        with tarfile.open(archive) as sdist:
            names = [name.partition("/")[2] for name in sdist.getnames()]
    return {name for name in names if "dist-info" not in name}


def test_wheel_and_sdist_hold_every_file_of_the_packages(built: Path) -> None:
    told = ran("git", "ls-files", "minivae", "kernels/minivae_kernels", cwd=ROOT)
    tracked = set(told.split())
    wheel, sdist = (inside(next(built.glob(p))) for p in ("*.whl", "*.tar.gz"))
    assert wheel == {name.removeprefix("kernels/") for name in tracked}
    assert tracked <= sdist
    assert {"tests/conftest.py", "README.md", "Makefile", "LICENSE"} <= sdist


TRAIN = ("train", "--data", "digits:dynamic", "--hidden", "8", "--latent", "2")


@pytest.mark.parametrize("pattern", ["*.whl", "*.tar.gz"])
def test_it_trains_from_an_environment_with_nothing_else(
    pattern: str, built: Path, tmp_path: Path
) -> None:
    bin = venv(tmp_path / "env")
    ran(bin / "pip", "install", "--quiet", next(built.glob(pattern)), cwd=tmp_path)
    told = ran(bin / "minivae", *TRAIN, "--epochs", "1", "--out", "run", cwd=tmp_path)
    assert "−ELBO" in told
    assert (tmp_path / "run" / "report.html").exists()
    told = ran(bin / "minivae", "gradcheck", "vae", cwd=tmp_path)
    assert "vae" in told
    where = ran(
        bin / "python", "-c", "import minivae; print(minivae.__file__)", cwd=Path("/")
    )
    assert str(tmp_path) in where
