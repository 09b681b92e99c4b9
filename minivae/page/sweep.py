"""The page of a sweep: metrics against the grid, with bars over seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape

from minivae.page import kit
from minivae.page.beta_charts import Series, chart
from minivae.sweep import METRICS, SEED, Group, Sweep, Value

TOGETHER = 6  # series in one drawing, which has as many colours
LISTED = 4  # metrics of a table on a terminal of 80 columns
Pick = Callable[[Group, float], tuple[tuple[float, float], tuple[float, float]] | None]


def page(sweep: Sweep, groups: Sequence[Group]) -> str:
    """Return the HTML page of what is finished of a sweep."""
    done = sum(group.count for group in groups)
    over = ", ".join(axis for axis in sweep.axes) or "nothing"
    title = f"A sweep over {over}"
    model, data = (sweep.base.get(name) for name in ("model", "data"))
    lead = (
        f"{done:,} of {len(sweep.runs):,} runs are finished, of {model} on {data}. "
        "Means, with bars of one standard deviation over seeds, of the test split."
    )
    head, rows = _table(groups, measured(groups))
    body = [
        kit.paragraph("minivae: a sweep", "eyebrow"),
        f"<h1>{escape(title)}</h1>",
        kit.paragraph(lead, "lead"),
        kit.section("Metrics", *_metrics(sweep, groups)),
        *_rate_distortion(sweep, groups),
        kit.section(
            "Numbers", kit.table("Mean ± deviation over seeds", head, rows, "figures")
        ),
        kit.section("Options", _options(sweep)),
        kit.footer(kit.QUIET),
    ]
    return kit.page(title, "\n".join(body), (*kit.STYLES, "beta.css"))


def measured(groups: Sequence[Group]) -> list[str]:
    """Return the metrics that the runs have, in the order of `METRICS`."""
    found = {metric for group in groups for metric in group.values}
    if all(g.of("objective") == g.of("neg_elbo") for g in groups):
        found.discard("objective")  # beta is 1: said once
    return [metric for metric in METRICS if metric in found]


def rows(groups: Sequence[Group]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table of groups, as much as fits a terminal."""
    return _table(groups, measured(groups)[:LISTED])


def _table(
    groups: Sequence[Group], metrics: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    axes = list(groups[0].place) or ["all"]
    head = [*axes, "runs", *(METRICS[metric] for metric in metrics)]
    body = [
        [
            *([_text(value) for value in group.place.values()] or ["seeds"]),
            str(group.count),
            *(_told(group, metric) for metric in metrics),
        ]
        for group in groups
    ]
    return head, body


def _told(group: Group, metric: str) -> str:
    """Mean ± deviation of a metric; of a single run, which has none, its value."""
    found = group.of(metric)
    if found is None:
        return ""
    several = len(group.values[metric]) > 1
    return f"{found[0]:.2f}" + f" ± {found[1]:.2f}" * several


def _text(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


# Drawings


def _axis(groups: Sequence[Group]) -> tuple[str, list[Value]]:
    """Return the axis that metrics are drawn against, and its values in order."""
    name = next(iter(groups[0].place), "")
    values = [group.place.get(name, "") for group in groups]
    return name, list(dict.fromkeys(values))


def _series(groups: Sequence[Group], pick: Pick, labelled: bool) -> list[Series]:
    """Return a series for each combination of the other axes."""
    name, values = _axis(groups)
    own: dict[str, list[Group]] = {}
    for group in groups:
        others = [f"{n} {_text(v)}" for n, v in group.place.items() if n != name]
        own.setdefault(", ".join(others), []).append(group)
    series = []
    for i, (other, members) in enumerate(own.items()):
        found = [(g, pick(g, values.index(g.place.get(name, "")))) for g in members]
        kept = [(g, picked) for g, picked in found if picked is not None]
        if kept:
            labels = [_text(g.place[name]) if name else "" for g, _ in kept]
            series.append(
                Series(
                    other,
                    i % TOGETHER,
                    [place for _, (place, _) in kept],
                    [spread for _, (_, spread) in kept],
                    labels if labelled else [],
                    joined=not labelled,
                )
            )
    return series


def _metrics(sweep: Sweep, groups: Sequence[Group]) -> list[str]:
    name, values = _axis(groups)
    ticks = [(float(i), _text(value)) for i, value in enumerate(values)]
    charts = []
    for metric in measured(groups):

        def pick(
            group: Group, x: float, metric: str = metric
        ) -> tuple[tuple[float, float], tuple[float, float]] | None:
            found = group.of(metric)
            return found and ((float(x), found[0]), (0.0, found[1]))

        title = METRICS[metric]
        for few in _some(_series(groups, pick, labelled=False)):
            text = f"{title} against {name or 'nothing'}: {_read_out(few)}"
            charts.append(
                chart(
                    few,
                    title=title,
                    x_name=name,
                    y_name="",
                    text=text,
                    x_ticks=ticks,
                    from_zero=False,
                )
            )
    caption = f"The values of {name} stand at equal distances." if name else ""
    return [kit.figure(kit.group("charts", *charts), caption)]


def _rate_distortion(sweep: Sweep, groups: Sequence[Group]) -> list[str]:
    """The plane of rate and distortion, where the models have a rate."""

    def pick(
        group: Group, x: float
    ) -> tuple[tuple[float, float], tuple[float, float]] | None:
        rate, distortion = group.of("kl"), group.of("recon")
        if rate is None or distortion is None:
            return None
        return (rate[0], distortion[0]), (rate[1], distortion[1])

    series = _series(groups, pick, labelled=True)
    if not series:
        return []
    charts = [
        chart(
            few,
            title="recon, nats",
            x_name="KL, nats",
            y_name="",
            text=f"recon against KL: {_read_out(few)}",
            from_zero=False,
        )
        for few in _some(series)
    ]
    name = _axis(groups)[0]
    caption = (
        "Rate, the KL, against distortion, the reconstruction term; both of test "
        f"images. Each point is a value of {name or 'the grid'}."
    )
    return [
        kit.section(
            "Rate and distortion", kit.figure(kit.group("charts", *charts), caption)
        )
    ]


def _some(series: Sequence[Series]) -> list[Sequence[Series]]:
    """Return series in lots, one for each drawing."""
    starts = range(0, len(series), TOGETHER)
    return [series[start : start + TOGETHER] for start in starts]


def _read_out(series: Iterable[Series]) -> str:
    """Return what a drawing shows, for who does not see it."""
    told = []
    for one in series:
        places = "; ".join(f"{x:g}, {y:.2f}" for x, y in one.places)
        told.append(f"{one.name}: {places}" if one.name else places)
    return " | ".join(told)


def _options(sweep: Sweep) -> str:
    rows = [
        (name, ", ".join(map(str, v)) if isinstance(v, list) else str(v))
        for name, v in sweep.base.items()
        if name not in sweep.axes and v is not None
    ]
    rows.append(("threads", str(sweep.threads)))
    seeds = {place.get(SEED) for place in sweep.runs.values()} - {None}
    if seeds:
        rows.append(("seeds", f"{len(seeds)}"))
    return kit.table("What all runs share", ("option", "value"), rows)
