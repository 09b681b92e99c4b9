"""Build the site: gather its pages, then let Sphinx execute and write them.

    python lessons/site/build.py [FOLDER]     FOLDER/html/index.html; lessons/out/site

Into FOLDER/source go the lessons as notebooks, the texts of this folder and of the
project, an API page a module, tables, and pages that the program writes. All of it is
made anew; nothing is fetched.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PACKAGE = (
    *("tensor", "ops", "random", "backend", "gradcheck", "nn", "optim"),
    *("distributions", "data", "models", "train", "run", "study", "evaluate", "verify"),
)
COPIED = {
    "course.md": ROOT / "lessons/README.md",
    "courses.md": HERE / "courses.md",
    "benchmarks.md": ROOT / "benchmarks/README.md",
    "applications.md": ROOT / "benchmarks/APPLICATIONS.md",
    "scaling.md": ROOT / "benchmarks/SCALING.md",
}
NOTEBOOK = {
    "kernelspec": {"name": "lessons", "display_name": "Python"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
KERNEL = {
    "argv": [
        *(sys.executable, "-m", "ipykernel_launcher"),
        *("-f", "{connection_file}", "--log-level=ERROR"),
    ],
    "display_name": "Python",
    "language": "python",
}
"""Lessons run in this very Python, whatever kernels the user has installed."""
STEPS = {
    "step-vae": ("a VAE", ("--model", "vae")),
    "step-betavae": ("a beta-VAE, β = 4", ("--model", "betavae")),
    "step-dae": ("a denoising autoencoder", ("--model", "dae")),
    "step-conv": ("a convolutional VAE", ("--model", "vae", "--arch", "conv")),
}


def main(folder: Path) -> int:
    """Gather and build; returns Sphinx's exit code."""
    source, html = folder / "source", folder / "html"
    for made_anew in (source, html):
        shutil.rmtree(made_anew, ignore_errors=True)
    gather(source)
    built = write(source, html, folder / "cache")
    for page in source.glob("*.html"):  # written by lessons, beside their notebooks
        shutil.copy(page, html)
    if not built:
        print(f"the site: {html / 'index.html'}")
    return built


def gather(source: Path) -> None:
    """Put every page into `source`, as notebook, Markdown or ready page."""
    (source / "pages").mkdir(parents=True)
    names = "\n".join(lessons(source))
    for name, path in COPIED.items():
        text = inside(path.read_text(encoding="utf-8"), path.parent, source)
        (source / name).write_text(text, encoding="utf-8")
    index = (HERE / "index.md").read_text(encoding="utf-8").replace("{lessons}", names)
    (source / "index.md").write_text(index, encoding="utf-8")
    api(source / "api")
    (source / "museum.md").write_text(museum(), encoding="utf-8")
    (source / "gallery.md").write_text(gallery(source / "pages"), encoding="utf-8")


def write(source: Path, html: Path, cache: Path) -> int:
    """Execute the notebooks and write the pages; returns Sphinx's exit code."""
    kernel = cache / "kernels/lessons/kernel.json"
    kernel.parent.mkdir(parents=True, exist_ok=True)
    kernel.write_text(json.dumps(KERNEL), encoding="utf-8")
    environment = dict(os.environ, OPENBLAS_NUM_THREADS="1", JUPYTER_PATH=str(cache))
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT), str(ROOT / "kernels"), *(p for p in sys.path if p)]
    )
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-E"]
    command += os.environ.get("SPHINXOPTS", "").split()
    command += ["-c", str(HERE), "-d", str(cache / "doctrees")]
    command += ["-D", f"html_extra_path={source / 'pages'}"]
    done = subprocess.run([*command, str(source), str(html)], env=environment, cwd=ROOT)
    return done.returncode


def lessons(source: Path) -> Iterable[str]:
    """Write each lesson as a notebook without outputs, in order; yields their names."""
    import jupytext

    for script in sorted(ROOT.glob("lessons/l[0-9][0-9]_*/lesson.py")):
        notebook: Any = jupytext.read(script)
        notebook.metadata |= NOTEBOOK
        jupytext.write(notebook, source / f"{script.parent.name}.ipynb")
        yield script.parent.name


def inside(text: str, home: Path, source: Path) -> str:
    """Bring a page's pictures with it; a link to a file that is no page is words."""

    def brought(found: re.Match[str]) -> str:
        mark, words, target = found[1], " ".join(found[2].split()), found[3]
        if re.match(r"https?:|#", target):
            return found[0]
        if target.lower() in COPIED:  # a page of the site
            return f"[{words}]({target.lower()})"
        path = home / target
        if mark and path.is_file():
            shutil.copy(path, source / path.name)
            return f"![{words}]({path.name})"
        return words

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", brought, text)


def api(folder: Path) -> None:
    """Write a page for each module of the package, by autodoc, and one of the ops."""
    folder.mkdir()
    title = (
        "# Reference\n\nOut of the docstrings: what each computes, shapes, sources.\n"
    )
    pages = ["```{toctree}", ":maxdepth: 1", "", *PACKAGE, "```", ""]
    (folder / "index.md").write_text(title + "\n" + "\n".join(pages), encoding="utf-8")
    for name in PACKAGE:
        text = ops() if name == "ops" else module(name)
        (folder / f"{name}.md").write_text(text, encoding="utf-8")


def module(name: str) -> str:
    """Return the page of a module, and of what a package hands on."""
    found = importlib.import_module(f"minivae.{name}")
    lines = [f"# minivae.{name}", "", "```{eval-rst}"]
    lines += [f".. automodule:: minivae.{name}"]
    if hasattr(found, "__path__"):
        lines += ["   :no-members:", ""]
        for public in getattr(found, "__all__", ()):
            thing = getattr(found, public)
            kind = "autoclass" if isinstance(thing, type) else "autofunction"
            if callable(thing) and getattr(thing, "__doc__", None):
                lines += [f".. {kind}:: minivae.{name}.{public}", ""]
    return "\n".join([*lines, "```", ""])


def ops() -> str:
    """Return the page of the ops: each with its formula and its rules."""
    from minivae import ops
    from minivae.tensor import Op

    lines = ["# minivae.ops", "", *(ops.__doc__ or "").splitlines(), ""]
    for name in ops.__all__:
        op = getattr(ops, name)
        if not isinstance(op, Op):
            continue
        rules = [rule.formula for rule in op.rules.values()]
        lines += [f"## {name}", "", "```text", op.formula, *rules, "```", ""]
    return "\n".join(lines)


def museum() -> str:
    """Return the page of classic mistakes, as a table."""
    rows = [
        "# The museum of mistakes",
        "",
        "Each mistake was run beside the truth: what it reports and what is so, in "
        "nats per image where nothing else is said. What catches it is a check that "
        "knows the mistake only from outside. Of all, finite differences see one.",
        "",
        "| the mistake | reports | truth | caught by |",
        "| --- | --: | --: | --- |",
    ]
    for claim in json.loads(minivae("museum", "--json")):
        checks = claim["claim"].partition("caught by ")[2].replace("_", " ")
        cells = [claim["formula"], f"{claim['measured']:.4g}", f"{claim['exact']:.4g}"]
        rows.append("| " + " | ".join([*cells, checks]).replace("|z", "z") + " |")
    return "\n".join([*rows, ""])


def gallery(pages: Path) -> str:
    """Make pages of steps and of a run, and return the page that shows them."""
    lines = [
        "# Gallery",
        "",
        "Pages that the program writes: each is one file, and opens by itself.",
        "",
        "## One training step, taken apart",
        "",
    ]
    for name, (words, options) in STEPS.items():
        path = pages / f"{name}.html"
        minivae("step", *options, "--html", str(path))
        lines.append(f"- {{raw-page}}`{name}.html|{words}`")
    run = pages.parent / "run"
    minivae(
        *("train", "--data", "digits:dynamic", "--epochs", "20", "--hidden", "128"),
        *("--latent", "10", "--batch", "64", "--threads", "1", "--out", str(run)),
    )
    minivae("report", str(run))
    shutil.copy(run / "report.html", pages / "report.html")
    shutil.rmtree(run)
    minivae("em", "--out", str(pages / "em.html"))
    shutil.copy(ROOT / "benchmarks/figures/beta.html", pages / "beta.html")
    lines += [
        *("", "## Reports", ""),
        "- {raw-page}`report.html|A VAE trained on digits`",
        "- {raw-page}`em.html|EM and the VAE in one plane`",
        "- {raw-page}`beta.html|beta on sprites and digits: rate, distortion, factors`",
        "",
    ]
    link = re.compile(r"\{raw-page\}`([^|`]+)\|([^`]+)`")
    return "\n".join(link.sub(r'<a href="\1">\2</a>', line) for line in lines)


def minivae(*arguments: str) -> bytes:
    """Run a command of the package; its output, and an exit if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "minivae", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"minivae {' '.join(arguments)} failed")
    return done.stdout


if __name__ == "__main__":
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "lessons/out/site"
    sys.exit(main(where.resolve()))
