"""One result row: one metric of one cell, typed. Published numbers use the same columns."""

from __future__ import annotations

import math
from dataclasses import dataclass

from midef.core.errors import FAILURE_KINDS

ROW_SCHEMA_VERSION = 10
"""2: how the images were judged (group_size, counted, resize, knn_reference). 3: certainty, stand_ins, remark; and what
a published number may leave open (resolution, identities, images, seed) may be None. 4: accuracy matching (matched and
match_target, match_tolerance, match_accuracy, match_seeds). 5: the kind of a failure
(failure), the title of the metric's table column (column), and whether private images show nobody
(private_is_generated). 6: which images succeeded (outcomes), the interval of the evaluator's accuracy
(evaluator_low, evaluator_high), and the size of the split that accuracies are matched on (select_images); and files of
rows carry a checksum over all of their bytes. 7: what true private images reach (ceiling), and whether a number rests
on estimates (is_estimate). 8: the course of the search (confidence_start,
confidence_end, confidence_rise, confidence_rise_low, gradient_start, gradient_end). 9: whose the settings of a
published row are (settings). 10: the images that an attack
on observed answers inverts (victims)."""
STATUSES = ("ok", "failed", "refused")
ORIGINS = ("measured", "published")


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """One metric of one cell. Accuracies are in percent. `None` means "does not apply" and never "failed".

    Args:
        sweep: name of the sweep that measured it first.
        profile: budget and stand-ins of the sweep; `paper` is the published one.
        cell: digest of setup, defense and seed.
        setup: id of the setup in its sweep.
        defense: label: name and the parameters that differ from the defaults.
        defense_name: registered name; `stack` of several at once.
        defense_params: JSON of every parameter.
        attack: label, as of the defense.
        attack_name: registered name.
        attack_params: JSON of every parameter, those of priors included, which labels leave out.
        access: what the attack asks of the target: white box, scores or labels.
        architecture: of the target, with the weights it starts from.
        private: data set that the target learned.
        public: data set that the attacker has.
        evaluator: network that judges reconstructions, with the weights it starts from.
        resolution_px: side of the target's images, pixels.
        identities: attacked.
        images_per_identity: reconstructions of each.
        seed: of the training; the same seed gives the same numbers on the same kind of device.
        metric: registered name.
        value: the number; None unless status is `ok`.
        unit: of value, low, high, spread and chance.
        larger_is: what a larger value means: `more useful`, `less useful`, `more private`, `less private`, `more
            costly`.
        low: lower end of the interval within this run.
        high: upper end.
        interval: what the interval is.
        n: images judged.
        groups: identities they belong to.
        spread: as the protocol asks, see `Protocol`, whose fields counted, resize, group_size and knn_reference say how
            the images were judged.
        spread_kind: what the spread is of.
        chance: the value a blind guess reaches.
        evaluator_accuracy: percent on the report split.
        status: `ok`, `failed` or `refused`; a metric that failed or was refused is a row with a reason, never a 0.
        reason: of any other status than `ok`.
        origin: `measured` or `published`.
        source: paper and table of a published number; "" of a measured one.
        target_key: artifact of the attacked network.
        reconstructions_key: artifact of the images that the attack made.
        scores_key: artifact of the measurements.
        code_version: of midef, with the commit where one is known.
        device: that the attack ran on.
        wall_s: seconds of the attack.
        peak_memory_mb: most memory that the attack took, MiB.
        queries: images that the attack showed the target.
        evaluator_resolution_px: side of the images that the evaluator is shown, pixels.
        resize: how reconstructions are brought to that size.
        counted: which reconstructions count: `all`, or `best_by_target`, one for each identity.
        group_size: identities that the attack reconstructs at once.
        knn_reference: split of the private images that distances are measured to.
        failure: kind of failure, one of `FAILURE_KINDS`; "" of what is ok, and of rows that an older midef wrote.
        certainty: of a row of a published matrix, `certain` or `inferred`, "" elsewhere: whether the paper counts it.
        settings: of such a row, which of its settings are the paper's (`midef.core.certainty`); "" elsewhere, and in
            rows of a schema before 9.
        stand_ins: what was replaced by something smaller, and by what.
        remark: what to know beside a number; of a published one, where its source contradicts itself.
        matched: the strength of the defense was brought to the accuracy match_target, within match_tolerance.
        match_target: percent on the select split; None where nothing was asked to match.
        match_tolerance: of match_target, points.
        match_accuracy: percent on the select split, mean over match_seeds trainings; known also where it is not within
            the tolerance, and the row not matched.
        match_seeds: trainings.
        private_is_generated: a program draws the private images, so that they show nobody; None in rows of a schema
            before 5, and where the data set is not registered.
        column: title of the metric's column in tables; "" in rows of a schema before 5 and in published ones.
        outcomes: which images succeeded, as `midef.core.outcomes` writes it; "" where nothing is counted per image, and
            in rows of a schema before 6.
        evaluator_low: lower end of the interval of the evaluator's accuracy; None in rows of a schema before 6.
        evaluator_high: upper end.
        select_images: images of the select split; None in rows of a schema before 6.
        ceiling: what true private images reach under the same judge; None where that is not measured, and in rows of a
            schema before 7.
        is_estimate: the number rests on what a network reads from images, not on what is known of them.
        confidence_start: probability, 0 to 1, that the target gives the attacked identity at the first step of the
            search, mean; this and what follows is None of a search without confidence, of fewer than 9 steps or of one
            identity, and where no traces are stored, as in rows of a schema before 8. See `midef.core.traces`.
        confidence_end: the same in the last fifth of the steps.
        confidence_rise: difference of its mean log-odds between the last fifth of the steps and the fifth before.
        confidence_rise_low: lower end of its 95 % interval over identities.
        gradient_start: norm of the gradient at the first step, median; None of a search without gradients.
        gradient_end: the same in the last fifth of the steps.
        victims: split of the private images whose observed answers the attack inverts, `report` or `train`; "" of an
            attack that observes none, and in rows of a schema before 10.
    """

    sweep: str
    profile: str
    cell: str
    setup: str
    defense: str
    defense_name: str
    defense_params: str
    attack: str
    attack_name: str
    access: str
    architecture: str
    private: str
    public: str
    evaluator: str
    resolution_px: int | None
    identities: int | None
    images_per_identity: int | None
    seed: int | None
    metric: str
    value: float | None
    unit: str
    larger_is: str
    low: float | None = None
    high: float | None = None
    interval: str = ""
    n: int | None = None
    groups: int | None = None
    spread: float | None = None
    spread_kind: str = ""
    chance: float | None = None
    evaluator_accuracy: float | None = None
    status: str = "ok"
    reason: str = ""
    origin: str = "measured"
    source: str = ""
    target_key: str = ""
    reconstructions_key: str = ""
    scores_key: str = ""
    code_version: str = ""
    device: str = ""
    wall_s: float | None = None
    peak_memory_mb: float | None = None
    queries: int | None = None
    attack_params: str = ""
    evaluator_resolution_px: int | None = None
    resize: str = ""
    counted: str = ""
    group_size: int | None = None
    knn_reference: str = ""
    certainty: str = ""
    stand_ins: str = ""
    remark: str = ""
    matched: bool = False
    match_target: float | None = None
    match_tolerance: float | None = None
    match_accuracy: float | None = None
    match_seeds: int | None = None
    failure: str = ""
    private_is_generated: bool | None = None
    column: str = ""
    outcomes: str = ""
    evaluator_low: float | None = None
    evaluator_high: float | None = None
    select_images: int | None = None
    ceiling: float | None = None
    is_estimate: bool = False
    confidence_start: float | None = None
    confidence_end: float | None = None
    confidence_rise: float | None = None
    confidence_rise_low: float | None = None
    gradient_start: float | None = None
    gradient_end: float | None = None
    settings: str = ""
    victims: str = ""

    @property
    def number(self) -> float | None:
        """Value of a row that is ok and finite, else None."""
        is_number = self.status == "ok" and self.value is not None and math.isfinite(self.value)
        return self.value if is_number else None

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}, got {self.status!r}")
        if self.origin not in ORIGINS:
            raise ValueError(f"origin must be one of {', '.join(ORIGINS)}, got {self.origin!r}")
        if self.status == "ok" and self.value is None and self.origin == "measured":
            raise ValueError(f"row {self.metric} of {self.setup} is 'ok' without a value; make it a 'failed' row")
        if self.status != "ok" and not self.reason:
            raise ValueError(f"row {self.metric} of {self.setup} is {self.status!r} without a reason")
        if self.failure and self.failure not in FAILURE_KINDS:
            raise ValueError(f"failure must be one of {', '.join(FAILURE_KINDS)} or empty, got {self.failure!r}")
        if self.matched and None in (self.match_target, self.match_tolerance, self.match_accuracy, self.match_seeds):
            raise ValueError(f"row {self.metric} of {self.setup} is matched, and does not say to what and how near")
