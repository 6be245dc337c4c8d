"""Is a defense's protection a slow attack? Gradient and confidence per step, and what stronger attacks find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.analysis.base import ANALYSES, NEEDS_UNDEFENDED, AnalysedCell, Analysis, Over, undefended
from midef.analysis.stored.accuracies import means_of
from midef.core.errors import MissingArtifact
from midef.results.findings import Drawing, Findings, Panel, Series

if TYPE_CHECKING:
    from midef.core.recipe import Recipe
    from midef.core.traces import Traces
    from midef.results.findings import Row
    from midef.storage import Store

ARRAYS = ("labels", "hit_at_1")
MOST_BARS = 6


@ANALYSES.add("slow_search")
@dataclass(frozen=True, kw_only=True)
class SlowSearch(Analysis):
    """Gradient norm and confidence over the steps of a search, and what attacks that get more of everything regain.

    The first setup is the attack that the defense is measured by; further setups attack the same targets, for longer,
    from more starts or another way. What one of them regains is its gain over the first attack on the defended target,
    as a share of what the defense took from the first attack. A protection of which half is regained was a slow attack.

    Source: the LoFt paper, Fig. 7 (gradient magnitude per step) and Fig. 8 (confidence per step).
    We differ: the paper shows the curves and concludes; stronger attacks and the interval of half the protection, over
    identities, are ours. The first seed alone is looked at.
    """

    paper: ClassVar[str] = "Rank Matters (LoFt), Fig. 7 and 8"
    needs: ClassVar[str] = (
        "`none` and a defense, under an attack that records its steps; further setups are stronger attacks"
    )
    over: ClassVar[Over] = "sweep"

    @override
    def problems(self, cells: Sequence[AnalysedCell]) -> list[str]:
        from midef.attacks import ATTACKS

        first = of_first(cells)
        problems = [] if undefended(first) else [NEEDS_UNDEFENDED]
        if not defended_of(first):
            problems.append("there is no defense to look at; add one such as loft(rank=10) to defenses")
        attack = cells[0].cell.setup.attack.name
        if "gradient" not in ATTACKS.get(attack).records:
            problems.append(f"{attack} records no gradient; use an attack that does, such as pool_search")
        return problems

    @override
    def requires(self, cells: Sequence[AnalysedCell]) -> Sequence[Recipe]:
        return [recipe for c in compared_of(cells) for recipe in (c.recipes.reconstructions, c.recipes.scores)]

    @override
    def analyse(self, cells: Sequence[AnalysedCell], store: Store) -> Findings:
        from midef.core.statistics import identity_interval
        from midef.storage.arrays import read_arrays
        from midef.storage.traces import read_traces

        attacked = []
        for cell in compared_of(cells):
            traces = read_traces(store.artifacts.fetch(cell.recipes.reconstructions.key))
            if traces is None:
                what = f"{cell.label} in {cell.cell.setup.id}"
                raise MissingArtifact(f"an older midef stored no traces of {what}; run the sweep into a new store")
            arrays = read_arrays(store.artifacts.fetch(cell.recipes.scores.key) / "per_image.npz", ARRAYS)
            attacked.append(
                Attacked(
                    setup=cell.cell.setup.id,
                    defense=cell.label,
                    traces=traces,
                    hits=means_of(arrays["labels"], arrays["hit_at_1"]),
                    ends=identity_interval(arrays["hit_at_1"], arrays["labels"])[:2],
                )
            )
        plain = undefended(of_first(cells))
        assert plain is not None
        return findings_of(attacked, plain.label, f"{cells[0].cell.setup.target}<br>{cells[0].cell.setup.attack.label}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Attacked:
    """A target under one attack.

    Args:
        setup: id of the attack's.
        defense: label of the target's.
        traces: of the search, with gradient norm and confidence.
        hits: share of an identity's reconstructions that the evaluator sees it in, by identity.
        ends: of the interval of their mean, see `identity_interval`.
    """

    setup: str
    defense: str
    traces: Traces
    hits: Mapping[int, float]
    ends: tuple[float, float]


def of_first(cells: Sequence[AnalysedCell]) -> list[AnalysedCell]:
    """The cells of the first setup and seed."""
    first = cells[0].cell
    return [cell for cell in cells if (cell.cell.setup, cell.cell.seed) == (first.setup, first.seed)]


def defended_of(cells: Sequence[AnalysedCell]) -> list[AnalysedCell]:
    """Those with a defense."""
    plain = undefended(cells)
    return [cell for cell in cells if plain is None or cell.cell.defense != plain.cell.defense]


def compared_of(cells: Sequence[AnalysedCell]) -> list[AnalysedCell]:
    """The cells of the first setup and seed, then those of others that attack the same targets."""
    first = of_first(cells)
    targets = {cell.recipes.target.key for cell in first}
    return [*first, *(cell for cell in cells if cell not in first and cell.recipes.target.key in targets)]


def findings_of(attacked: Sequence[Attacked], plain: str, about: str) -> Findings:
    """Rows, verdict and figure.

    Args:
        attacked: those of the first setup first, among them the undefended one.
        plain: label of the undefended one.
        about: target and attack, for the title.
    """
    first = {one.defense: one for one in attacked if one.setup == attacked[0].setup}
    rows: list[Row] = []
    for one in attacked:
        gain = _paired(_gains(first[one.defense].hits, one.hits))
        course = one.traces.course
        rows.append(
            {
                "setup": one.setup,
                "defense": one.defense,
                "attack": 100 * _paired(one.hits)[0],
                "attack_low": 100 * one.ends[0],
                "attack_high": 100 * one.ends[1],
                "gain": 100 * gain[0],
                "gain_low": 100 * gain[1],
                "gain_high": 100 * gain[2],
                **{name: course.get(name) for name in COURSE},
                "identities": len(one.hits),
            }
        )
    sentences = [
        _sentence(label, first, [one for one in attacked if one.defense == label and one is not first[label]], plain)
        for label in first
        if label != plain
    ]
    return Findings(
        rows=rows,
        verdict="; ".join(sentences) + ".",
        drawing=Drawing(title=f"Slow or blocked? {about}", panels=_panels(attacked, first)),
    )


COURSE = ("gradient_start", "gradient_end", "confidence_start", "confidence_end", "confidence_rise_low")
"""Columns that a row takes from the course of its search."""


def _paired(each: Mapping[int, float]) -> tuple[float, float, float]:
    """Mean over identities and Student's 95 % interval; the whole line where there is none."""
    import numpy as np

    from midef.core.statistics import t_interval

    values = list(each.values())
    return float(np.mean(values)), *(t_interval(values) or (-float("inf"), float("inf")))


def regained(
    undefended: Mapping[int, float], first: Mapping[int, float], stronger: Mapping[int, float]
) -> tuple[str, float | None]:
    """Whether a stronger attack regains half of what a defense took from the first one, and the share it regains.

    With hits by identity, what the defense took is taken = undefended - first. Half is regained if the interval of
    (stronger - first) - taken / 2 lies above 0, and not if it lies below.

    Returns:
        `slow`, `not slow`, `undecided`, or `unprotected` where taken is not shown to be above 0; and the share, None
        of the last.
    """
    taken = {label: undefended[label] - hit for label, hit in first.items()}
    mean, low, _ = _paired(taken)
    if low <= 0:
        return "unprotected", None
    gains = _gains(first, stronger)
    _, below, above = _paired({label: gain - taken[label] / 2 for label, gain in gains.items()})
    answer = "slow" if below > 0 else "not slow" if above < 0 else "undecided"
    return answer, _paired(gains)[0] / mean


def _sentence(label: str, first: Mapping[str, Attacked], stronger: Sequence[Attacked], plain: str) -> str:
    """What a defense did to the first attack and its gradient, and what each stronger attack regains."""
    import numpy as np

    base, without = first[label], first[plain]
    found = f"{label}: attack {_percent(base.hits)} against {_percent(without.hits)} % undefended"
    norms = [one.traces.series["gradient_norm"] for one in (base, without)]
    if all(norm.size for norm in norms):
        mine, theirs = (float(np.nanmedian(norm)) for norm in norms)
        found += f", median gradient norm {mine:.3g} against {theirs:.3g}"
    answers = [(one, *regained(without.hits, base.hits, one.hits)) for one in stronger]
    if any(answer == "unprotected" for _, answer, _ in answers):
        return f"{found}: not decidable at this size, no protection is shown that could be regained"
    parts, half, gaining = [], [], []
    for one, answer, share in answers:
        gain, low, high = (100 * value for value in _paired(_gains(base.hits, one.hits)))
        said = f"gain {gain:.1f} [{low:.1f}, {high:.1f}], {100 * (share or 0):.0f} % regained, {ANSWERS[answer]}"
        parts.append(f"{one.setup} {_percent(one.hits)} % ({said})")
        half += [one.setup] if answer == "slow" else []
        gaining += [one.setup] if low > 0 else []
    if not answers:
        verdict = "no stronger attack was made"
    elif half:
        verdict = f"a slow attack, at least half of the protection is regained by {', '.join(half)}"
    elif all(answer == "not slow" for _, answer, _ in answers):
        verdict = "not a slow attack, no stronger one regains half of the protection"
    elif gaining:
        verdict = f"{', '.join(gaining)} finds more, whether half of the protection is not decidable at this size"
    else:
        verdict = "not decidable at this size"
    return "; ".join([f"{found}: {verdict}", *parts])


def _gains(first: Mapping[int, float], stronger: Mapping[int, float]) -> dict[int, float]:
    """By identity, what a stronger attack finds beyond the first one."""
    return {label: stronger[label] - hit for label, hit in first.items()}


ANSWERS = {"slow": "more than half", "not slow": "less than half", "undecided": "half is within the interval"}
"""What a stronger attack regains, in words."""


def _percent(hits: Mapping[int, float]) -> str:
    return f"{100 * _paired(hits)[0]:.1f}"


def _panels(attacked: Sequence[Attacked], first: Mapping[str, Attacked]) -> list[Panel]:
    """Gradient and confidence over the steps of the first attack, and attack accuracy by setup."""
    import numpy as np

    panels = []
    for name, title, reduce in (
        ("gradient_norm", "gradient norm, median", np.nanmedian),
        ("confidence", "confidence in the identity, %, mean", np.nanmean),
    ):
        is_share = name == "confidence"
        series = [
            Series(
                name=one.defense,
                x=one.traces.steps.tolist(),
                y=(reduce(one.traces.series[name], axis=0) * (100 if is_share else 1)).tolist(),
            )
            for one in first.values()
        ]
        panels.append(Panel(series=series, x_title="step", y_title=title, log_y=not is_share, from_zero=is_share))
    bars = []
    for label in first:
        own = [one for one in attacked if one.defense == label][:MOST_BARS]
        bars.append(
            Series(name=label, x=[one.setup for one in own], y=[100 * _paired(one.hits)[0] for one in own], kind="bars")
        )
    panels.append(Panel(series=bars, x_title="attack", y_title="attack accuracy, %", from_zero=True))
    return panels
