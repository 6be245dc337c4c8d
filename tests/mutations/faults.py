"""Faults that somebody might make in a refactoring, and the tests that must notice each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Fault:
    """One text of one file replaced.

    Args:
        name: what goes wrong.
        file: from the top of the repository; `old` occurs in it exactly once.
        tests: arguments of pytest, separated by spaces; at least one of these tests must fail.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str

    def apply(self, tree: Path) -> str:
        """Write the fault into a copy of the repository and return the text that was there.

        Raises:
            ValueError: if `old` does not occur exactly once, so that the fault has to follow the code.
        """
        path = tree / self.file
        if not path.exists():
            raise ValueError(f"{self.file} does not exist")
        text = path.read_text(encoding="utf-8")
        if (count := text.count(self.old)) != 1:
            raise ValueError(f"{self.file} holds {self.old!r} {count} times")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")
        return text


FAULTS = (
    Fault(
        "a wrong rate in a recipe",
        "midef/training/recipe.py",
        '"tl-dmi-vgg16": {"learning_rate": 0.02,',
        '"tl-dmi-vgg16": {"learning_rate": 0.2,',
        "tests/training/test_published_recipes.py",
    ),
    Fault(
        "another batch size in a recipe",
        "midef/training/recipe.py",
        '"learning_rate": 0.008, "epochs": 200, "batch_size": 8,',
        '"learning_rate": 0.008, "epochs": 200, "batch_size": 64,',
        "tests/training/test_published_recipes.py",
    ),
    Fault(
        "ten times the rate of LoFt at 64 px",
        "midef/training/recipe.py",
        '"loft-64": {\n        "learning_rate": 0.01,',
        '"loft-64": {\n        "learning_rate": 0.1,',
        "tests/training/test_published_recipes.py",
    ),
    Fault(
        "another batch size of LoFt at 224 px",
        "midef/training/recipe.py",
        '"loft-224": {**_HIGH_RESOLUTION, "batch_size": 96}',
        '"loft-224": {**_HIGH_RESOLUTION, "batch_size": 128}',
        "tests/training/test_published_recipes.py",
    ),
    Fault(
        "a published strength of another row",
        "midef/defenses/bido.py",
        '"celeba-vgg16-tl-dmi": {"lambda_x": 0.03,',
        '"celeba-vgg16-tl-dmi": {"lambda_x": 0.05,',
        "tests/defenses/test_published_presets.py",
    ),
    Fault(
        "a milestone reached one step late",
        "midef/training/recipe.py",
        "sum(progress >= m for m in self.milestones)",
        "sum(progress > m for m in self.milestones)",
        "tests/training/test_recipe.py",
    ),
    Fault(
        "a transposed ratio: utility over attack",
        "midef/core/statistics.py",
        "Delta(attack_drop / utility_drop,",
        "Delta(utility_drop / attack_drop,",
        "tests/core/test_statistics.py midef/core/statistics.py",
    ),
    Fault(
        "a transposed ratio: height for width of a patch",
        "midef/defenses/families/erasing.py",
        "height = (pixels * ratio).sqrt()",
        "height = (pixels / ratio).sqrt()",
        "tests/defenses/test_midre.py",
    ),
    Fault(
        "a front that holds points as bad as another",
        "midef/core/statistics.py",
        "attack < last[1] or",
        "attack <= last[1] or",
        "tests/core/test_statistics.py midef/core/statistics.py",
    ),
    Fault(
        "an interval one-sided instead of two-sided",
        "midef/core/statistics.py",
        "return float(ndtri((1 + level) / 2))",
        "return float(ndtri(level))",
        "tests/core/test_statistics.py",
    ),
    Fault(
        "images of one identity taken as independent where hits are rare",
        "midef/core/statistics.py",
        "weight + (1 - weight) * correlation)",
        "correlation)",
        "tests/core/test_identity_interval.py -k leak",
    ),
    Fault(
        "an interval without its half image",
        "midef/core/statistics.py",
        "moved = rate + rate / (2 * size)",
        "moved = rate",
        "tests/core/test_identity_interval.py -k every_rate",
    ),
    Fault(
        "an interval over seeds that forgets the identities",
        "midef/core/statistics.py",
        "mean + math.hypot(above, half)",
        "mean + half",
        "tests/core/test_statistics.py -k two_levels",
    ),
    Fault(
        "a dropped penalty: BiDO without its labels",
        "midef/defenses/bido.py",
        "-self.lambda_y * on_labels[j]",
        "-0 * on_labels[j]",
        "tests/defenses/test_bido.py",
    ),
    Fault(
        "a dropped penalty: a stack that asks its first member only",
        "midef/defenses/stack.py",
        "        for part in self.members:\n            for name, value in part.penalties",
        "        for part in self.members[:1]:\n            for name, value in part.penalties",
        "tests/defenses/test_stack.py",
    ),
    Fault(
        "an off-by-one in a split: one image in two of them",
        "midef/datasets/files/split.py",
        "items[report + select :]",
        "items[report + select - 1 :]",
        "midef/datasets/files/split.py tests/datasets/test_image_folder.py",
    ),
    Fault(
        "images compared by their bytes",
        "midef/datasets/files/survey.py",
        "seen[file.name] = look_at(open_rgb(read(file)))",
        "seen[file.name] = look_at(open_rgb(data := read(file)))._replace(pixels=str(hash(data)))",
        "tests/sweep/spec/test_checks.py -k saved_again",
    ),
    Fault(
        "a survey that forgets what it could not read",
        "midef/datasets/files/survey.py",
        "if file.name in found}, failures + failed)",
        "if file.name in found}, failures)",
        "tests/datasets/files/test_survey.py tests/sweep/cli/test_datasets.py",
    ),
    Fault(
        "a changed file taken for the one seen before",
        "midef/datasets/files/survey.py",
        "if stored is not None and stored[0] == stamp:",
        "if stored is not None:",
        "tests/datasets/files/test_survey.py",
    ),
    Fault(
        "copies in the report split passed over",
        "midef/datasets/files/copies.py",
        'if "report" in by_split and len(by_split) > 1:',
        "if False:",
        "tests/datasets/test_own_images.py",
    ),
    Fault(
        "one image under two identities passed over",
        "midef/datasets/files/copies.py",
        "if one[1] != first[1]",
        "if one[1] > len(equal)",
        "tests/datasets/test_own_images.py",
    ),
    Fault(
        "system folders taken for identities",
        "midef/datasets/files/left_out.py",
        'return name.startswith(".") or name.lower() in SYSTEM_FOLDERS',
        'return name.startswith(".") or name == "__MACOSX"',
        "tests/datasets/test_own_images.py",
    ),
    Fault(
        "train and test taken for identities",
        "midef/datasets/files/identities.py",
        "if len(suspects) < 2:",
        "if len(suspects) < 99:",
        "tests/datasets/test_own_images.py",
    ),
    Fault(
        "near pairs sought in one bit too few",
        "midef/datasets/files/near.py",
        "for flip in (0, *(1 << bit for bit in range(16))):",
        "for flip in (0,):",
        "tests/datasets/files/test_near.py",
    ),
    Fault(
        "labels of CutMix with their shares swapped",
        "midef/defenses/cutmix.py",
        "(1 - other_share) * of_label + other_share * of_other",
        "other_share * of_label + (1 - other_share) * of_other",
        "tests/defenses/test_cutmix.py",
    ),
    Fault(
        "smoothing with the sign of its second term changed",
        "midef/defenses/nls.py",
        "of_label - alpha * log_p.mean(dim=1)",
        "of_label + alpha * log_p.mean(dim=1)",
        "tests/defenses/test_nls.py",
    ),
    Fault(
        "an answer that may tie after rounding",
        "midef/defenses/rounding.py",
        "others + 1)",
        "others)",
        "tests/defenses/test_rounding.py",
    ),
    Fault(
        "a divergence twice as large",
        "midef/defenses/mid.py",
        "kl: Tensor = 0.5 * (",
        "kl: Tensor = (",
        "tests/defenses/test_mid.py",
    ),
    Fault(
        "a gradient penalty around a slope of zero",
        "midef/training/generative/gan.py",
        ".norm(dim=1) - 1).pow(2).mean()",
        ".norm(dim=1)).pow(2).mean()",
        "tests/training/generative/test_gan.py -k penalty",
    ),
    Fault(
        "the checkpoint with the lowest accuracy kept",
        "midef/training/classifier/fit.py",
        "done.select_accuracy[-1] >= max(done.select_accuracy)",
        "done.select_accuracy[-1] <= min(done.select_accuracy)",
        "tests/training/classifier/test_fit.py -k kept_epoch",
    ),
    Fault(
        "an off-by-one in the rank of a hit",
        "midef/metrics/attack_accuracy.py",
        "hits: np.ndarray = ahead < k",
        "hits: np.ndarray = ahead <= k",
        "tests/metrics/test_attack_accuracy.py",
    ),
    Fault(
        "the mean distance instead of the nearest",
        "midef/metrics/knn_distance.py",
        ".sum(axis=1).min()",
        ".sum(axis=1).mean()",
        "tests/metrics/test_knn_distance.py",
    ),
    Fault(
        "black-box answers that bypass the defense",
        "midef/attacks/target_handle.py",
        "return self._defense.post_process(torch.softmax(self._model(images).logits.float(), dim=1), self._rng)",
        "return torch.softmax(self._model(images).logits.float(), dim=1)",
        "tests/contracts/test_attacks.py::TestAttacks::test_sees_post_process_exactly_below_white_box[brep_mi]",
    ),
    Fault(
        "GMI without the bound on its latents",
        "midef/attacks/gmi.py",
        "searched[0].clamp_(-self.clamp, self.clamp)",
        "pass",
        "tests/attacks/test_gmi.py -k clamp",
    ),
    Fault(
        "a network ruined by its last step stored as a success",
        "midef/training/classifier/fit.py",
        "    check_weights({**model.state_dict(), **stored}, advice=_advice(recipe))\n",
        "",
        "tests/training/classifier/test_fit.py -k no_answer_shows",
    ),
    Fault(
        "the shortest remaining path first",
        "sweep/execution/searcher.py",
        "-node.remaining_s, node.key.digest",
        "node.remaining_s, node.key.digest",
        "tests/sweep/execution/test_searcher.py -k longest",
    ),
    Fault(
        "an interval that reaches down to chance is no chance",
        "midef/core/gates.py",
        "return self.low <= self.chance",
        "return self.value <= self.chance",
        "tests/core/test_gates.py",
    ),
    Fault(
        "what is excluded stands on the front",
        "midef/results/summary.py",
        "nowhere if row.is_excluded or row.has_own_seeds",
        "nowhere if row.has_own_seeds",
        "tests/results/test_gating.py",
    ),
    Fault(
        "a network that guesses is matched",
        "sweep/matching/at_chance.py",
        'outcome.state == "matched" and (reason',
        'outcome.state == "failed" and (reason',
        "tests/sweep/matching/test_at_chance.py",
    ),
    Fault(
        "a judge at chance ticks",
        "dashboards/reconstructions.py",
        '(None, "") if row.is_excluded else _hits',
        '(None, "") if row.has_own_seeds else _hits',
        "tests/dashboards/test_build.py::test_what_is_no_result_has_no_tick_no_colour_and_its_reason",
    ),
    Fault(
        "a defense that leaks more is praised",
        "midef/results/compare.py",
        "{'more' if is_rise else 'less'}",
        "{'less' if is_rise else 'more'}",
        "tests/results/test_compare.py",
    ),
    Fault(
        "a loss above the margin called none",
        "midef/results/compare.py",
        "span.high <= MARGIN_POINTS",
        "span.low <= MARGIN_POINTS",
        "tests/results/test_compare.py",
    ),
    Fault(
        "other images compared as if they were the same",
        "midef/core/outcomes.py",
        "self.images == other.images and ",
        "",
        "tests/core/test_outcomes.py tests/results/test_compare.py",
    ),
    Fault(
        "a front over different seeds",
        "midef/results/summary.py",
        "nowhere if row.is_excluded or row.has_own_seeds else",
        "nowhere if row.is_excluded else",
        "tests/results/test_seeds.py",
    ),
    Fault(
        "Delta of one seed beside the mean over three",
        "midef/results/compare.py",
        "frozenset.intersection(*(seeds",
        "frozenset.union(*(seeds",
        "tests/results/test_seeds.py",
    ),
    Fault(
        "a file whose checksum does not hold is believed",
        "midef/storage/seals.py",
        "if places and not any(",
        "if not places and not any(",
        "tests/storage/test_columns.py::test_a_flipped_bit_never_gives_other_rows",
    ),
    Fault(
        "a file that lost its checksum taken for an older one",
        "midef/storage/seals.py",
        "schema >= sealed_since",
        "schema > sealed_since",
        "tests/storage/test_matches.py",
    ),
    Fault(
        "rows that contradict their artifacts pass for whole",
        "sweep/execution/result_rows.py",
        "if getattr(stored[metric], name) != value",
        "if getattr(stored[metric], name) is value",
        "tests/sweep/cli/test_verify.py",
    ),
    Fault(
        "a training goes on from a changed weight",
        "midef/training/checkpoint.py",
        "unstamped(content)",
        "content",
        "tests/training/test_checkpoint.py::test_a_changed_weight_is_not_trained_on",
    ),
    Fault(
        "a build with the threads of its caller",
        "midef/stages/build.py",
        "        torch.set_num_threads(threads)\n",
        "",
        "tests/stages/test_build.py",
    ),
    Fault(
        "an address that does not answer left to Ray",
        "sweep/execution/ray_address.py",
        "if reason := silence(address):",
        'if reason := "":',
        "tests/sweep/execution/test_ray_start.py",
    ),
    Fault(
        "a Ray of ours on every interface",
        "sweep/execution/ray_start.py",
        "setattr(ray_constants, switch, False)",
        "setattr(ray_constants, switch, True)",
        "tests/sweep/execution/test_ray_start.py",
    ),
    Fault(
        "a token that every user can read",
        "sweep/execution/ray_token.py",
        "os.O_EXCL, 0o600)",
        "os.O_EXCL, 0o644)",
        "tests/sweep/execution/test_ray_start.py",
    ),
    Fault(
        "a changed digit in the journal of studies believed",
        "sweep/matching/journal_lines.py",
        "log[CHECKSUM] != checksum(log)",
        "not log[CHECKSUM]",
        "tests/sweep/matching/test_studies.py",
    ),
    Fault(
        "a broken pipe of another program taken for a closed terminal",
        "sweep/cli/app.py",
        "isinstance(error, BrokenPipeError) and output_is_closed()",
        "isinstance(error, BrokenPipeError)",
        "tests/sweep/cli/test_app.py",
    ),
    Fault(
        "a rise of one identity is taken for one of all",
        "midef/core/gates.py",
        "if end >= SATURATED or rise < RISING_LOG_ODDS or low <= 0:",
        "if end >= SATURATED or rise < RISING_LOG_ODDS:",
        "tests/core/test_traces.py",
    ),
    Fault(
        "what was found and gets surer passes for a search that goes on",
        "midef/core/traces.py",
        "clipped = confidence.clip(LEAST_CONFIDENCE, SURE)",
        "clipped = confidence.clip(LEAST_CONFIDENCE, 1 - LEAST_CONFIDENCE)",
        "tests/core/test_traces.py",
    ),
    Fault(
        "the confidence of all that look in place of the target's",
        "midef/attacks/latent_search/template.py",
        "return seen[:1]",
        "return seen",
        "tests/attacks/latent_search/test_recording.py",
    ),
    Fault(
        "a trait that hardly moves the image weighs as much as the others",
        "midef/metrics/trait_accuracy.py",
        "(((people - image) * weights) ** 2)",
        "((people - image) ** 2)",
        "tests/metrics/test_trait_accuracy.py",
    ),
    Fault(
        "judges that see different shares of a leak are compared in points",
        "midef/results/judges.py",
        "scale = -100 / (undefended.mean - chance)",
        "scale = -1.0",
        "tests/results/test_judges.py",
    ),
    Fault(
        "a regressor is trained for attacks that know the traits",
        "midef/stages/recipes.py",
        "if needs_traits(names) and not are_known:",
        "if needs_traits(names):",
        "tests/stages/test_recipes.py",
    ),
    Fault(
        "the ceiling of estimates is that of known traits",
        "midef/metrics/trait_accuracy.py",
        "if traits is None:\n            traits, labels",
        "if True:\n            traits, labels",
        "tests/metrics/test_trait_accuracy.py",
    ),
    Fault(
        "all restarts start from the surest latent of the pool",
        "midef/attacks/pool_search.py",
        "surest[restart % self.pool, label]",
        "surest[0, label]",
        "tests/attacks/test_pool_search.py",
    ),
    Fault(
        "the pool hangs on who is attacked",
        "midef/attacks/pool_search.py",
        'derive_seed("pool", task.seed)',
        'derive_seed("pool", task.seed, len(task.labels))',
        "tests/attacks/test_pool_search.py",
    ),
    Fault(
        "the length of latents counts twice",
        "midef/attacks/pool_search.py",
        "self.prior_weight / 2 * length",
        "self.prior_weight * length",
        "tests/attacks/test_pool_search.py",
    ),
    Fault(
        "traits of another reconstruction",
        "midef/attacks/latent_search/template.py",
        "traits |= zip(part, known, strict=True)",
        "traits |= zip(part, known.flip(0), strict=True)",
        "tests/attacks/test_pool_search.py",
    ),
    Fault(
        "the renderer forgets the difficulty of the public data",
        "midef/datasets/synthetic_faces.py",
        "FaceFormation(difficulty=self.difficulty)",
        "FaceFormation()",
        "tests/attacks/priors/test_renderer.py",
    ),
    Fault(
        "identity latents with a wrong scale",
        "midef/datasets/synthetic_faces.py",
        "ndtri(self._identity_units()",
        "2 * ndtri(self._identity_units()",
        "tests/datasets/test_formation.py",
    ),
    Fault(
        "a gradient of faces that misses a turn's angle",
        "midef/datasets/faces/shapes.py",
        "g_angle = dot(g_along, across) - dot(g_across, along)",
        "g_angle = dot(g_along, across)",
        "tests/datasets/test_formation.py",
    ),
    Fault(
        "a gradient of faces that misses what is painted over",
        "midef/datasets/faces/shapes.py",
        "(along[:, k] - below[k - 1]).mul_(shown)",
        "(along[:, k] - below[k - 1])",
        "tests/datasets/test_formation.py",
    ),
    Fault(
        "parameters of the usual component are mixed into another one",
        "midef/core/registry.py",
        'value.get("name") == lower.get("name")',
        "lower is not None",
        "tests/core/test_held.py",
    ),
    Fault(
        "the usual component is keyed with its name",
        "midef/core/held.py",
        "return dict(choice.params) if type(component) is self.usual else",
        "return dict(choice.params) if False else",
        "tests/core/test_held.py tests/attacks/test_exchanged_priors.py",
    ),
    Fault(
        "nobody asks whether a prior can be made from the public data",
        "sweep/spec/checks.py",
        "for p in prior.problems_with(public)",
        "for p in ()",
        "tests/sweep/spec/test_checks.py",
    ),
    Fault(
        "the first of two loops of a prior is taken for all of its work",
        "midef/attacks/priors/lokt_surrogates.py",
        "with share(0.0, _DRAWING):",
        "with share(0.0, 1.0):",
        "tests/contracts/test_attacks.py -k lokt_surrogates",
    ),
    Fault(
        "nobody listens to the position of a node",
        "sweep/execution/heartbeat.py",
        "self._followed.__enter__()",
        "pass",
        "tests/sweep/execution/test_heartbeat.py",
    ),
    Fault(
        "epochs of an earlier process count for the pace of this one",
        "midef/core/position.py",
        "return took_s * (1 - fraction) / (fraction - first)",
        "return took_s * (1 - fraction) / fraction",
        "tests/core/test_position.py",
    ),
    Fault(
        "a log whose line does not change falls silent",
        "sweep/execution/progress.py",
        "or now - self._written > REPEATED_AFTER_S",
        "",
        "tests/sweep/execution/test_progress.py",
    ),
    Fault(
        "a time left that rests on estimates does not say so",
        "sweep/execution/time_left.py",
        "is_about or guessed\n            pieces.append(self._piece(node,",
        "is_about\n            pieces.append(self._piece(node,",
        "tests/sweep/execution/test_time_left.py",
    ),
    Fault(
        "the pace of what runs says nothing about what waits",
        "sweep/execution/time_left.py",
        "if certainty > 0:",
        "if False:",
        "tests/sweep/execution/test_time_left.py",
    ),
    Fault(
        "the first moments of a node are believed like its whole course",
        "midef/core/position.py",
        "return min(1.0, max(0.0, fraction - first) / SURE, (time.monotonic() - since) / SURE_S)",
        "return 1.0",
        "tests/core/test_position.py",
    ),
    Fault(
        "a schedule lets pieces begin before what they need",
        "sweep/planning/schedule.py",
        "elif not self.waits_for[piece.key]:",
        "else:",
        "tests/sweep/planning/test_schedule.py",
    ),
    Fault(
        "estimates are counted as timings",
        "sweep/planning/cost.py",
        "if estimated_s is None:",
        "if True:",
        "tests/sweep/planning/test_cost.py",
    ),
    Fault(
        "a defense that a metric was refused for does not say why",
        "midef/results/summary.py",
        "unsaid = without & not_applicable(row for _, row in every)",
        "unsaid = not_applicable(row for _, row in every)",
        "tests/results/test_ceilings.py",
    ),
    Fault(
        "traits of another kind of data count as those of private identities",
        "midef/stages/drawn.py",
        "return private.component == public.component",
        "return True",
        "tests/stages/test_recipes.py -k another_kind",
    ),
    Fault(
        "latents of identities in another order than the labels",
        "midef/datasets/synthetic_faces.py",
        "        return latents\n",
        "        return latents[::-1].copy()\n",
        "tests/contracts/test_datasets.py -k order_of_the_labels",
    ),
    Fault(
        "what was asked in vain, when memory ran out, counts",
        "midef/attacks/latent_search/memory.py",
        "        handle.queries = queries\n",
        "",
        "tests/attacks/test_pool_search.py -k halved",
    ),
)
