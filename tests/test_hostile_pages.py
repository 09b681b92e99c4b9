"""Names that are HTML, on every page there is: text, in Chromium too."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from explorers import trained
from pages import Opened, chromium, open_all, walk
from steps import recorded
from test_beta import made_up, with_models

import minivae as mv
from minivae import em
from minivae import sweep as sweeps
from minivae.data import load
from minivae.page import beta, launch, notebook, plane, report, step
from minivae.page import sweep as swept
from minivae.study import Recording
from minivae.study.launch import Fault, Launch, LaunchRecording, Memory, Request, Touch
from minivae.tensor import Tensor

ROOT = Path(__file__).parent.parent
PLAIN = "plain"
HOSTILE = (
    "<script>planted = 1</script>\"><img src=x onerror='planted = 2'></script></style>"
    "</title><svg onload=planted=3>&lt;i&gt;&amp;amp;-->'`${planted = 4}`\u2028{{5}}"
)


def report_page(name: str) -> str:
    run, data = trained("vae")
    labels = np.arange(len(data.test)) % 3
    classes = tuple(f"{name}{i}" for i in range(3))
    test = replace(data.test, labels=labels)
    named = replace(data, name=name, source=name, test=test, classes=classes)
    config = run.config | {
        "train": run.config["train"] | {name: name, "warmup": name},
        "data": {"name": name, "source": name, "data_dir": name, "sha256": name},
        "versions": {name: [name]},
    }
    ledger = mv.evaluate.ledger(run.model, named, draws=1) | {"noise": name}
    return report.report(replace(run, config=config), named, ledger)


def hostile_recording(name: str) -> Recording:
    """A step whose names, formulas, lines of source and notes are all the same text."""
    recording = recorded("vae")
    nodes = tuple(
        replace(
            node,
            name=f"{node.name}{name}",
            module=name,
            op=name,
            formula=name,
            source=replace(node.source, file=name, text=name),
            rules=tuple(
                rule and replace(rule, input=name, formula=name) for rule in node.rules
            ),
        )
        for node in recording.nodes
    )
    leaves = tuple(
        replace(leaf, name=f"{leaf.name}{name}") for leaf in recording.leaves
    )
    settings = replace(recording.settings, model=name, config={"likelihood": name})
    return replace(
        recording,
        title=name,
        nodes=nodes,
        leaves=leaves,
        notes=(name,),
        settings=settings,
    )


def launch_page(name: str) -> str:
    line = f"{name}:1"
    touches = tuple(Touch(0, i, 4 * i, (float(i), name)) for i in range(2))
    request = Request("reads", "global", name, line, 4, touches, 1)
    fault = Fault(
        *("RaceError", name, 0, "global", name, 0, 4),
        threads=((0, 0), (0, 1)),
        lines=(line, line),
    )
    memory = Memory(name, "global", 16, 4, (4,))
    one = Launch(name, name, (1, 1, 1), (2, 1, 1), (memory,), ((request,),), fault)
    recording = LaunchRecording(name, name, name, (one,), {line: name})
    return launch.launch_page(recording)


def beta_page(name: str) -> str:
    sweep = made_up({1.0: [0.1, 0.12], 8.0: [0.3, 0.34]})
    for i, point in enumerate(sweep.points):
        if point.scores is not None:
            factors = {f"{n}{name}": k for n, k in point.scores["factors"].items()}
            sweep.points[i] = replace(point, scores=point.scores | {"factors": factors})
    return beta.page(with_models(sweep))


def em_page(name: str) -> str:
    digits = load("digits").train.images[:20].astype(np.float64)
    return plane.page(digits - digits.mean(axis=0), em.Gap(-1.0, 0.5, 0.1), name)


def sweep_page(name: str) -> str:
    grid = sweeps.combinations(
        {"activation": (name, "relu"), name: (name, "1"), "seed": (1, 2)}
    )
    base = {"model": name, "data": name, name: [name]}
    runs = {str(i): place for i, place in enumerate(grid)}
    sweep = sweeps.Sweep(Path(name), base, list(grid[0]), 1, runs)
    groups = [
        sweeps.Group(place, {"objective": [1.0, 2.0], "kl": [1.0], "recon": [1.0]}, 2)
        for place in grid[::2]
    ]
    return swept.page(sweep, groups)


def notebook_page(name: str) -> str:
    """A tensor and a recording, as a notebook shows them."""
    tensor = Tensor(np.ones((2, 2)), requires_grad=True, name=name)
    (tensor * 2.0).sum().backward()
    text = np.array([[name]])
    shown = notebook.Shown(hostile_recording(name))
    return (
        f'<!doctype html><meta charset="utf-8"><title>{escape(name)}</title><main>'
        + notebook.tensor_html(tensor)
        + notebook.array_html(text, name)
        + shown._repr_html_()
        + "</main>"
    )


PAGES: dict[str, Callable[[str], str]] = {
    "beta": beta_page,
    "launch": launch_page,
    "notebook": notebook_page,
    "plane": em_page,
    "report": report_page,
    "step": lambda name: step.step_page(hostile_recording(name)),
    "sweep": sweep_page,
}
"""A page of each module of `minivae.page` that writes one, with a name wherever a name
may come from outside; the explorer is a part of the report."""

page_of = cache(lambda module, name: PAGES[module](name))


def writes_pages(path: Path) -> bool:
    """Whether a module calls `kit.page`, or shows itself in a notebook."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "kit.page":
            return True
        if isinstance(node, ast.FunctionDef) and node.name == "_repr_html_":
            return True
    return False


def test_every_module_that_writes_a_page_has_one_here() -> None:
    folders = ("minivae", "kernels/minivae_kernels", "lessons/kit")
    paths = [p for folder in folders for p in (ROOT / folder).rglob("*.py")]
    found = {str(p.relative_to(ROOT)) for p in paths if writes_pages(p)}
    assert found == {f"minivae/page/{name}.py" for name in PAGES}
    frames = {p for p in paths if "<!doctype" in p.read_text("utf-8").lower()}
    assert not frames, "a page not made by kit.page"


@pytest.mark.parametrize("module", PAGES)
def test_no_name_is_in_a_page_as_it_was_written(module: str) -> None:
    text = page_of(module, HOSTILE)
    assert "planted" in text
    for part in ("<script>planted", "<img src=x", "<svg onload", "</script></style>"):
        assert part not in text


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


def opened(module: str, name: str, browser: Any, folder: Path) -> Opened:
    path = folder / f"{module}.html"
    path.write_text(page_of(module, name), encoding="utf-8")
    return Opened(browser, path, bypass_csp=True)


def texts_of(seen: Opened) -> str:
    """What is to be read on a page, at each of its steps if it has a player."""
    open_all(seen)
    read = "document.querySelector('main').innerText"
    if seen.page.locator(".timeline input").count():
        return "\n".join(walk(seen, read))
    return str(seen.page.evaluate(read))


def elements(seen: Opened) -> Counter[str]:
    names = "[...document.querySelectorAll('*')].map(e => e.tagName)"
    return Counter(seen.page.evaluate(names))


@pytest.mark.needs("browser")
@pytest.mark.parametrize("module", PAGES)
def test_a_name_that_is_html_is_read_and_not_run(
    module: str, browser: Any, tmp_path: Path
) -> None:
    """The policy is switched off, so that it hides nothing that would have run."""
    with opened(module, HOSTILE, browser, tmp_path) as seen:
        told, found = texts_of(seen), elements(seen)
        for frame in seen.page.frames:
            assert frame.evaluate("window.planted") is None
        assert HOSTILE.partition("\u2028")[0] in told
        handlers = "//@*[starts-with(local-name(), 'on')]"
        count = "p => document.evaluate(`count(${p})`, document).numberValue"
        assert seen.page.evaluate(count, handlers) == 0
        seen.quiet()
    with opened(module, PLAIN, browser, tmp_path) as seen:
        texts_of(seen)
        assert elements(seen) == found
