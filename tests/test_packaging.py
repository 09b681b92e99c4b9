"""Built, installed where there is nothing else, and run from there."""

from __future__ import annotations

import os
import shutil
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


def venv(folder: Path, python: str = sys.executable) -> Path:
    ran(python, "-m", "venv", folder, cwd=folder.parent)
    return folder / "bin"


def python(version: str) -> str:
    """A Python of this version, of pyenv or on the PATH; skips where there is none."""
    own = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    on_path = filter(None, [shutil.which(f"python{version}")])
    for found in (*map(str, own), *on_path):
        asked = [found, "-m", "venv", "-h"]  # of a shim on the PATH, too
        if subprocess.run(asked, capture_output=True).returncode == 0:
            return found
    pytest.skip(f"no Python {version} is here")


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
    assert {"tests/conftest.py", "README.md", "constraints-min.txt", "LICENSE"} <= sdist


TRAIN = ("train", "--data", "digits:dynamic", "--hidden", "8", "--latent", "2")


OWN = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.mark.parametrize(
    ("pattern", "version"),
    [("*.tar.gz", OWN), *(("*.whl", version) for version in ("3.11", "3.12", "3.13"))],
)
def test_it_trains_from_an_environment_with_nothing_else(
    pattern: str, version: str, built: Path, tmp_path: Path
) -> None:
    bin = venv(tmp_path / "env", sys.executable if version == OWN else python(version))
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
