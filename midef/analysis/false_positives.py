"""Does an attack convince the target alone? Likelihoods of reconstructions against the evaluator's verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.analysis.base import ANALYSES, NEEDS_UNDEFENDED, AnalysedCell, Analysis, undefended
from midef.core.lazy import torch
from midef.results.findings import Drawing, Findings, Panel, Series

if TYPE_CHECKING:
    import numpy as np

    from midef.core.recipe import Recipe
    from midef.results.findings import Row
    from midef.storage import Store


@ANALYSES.add("false_positives")
@dataclass(frozen=True, kw_only=True)
class FalsePositives(Analysis):
    """Reconstructions that the target is sure of and the evaluator does not recognise, for each defense.

    A reconstruction is likely if the target's network, without what its defense does to answers, gives the attacked
    identity at least this probability; a likely one is a true positive if the evaluator recognises the identity, else a
    false one. Differences to the undefended target are paired by identity.

    Args:
        likely: probability from which on the target counts as convinced, above 0, at most 1; larger is stricter.

    Source: Ho et al., CVPR 2024, supplement, section 7.4, Fig. 7 and 8.
    We differ: the paper compares distributions of likelihoods by eye; here false positives are counted.
    """

    paper: ClassVar[str] = "Ho et al., CVPR 2024 (TL-DMI), supplement, section 7.4"
    needs: ClassVar[str] = "`none`, with its attack; every defense beside it is compared with it"

    likely: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.likely <= 1:
            raise ValueError(f"needs 0 < likely <= 1, got {self.likely}")

    @override
    def problems(self, cells: Sequence[AnalysedCell]) -> list[str]:
        return [] if undefended(cells) else [NEEDS_UNDEFENDED]

    @override
    def requires(self, cells: Sequence[AnalysedCell]) -> Sequence[Recipe]:
        from midef.analysis.stored.load import needed_to_ask

        needed = [cells[0].recipes.private]
        for cell in cells:
            needed += [*needed_to_ask(cell.recipes.target), cell.recipes.reconstructions, cell.recipes.scores]
        return needed

    @override
    def analyse(self, cells: Sequence[AnalysedCell], store: Store) -> Findings:
        from midef.analysis.stored.load import splits_of

        classes, plain = len(splits_of(cells[0].recipes.private, store).class_names), undefended(cells)
        ordered = sorted(cells, key=lambda cell: cell is not plain)  # the others are compared with the first
        setup = cells[0].cell.setup
        return findings_of(
            [judged_of(cell, store, classes) for cell in ordered],
            f"{setup.target}<br>{setup.attack.label}",
            likely=self.likely,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """Reconstructions of one cell, by target and evaluator, in the order of their identities.

    Args:
        label: of the defense.
        labels: [N], attacked identity of each.
        likelihoods: [N], probability that the target's network gives it, 0 to 1.
        hits: [N], whether the evaluator recognises it.
    """

    label: str
    labels: np.ndarray
    likelihoods: np.ndarray
    hits: np.ndarray

    def is_likely(self, likely: float) -> np.ndarray:
        """Whether the target is convinced of each, [N]."""
        convinced: np.ndarray = self.likelihoods >= likely
        return convinced

    def is_wrong(self, likely: float) -> np.ndarray:
        """Whether each is a false positive, [N]."""
        wrong: np.ndarray = self.is_likely(likely) & ~self.hits
        return wrong


def judged_of(cell: AnalysedCell, store: Store, classes: int) -> Judged:
    """What a cell has stored of its reconstructions, and the likelihoods that its target gives them."""
    import numpy as np

    from midef.analysis.stored.load import asked_of
    from midef.stages.resize import low_to_high
    from midef.storage.arrays import read_arrays

    folder = store.artifacts.fetch(cell.recipes.reconstructions.key)
    made = read_arrays(folder / "images.npz", ("images", "labels", "restarts"))
    scored = read_arrays(
        store.artifacts.fetch(cell.recipes.scores.key) / "per_image.npz", ("labels", "restarts", "hit_at_1")
    )
    # Scores may be of the best restarts alone, so they are matched by identity and restart.
    where = {pair: i for i, pair in enumerate(zip(made["labels"].tolist(), made["restarts"].tolist(), strict=True))}
    order = np.lexsort((scored["restarts"], scored["labels"]))
    labels, restarts, hits = (scored[name][order] for name in ("labels", "restarts", "hit_at_1"))
    rows = [where[pair] for pair in zip(labels.tolist(), restarts.tolist(), strict=True)]
    target = asked_of(cell.recipes.target, store, classes)
    seen = low_to_high(torch.from_numpy(made["images"][rows]), target.spec.resolution_px)
    scores = target.clean(seen).numpy()
    return Judged(
        label=cell.label,
        labels=labels,
        likelihoods=scores[np.arange(len(labels)), labels],
        hits=hits.astype(bool),
    )


def findings_of(judged: Sequence[Judged], about: str, *, likely: float = 0.9) -> Findings:
    """Rows, verdict and figure.

    Args:
        judged: of each defense, of the same identities; the first is what the others are compared with.
        about: whose they are, for the title.
        likely: see `FalsePositives`.
    """
    first, *others = judged
    rows: list[Row] = [{**row_of(first, likely), "more": None, "more_low": None, "more_high": None}]
    said = {"reproduced": list[str](), "the reverse is shown": list[str](), "not decidable at this size": list[str]()}
    for one in others:
        more, low, high = difference(one, first, likely)
        verdict = list(said)[0 if low > 0 else 1 if high < 0 else 2]
        said[verdict].append(f"{one.label} ({more:+.1f} points [{low:.1f}, {high:.1f}])")
        rows.append({**row_of(one, likely), "more": more, "more_low": low, "more_high": high})
    parts = [f"{verdict} under {', '.join(labels)}" for verdict, labels in said.items() if labels]
    likely_share = f"{rows[0]['false_positives']:.1f} % of all reconstructions of the undefended target"
    claim = "that a defense makes attacks end in false positives is "
    return Findings(
        rows=rows,
        verdict=f"{claim}{'; '.join(parts)}, against {likely_share}." if parts else f"false positives: {likely_share}.",
        drawing=Drawing(title=f"Likely reconstructions, and recognised ones: {about}", panels=[_panel(rows)]),
    )


def difference(one: Judged, other: Judged, likely: float) -> tuple[float, float, float]:
    """Points by which false positives are more of all reconstructions, and the ends of their interval."""
    from midef.core.statistics import paired_interval

    low, high = paired_interval(one.is_wrong(likely), other.is_wrong(likely), one.labels)
    return 100 * float(one.is_wrong(likely).mean() - other.is_wrong(likely).mean()), 100 * low, 100 * high


def row_of(judged: Judged, likely: float) -> Row:
    """Columns of a defense alone."""
    import numpy as np

    is_likely, is_wrong = judged.is_likely(likely), judged.is_wrong(likely)
    return {
        "defense": judged.label,
        "median_likelihood": float(np.median(judged.likelihoods)),
        "likely": 100 * float(is_likely.mean()),
        "recognised": 100 * float(judged.hits.mean()),
        "true_positives": 100 * float((is_likely & judged.hits).mean()),
        "false_positives": 100 * float(is_wrong.mean()),
        "false_share": 100 * float(is_wrong.sum() / is_likely.sum()) if is_likely.any() else None,
        "images": len(judged.labels),
    }


def _panel(rows: Sequence[Row]) -> Panel:
    """True against false positives; on the dashed line the target is sure of every reconstruction."""
    points = [
        Series(
            name=str(row["defense"]),
            x=[float(row["false_positives"] or 0.0)],
            y=[float(row["true_positives"] or 0.0)],
            kind="points",
        )
        for row in rows
    ]
    every = Series(name="every one is likely", x=[0.0, 100.0], y=[100.0, 0.0], kind="dashes")
    return Panel(
        series=[*points, every],
        x_title="false positives, % of all reconstructions",
        y_title="true positives, % of all reconstructions",
    )
