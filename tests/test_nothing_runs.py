"""No pickle, no eval, and no network but where `minivae data get` asks for it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from test_house import imports, sources

ROOT = Path(__file__).parent.parent
FOLDERS = ("minivae", "kernels", "lessons/kit")
SOURCES = [path for folder in FOLDERS for path in sources(ROOT / folder)]
each_source = pytest.mark.parametrize(
    "path", SOURCES, ids=lambda p: str(p.relative_to(ROOT))
)

PICKLES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
NETWORK = {"ftplib", "http", "pooch", "requests", "smtplib", "socket", "socketserver"}
NETWORK |= {"ssl", "urllib.request", "urllib3", "xmlrpc"}
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}
DOWNLOADS = ROOT / "minivae/data/download.py"


def within(name: str, modules: set[str]) -> bool:
    parts = name.split(".")
    return any(".".join(parts[:n]) in modules for n in range(1, len(parts) + 1))


def runs_text(source: str) -> list[str]:
    """Calls that run text, unpickle arrays, or give a command to a shell."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        if (name := ast.unparse(node.func)) in CALLS:
            found.append(name)
        for keyword in node.keywords:
            safe = isinstance(keyword.value, ast.Constant) and not keyword.value.value
            if keyword.arg in ("allow_pickle", "shell") and not safe:
                found.append(keyword.arg)
    return found


@each_source
def test_no_module_runs_text_or_unpickles(path: Path) -> None:
    assert not runs_text(path.read_text(encoding="utf-8"))
    assert not [name for name in imports(path) if within(name, PICKLES)]


@each_source
def test_only_downloading_knows_the_network(path: Path) -> None:
    known = [name for name in imports(path) if within(name, NETWORK)]
    assert bool(known) == (path == DOWNLOADS)


def test_what_runs_text_is_found(tmp_path: Path) -> None:
    source = "np.load(p, allow_pickle=True)\neval('1')\nrun(c, shell=x)\nx.eval()\n"
    assert runs_text(source) == ["allow_pickle", "eval", "shell"]
    assert runs_text("np.load(p, allow_pickle=False)") == []
    path = tmp_path / "a.py"
    path.write_text("import urllib.request\nfrom pickle import loads\n")
    assert {n for n in imports(path) if within(n, NETWORK)} == {"urllib.request"}
    assert {n for n in imports(path) if within(n, PICKLES)} == {"pickle.loads"}


GUARDED = """
import sys
from minivae.cli import main

OUTWARD = ("connect", "bind", "sendto", "getaddrinfo", "gethostbyname")

def guard(event, arguments):
    kind, _, what = event.partition(".")
    if kind == "socket" and what in OUTWARD:
        raise RuntimeError(f"outward: {event}")

sys.addaudithook(guard)
quick = ("--hidden", "8", "--latent", "2", "--epochs", "1", "--batch", "256")
for command in (
    ("train", "--data", "digits:dynamic", *quick, "--out", "run"),
    ("evaluate", "run"),
    ("report", "run"),
    ("sample", "run"),
    ("step", "--plain", "--html", "step.html", "--json", "step.json"),
    ("data", "list"),
    ("data", "get", "fashion", "--mirror", "http://127.0.0.1:9/"),
):
    try:
        main(command)
    except SystemExit as end:
        assert not end.code, command
    except RuntimeError as error:
        print(*command[:2], error, file=sys.stderr)
"""


def test_no_command_but_data_get_opens_a_connection(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GUARDED], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if "outward" in line]
    assert len(told) == 1
    assert told[0].startswith("data get outward: socket.")
