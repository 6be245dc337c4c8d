"""Writes the pages that are made from the code: the method pages and the command line's page.

`python docs/make.py` writes them; `python docs/make.py --check` says which differ, and exits 1 if any does.
"""

# ruff: noqa: E501  # sentences of the pages

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NOTE = "<!-- Made by `python docs/make.py`; edit that, or the component's own file. -->"
METHODS = {
    "defenses": (
        "Defenses",
        "One file each in `midef/defenses/`. A defense is written `midre`, `midre(area_high=0.8)`, `bido:celeba-vgg16` (a preset), or "
        "several at once, `tl_dmi+bido`. A preset carries the name of the paper's setting whose numbers it holds. `tuned by` is the "
        "strength that [accuracy matching](accuracy_matching.md) searches.",
    ),
    "attacks": (
        "Attacks",
        "One file each in `midef/attacks/`. `trained before` names the [priors](priors.md) an attack starts from: one that never asks the "
        "target is trained once for all targets, the others once per target, and a sweep builds each once. A preset is the paper's whole "
        "setting, priors included. Where another prior can stand in the place of the paper's, it is named after `or`, and written "
        "`gmi(prior=renderer)` or `prior: {name: renderer}`; parameters without a name, `gmi(prior={steps: 10})`, are those of the "
        "paper's. `recorded per step`: what the [traces](traces.md) of a search hold.\n\n"
        "Not built: DMMIA (Qi et al., ACM MM 2023). Its released code optimises another objective than its paper states, and no paper "
        "compared with here prints a number of it, so nothing would tell whether ours is right.",
    ),
    "priors": (
        "Priors",
        "What attackers train beforehand on public data. One file each in `midef/attacks/priors/`. StyleGAN2s that others published: "
        "[published_weights.md](published_weights.md). GANs draw a power of two: targets of 65 to 256 px, as 112 or 224, are attacked by networks of "
        "256 px, with two blocks more than those of 64 and no more channels (LoFt, MIBench). They learn the public images at that resolution, which is "
        "also what their discriminator judges in a search, and what they draw is resized for the target, by antialiased bilinear weights. "
        "Those that are trained take `precision` (`tf32`, or `bfloat16`: autocast around networks) and `captured: true`: on a GPU an update is recorded as a "
        "CUDA graph and replayed, and optimizers are fused. Both are part of the key where they are set. Trainings of classifiers have `precision` and "
        "`compiled` (`torch.compile`). Neither graphs nor compiled passes were run on a GPU yet; their steps are tested on a CPU.",
    ),
    "metrics": (
        "Metrics",
        "One file each in `midef/metrics/`. A result row is one metric of one cell; a metric that could not be measured is a row with "
        "the status `failed` and the reason. What the intervals are: [intervals.md](intervals.md). A sweep measures the group `standard`, or "
        "what its `metrics:` names ([below](#more-metrics)). `needs`: the file of a published network in `$MIDEF_WEIGHTS`.",
    ),
    "analyses": (
        "Analyses: why should a defense work?",
        "One file each in `midef/analysis/`. `midef analyse NAME SWEEP` reads what the sweep has stored, of its "
        "first setup and seed if it does not say `over` all seeds or setups. It prints a table and a verdict, and writes two files: the figure, `NAME.html`, which opens without network, and beside it "
        "the rows, `NAME.parquet`, whose metadata hold the verdict and what was analysed. The store keeps what was found in `analyses/`, for the dashboard. Parameters are written as of any component: "
        "`midef analyse 'fisher(images=64)' mine.yaml`. What is not stored yet is named, and `midef run` makes it.",
    ),
    "datasets": (
        "Data sets",
        "One file each in `midef/datasets/`. Published sets are looked for in `$MIDEF_DATA`, each in a folder of its name; "
        "`midef doctor` says what is missing, `midef datasets card NAME` gives licence, consent, counts, what is left out and the "
        "fingerprint, `midef datasets check NAME` finds copies and near copies ([own_images.md](own_images.md)).",
    ),
    "architectures": (
        "Architectures",
        "One family per file in `midef/models/`. `_tiny` siblings have the same block structure at a size for two cores. "
        "Published weights (`weights: imagenet` or `ms1m`) are files of torchvision and Face.evoLVe in `$MIDEF_WEIGHTS`; "
        "of the latter also copies saved from DataParallel or torch.compile, or as the table `state_dict` or `model` "
        "beside an epoch. A tensor that is not finite, or a file that does not fit, is refused and named. An architecture that only judges "
        "has a card below.",
    ),
}

AFTER = """## Exit codes

| code | meaning |
| --- | --- |
| 0 | done |
| 1 | some cells failed, or a strength search ended undecided or at chance; rows and output say why ([failures.md](failures.md)) |
| 2 | wrong usage or specification |
| 3 | something is missing here: data, weights, disk, a Ray cluster, a newer midef for this store |
| 4 | the budget is reached; the same command goes on |
| 5 | a check found something: `midef verify` damaged files that are still in their place, `midef datasets check` images that are equal in every pixel, `midef audit --fail-above` an attack accuracy that is not shown to be at or below the threshold, `midef compare` a second side that leaks more, or nothing that is paired, `midef merge` things of one name and two contents, `midef dashboard check` a rule that a page breaks |
| 70 | an error nobody expected; the message names the file with its traceback, in `errors/` of the store where there is one |
| 130 | interrupted; what is finished is stored, the same command goes on |

## Environment variables

| variable | |
| --- | --- |
| `MIDEF_RESULTS` | the store, where `--store` is not given (`./midef-store`) |
| `MIDEF_DATA` | published data sets, each in a folder of its name (`~/.cache/midef/data`) |
| `MIDEF_WEIGHTS` | published weights (`~/.cache/midef/weights`) |
| `MIDEF_GPUS` | most GPUs a growing cluster can have (`--gpus`) |
| `MIDEF_SWEEP`, `MIDEF_PROFILE` | what `sweep/full_matrix.py` runs if nothing is named (`matrix37`, in its own profile); `sweep/match_accuracy.py`: `smoke` |
| `RAY_ADDRESS`, `RAY_AUTH_MODE` | Ray's own; with an address midef joins that cluster, else it starts a local Ray |
"""


def command_line() -> str:
    """Every verb with its options, from the parser; then exit codes and environment variables."""
    from midef.sweep.cli.app import make_parser

    parser = make_parser()
    (verbs,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    about = {action.dest: action.help or "" for action in verbs._choices_actions}
    lines = ["`midef VERB [options]`, or `python -m midef VERB [options]`.", "", "| verb | |", "| --- | --- |"]
    lines += [f"| [`{name}`](#midef-{name}) | {cell(text)} |" for name, text in about.items()]
    for name, verb in verbs.choices.items():
        lines += [
            "",
            f"## midef {name}",
            "",
            f"{about[name][:1].upper()}{about[name][1:]}.",
            "",
            "| option | |",
            "| --- | --- |",
        ]
        lines += [f"| {cell(written(a))} | {cell(explained(a))} |" for a in verb._actions if a.dest != "help"]
    return "\n".join([*lines, "", AFTER])


def written(action: argparse.Action) -> str:
    """An option or argument as one types it."""
    value = "" if action.nargs == 0 else str(action.metavar or "")
    if not value and action.nargs != 0:
        value = "\\|".join(map(str, action.choices)) if action.choices else action.dest.upper()
    if not action.option_strings:
        return f"`{value}`" if action.required else f"`[{value}]`"
    return f"`{', '.join(action.option_strings)}{' ' if value else ''}{value}`"


def explained(action: argparse.Action) -> str:
    """Its help, and the default where the help does not name one."""
    text = action.help or ""
    plain = isinstance(action.default, str | int | float | Path) and not isinstance(action.default, bool)
    if plain and str(action.default) and "default" not in text:
        text += f" (default {action.default})"
    return text


def cell(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return " ".join(text.split()).replace(" | ", " \\| ")


LIMITS_TEXT = """## When a number is not shown as a result

An *excluded* number is stored and shown with its reason (⊘), and is never on a front, ticked, matched or compared. One that is *noted* is compared
and carries a mark (!). Tables in every format, the dashboard, the last lines of a run and accuracy matching ask one place,
`midef/core/gates.py`. One excluded seed excludes a defense, whose mean would hold it. An interval "reaches down to chance" if its lower end
does; a number without an interval counts as it is. Published numbers are not judged. "Attack not converged" is a remark about the budget of the
attack; that an attack without it finds little shows a defense only beside what else its trace says ([traces.md](traces.md)).
"""


MORE_TEXT = """## More metrics

`metrics:` of a specification lists metrics or groups; it replaces the standard ones, but for test accuracy and attack accuracy@1, by which defenses
are compared.

```yaml
metrics: [standard, images]      # or answers, faces, extraction, adversarial, reliability, backdoors, all, or single names
```

- **Groups**: `standard` costs next to nothing and needs no file. `faces` and `images` read every reconstruction and private image with a published
  network (FID at 299 px: 0.2 s an image on one core; private images once for all cells of a process). `extraction` trains two students per
  cell. `answers` compares answers with undefended ones: a defense that changes the training then needs the undefended target, too. `judges` is
  attack accuracy under the evaluator and under the target, see [protocols](protocols.md#who-judges). `adversarial`, `reliability` and `backdoors` are side effects of
  a defense, below.
- **Files**: nothing is downloaded. While a file is missing, `midef plan` says which metrics will be refused, and each is a row with the status `refused`,
  the kind `data` and the file to bring. When it lies in `$MIDEF_WEIGHTS`, these scores have another key and are measured anew; nothing needs
  to be deleted, and targets and attacks are taken from the store. Files are read without executing anything, their digest is compared, and every
  tensor must fit.

| file | read by | get it from |
| --- | --- | --- |
{files}

- **delta_eval** of PPA, IF-GMI and MIBench is `knn_distance`: the squared distance in the evaluator's features. **delta_face** is `feature_distance_facenet`,
  which needs the file of InceptionResnetV1 and is measured where it is asked for; `feature_distance_face` is the same in MobileFaceNet's embedding at 112 px and
  compares with no published number. The L2 distance of MIRROR and TL-DMI is `centroid_distance`, which
  is not squared.
- **FID** is biased upwards by few images: the remark of a row says how many there are, and that their covariance is singular below 2,048. No interval: a
  bootstrap repeats images, so it is biased more than the value. `kid` has no bias, and an interval by leaving out identities. `fid_ppa` is what
  the code of PPA prints, which feeds [-1, 1] to a network that expects [0, 1]: compare it with such columns alone.
- **Precision, recall, density, coverage** are computed per identity with three neighbours and averaged; with fewer than four images of an identity, made
  or private, they are refused. The `_ppa` variants count as that code does: nearest ball alone, another divisor, equal distances inside.
- **Pairs**: `reconstruction_error` (pixels in [0, 1]), `reconstruction_error_normalised` (unit variance of private pixels), `psnr`, `ssim` and `lpips` compare a
  reconstruction with the observed image it is made from (inversion networks). Other attacks look for an identity: these rows are refused, and
  `lpips_nearest` compares with the nearest private image instead. What a normalised error means, digits 0 to 4 of MNIST at 32 px (Fashion-MNIST in
  brackets): one grey 1.00 (1.02), the mean of all private images 0.69 (0.50), of all public ones 0.73 (0.88), of the right class 0.51 (0.35), another image
  of the right class 1.03 (0.70). An attacker who draws the right digit in another hand has no small error. `privacy_curve_area` is 1 minus
  `reconstruction_error`; the curve itself is [an analysis](analyses/privacy_curve.md).
- **Utility of answers**: `natural_accuracy` is the accuracy of what is served, also where labels may change. Under a defense that answers jointly, as `lfp`, answers
  depend on the calls: the report split is always asked by calls of 256 images, for every cell and for the target's own facts. `confidence_distortion` is the
  mean L2 distance of served scores from those of the same target under no defense. Its images are those whose answers the attacker observed, by the calls that
  the attack made (LPA's Conf.Dist), of the split that the protocol's `victims` names; of an attack that observes none, the report split. The remark of the row says which; `per_image.npz` of the
  scores holds both score vectors of observed images. An attack that sees labels alone: refused. `midef dashboard build --utility confidence_distortion` plots
  attack accuracy against it.
- **Knowledge extraction** (`kes_ppa`, `kes_loft`): a student learns to name the attacked identities from the reconstructions alone, and is asked about the
  private training images (`_test`: about the report split). No private image teaches it or chooses an epoch, and it starts from ImageNet weights
  where the file is there, else fresh, never from a face network. `chance` of the row is what the same student reaches under shuffled labels; the
  remark says what it starts from. Small profiles have a tiny student of 20 epochs: compare such a score within its profile only.
- **Side effects** (`adversarial`, `reliability`, `backdoors`): what a defense costs, or gives, beside utility and privacy. FGSM, PGD, BIM and one pixel, untargeted and
  targeted (the next class), on the private report split, as in LoFt's appendix E: success over all images, those the network names wrongly anyway
  among them; the remark has the success over the others. Strengths (eps 8/255, steps of 2/255, 10 steps; population and generations 10) are the
  defaults of torchattacks and not the paper's, which are not legible in our copy. Random starts and candidates are the same for all targets. The network is
  attacked and judged, so a defense of answers alone has the numbers of its network, and the remark says so. One pixel takes 220 forward passes an
  image, minutes for a few hundred images on two cores, the others together 48. FGSM and BIM give the images that ART gives (a test, where `pip install midef[adversarial]` put it). `calibration_error` (ECE,
  15 bins) and `corruption_accuracy` (five corruptions, severities ours) cost next to nothing. Any of them is an axis:
  `midef dashboard build --utility fgsm_success`. Six defenses on synthetic faces:
  [benchmarks/defenses/side_effects.md](../benchmarks/defenses/side_effects.md).
- **Backdoors** (`backdoors`): `backdoor`, written beside a defense (`midre+backdoor`), is no defense but an attacker's poisoned training data; compare it
  with `backdoor` alone. It puts a trigger on a share of the images of other classes and labels them as one class: `badnets`, a checkerboard in the lower right
  corner, or `blended`, one noise image mixed into the image. The defense is given the poisoned data, wherever it stands in the stack. `backdoor_success` is the share of private
  test images of other classes that the network names as that class once the trigger is on; the remark has what it is without the trigger, and over all images,
  as LoFt counts. A target that was not poisoned is refused. Poison rate (10 %), patch (a tenth of the side) and blend (0.1) are defaults of ours: LoFt's rate, of its table 18,
  is not legible in our copy. `natural_accuracy` of the same target is that on clean images. Built and tested, not yet in the table of defenses.
"""


JUDGE_TEXT = """## Choosing an evaluator

Attack accuracy says what the evaluator recognises. One that is trained here knows each person from the private training images alone; on few
photographs it is a weak judge (42 people of LFW: 83.5 %), and what it misses counts as privacy. For photographs of faces there is a judge that
learned elsewhere, on other people's photographs (99.7 % of the same test images, 99.8 % of all 106 people):

```yaml
setups:
  - attack: gmi
    evaluator: mobilefacenet                    # or mobilefacenet(head=linear)
    protocol: {evaluator_resolution_px: 112}
```

- **Needs** the file `mobilefacenet.pt` in `$MIDEF_WEIGHTS`; `midef plan` says where to get it, `midef doctor SWEEP` whether it is there. Images must be
  faces as ArcFace aligns them: eyes, nose and mouth at the usual places of a square of 112 px. For other pictures it says nothing.
- **Fitted**: only a head, on the features of private training images. `centre`: a logit is the cosine to the mean feature of a person. `linear`: a
  linear layer, each person weighing the same. The network stays as published; `evaluator_training` has no part in it. Its accuracy is measured
  on the test images, as for any evaluator, and stands above the table.
- **Ranks only**: attack accuracy compares logits of one image. A cosine is no probability, and logits of two heads or two evaluators do not compare.
  KNN distances are squared distances of its features, between 0 and 4: they compare with those of no other evaluator.
- **Only judges**: as a target, as a network of an attack, or as the start of a training it is refused. An attack that used it would be judged by its
  own adviser. Public images that were chosen with its help are such a tie, too: say so beside the numbers.
- **What it may have seen**: it learned on MS-Celeb-1M, which may hold some of the people attacked here, in other photographs. It can then
  recognise a person from less than the private images tell: a hit shows that the image looks like the person, not that a stranger would know
  them. Below the table a note says that the evaluator starts from published weights. Its card: [architectures.md](architectures.md#mobilefacenet).
- **Two judges**: run a sweep once with each evaluator, under two setup ids. Targets and attacks are shared, only the scores are computed twice.
"""


TRAITS_TEXT = """## Trait accuracy: truth without a network

A procedural face is drawn from numbers: identity traits, and others that change from image to image (pose, expression, light, colour). So whom a
reconstruction shows can be told without a network. An image counts where the attacked identity is the nearest of *all* private identities:

- **Distance**: the sum over traits of (weight x difference)². Traits are standard normal over the population; a tie, or no number, is a miss.
- **Weight**: root mean square of the change of the image per standard deviation of the trait, over pixels, channels and 64 random images of the
  population, by central differences, without pixel noise. It follows from data set, difficulty and resolution, and is stored with the scores
  (`traits.npz`). So the distance is about how much the traits change the image.
- **Known or read**: an attack that searches the traits themselves (the prior `renderer`) knows them, where public and private data are of one kind.
  For all others a regressor reads them from the image, and the number is marked `~`: an estimate. It learns from fresh renderings of random people,
  half blurred, all noisy, shifted by a pixel at most, because generators draw no sharp edges. It is an artifact (`regressor`), one for all data
  drawn in the same way; `regressor_images` of a specification is its budget (30,000). At 32 px, 120 identities and difficulty 0.2, on one core:
  10,000 images take 10 s and give a ceiling of 83 %, 30,000 take 28 s and give 93 %, 60,000 take 59 s and give 96 %. On 240 reconstructions each
  of an undefended target and one under MIDRE by `pool_search` through the renderer, where both are known, 30,000 give 71.7 and 62.1 % where the
  truth is 73.8 and 61.7 %, with the same verdict on 83 and 80 % of the images.
- **Ceiling**: what true private images reach: 100 % by definition where traits are known, on the private report split where they are read. It
  stands above the table, in every row and in the CSV. Below 50 % the number is noted, and the judges are not compared.
- **Sides**: a mirrored face is another person here where its fringe slopes (`fringe_slope`, the only trait with a side). Targets whose training
  mirrors half of the images, as is usual, do not learn the side, so no attack finds it. In 17 searches of undefended targets (`pool_search` through
  the renderer, 120 identities) the right person, or their mirror image, was the nearest for 0 to 6 points more reconstructions, 3 on average.
- Where private data is not drawn from traits the metric is refused, and nothing is shown.

### Where the judges disagree

Evaluator and traits judge the same reconstructions. Each says how a defense changes the leak against the undefended model, paired image by image
over the same seeds. They do not see the same share of a leak (40 % by traits may be 53 % for the evaluator), so differences in points are no
measure of disagreement. They are divided by the undefended leak above chance of the same judge: -50 % is half of the leak, for both. **Judges
disagree about a defense if the two 95 % intervals of this change do not overlap.** Where both are equally certain this is stricter than a test at
5 %: it errs about once in 180 times, less often if they err together. The undefended leak counts as known; where its own interval reaches chance,
there is nothing to change, and nothing is said. Agreement is no proof: few identities make wide intervals. A sentence below the table says where
they disagree, in the CSV the column `judges_disagree`.
"""


def cards() -> str:
    """What is to be known of each architecture that only judges: all that its class says."""
    from midef.models import ARCHITECTURES

    texts = []
    for name in ARCHITECTURES.names():
        judge = ARCHITECTURES.get(name)
        if ARCHITECTURES.origin(name) is None and judge.judges_only and judge.published is not None:
            file = judge.published
            about = f"File: `{file.name}`, sha256 `{file.sha256}`, from {file.source}."
            texts.append(f"## {name}\n\n{inspect.cleandoc(judge.__doc__ or '')}\n\n{about}\n")
    return "\n".join(texts)


def more_metrics() -> str:
    """Section about groups of metrics, with the files that they need."""
    from midef.metrics import METRICS
    from midef.metrics.extractors import EXTRACTORS

    readers: dict[str, list[str]] = {}
    sources: dict[str, str] = {}
    for name in METRICS.names():
        for extractor in METRICS.get(name).extractors:
            file = EXTRACTORS.get(extractor).file
            readers.setdefault(file.name, []).append(name)
            sources[file.name] = file.source
    rows = [f"| `{file}` | {', '.join(names)} | {sources[file]} |" for file, names in sorted(readers.items())]
    return MORE_TEXT.replace("{files}", "\n".join(rows))


def limits() -> str:
    """Section about numbers that are no results, with the table of their limits."""
    from midef.core.gates import LIMITS

    rows = [f"| {limit.grade} | {cell(limit.what)} | {cell(limit.why)} |" for limit in LIMITS]
    return "\n".join([LIMITS_TEXT, "| | where | because |", "| --- | --- | --- |", *rows, ""])


ANALYSES_TEXT = """What a defense records of its training (the epsilon and delta of `dp_sgd`, the share of trapdoors that fire for `trap_mid`) is in the
target's `training.json` and in its `META.json`; triggers lie beside the weights.
"""


def analyses() -> str:
    """Which analyses have a page of their own, and what the store holds beside them."""
    own = sorted(page.stem for page in (HERE / "analyses").glob("*.md"))
    links = ", ".join(f"[{name}](analyses/{name}.md)" for name in own)
    return f"What each says on a stored sweep, with its figure: {links}.\n\n{ANALYSES_TEXT}"


NOTEBOOKS = ("results_in_pandas",)
"""Pages whose examples are a notebook as well."""
CODE = re.compile(r"^```python\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


def notebook(page: str) -> str:
    """A page as a notebook: its Python blocks are the code cells, what stands between them is text."""
    parts = [part.strip("\n") for part in CODE.split(page)]
    cells: list[dict[str, object]] = []
    for i, part in enumerate(parts):
        lines = part.splitlines(keepends=True)
        if i % 2:
            own: dict[str, object] = {"cell_type": "code", "execution_count": None, "outputs": []}
        else:
            own = {"cell_type": "markdown"}
        if part:
            cells.append({**own, "id": f"cell-{i}", "metadata": {}, "source": lines})
    about = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return json.dumps({"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def pages() -> dict[str, str]:
    """Text of every generated page, by file name; what packages of others add has no place in them."""
    from midef.sweep.cli.listing import list_entries, markdown

    made = {
        f"{what}.md": f"# {title}\n\n{NOTE}\n\n{text}\n\n{markdown(list_entries(what, packages=False))}\n"
        for what, (title, text) in METHODS.items()
    }
    made["metrics.md"] += f"\n{more_metrics()}\n{JUDGE_TEXT}\n{TRAITS_TEXT}\n{limits()}"
    made["architectures.md"] += f"\n{cards()}"
    made["analyses.md"] += f"\n{analyses()}"
    made |= {f"{name}.ipynb": notebook((HERE / f"{name}.md").read_text("utf-8")) for name in NOTEBOOKS}
    return made | {"cli.md": f"# The command line\n\n{NOTE}\n\n{command_line()}"}


def main() -> int:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page differs")
    check = parser.parse_args().check
    for name in [name for name in os.environ if name.startswith("MIDEF_")]:
        del os.environ[name]  # defaults are those of a fresh machine
    stale = [
        name for name, text in pages().items() if not (HERE / name).exists() or (HERE / name).read_text("utf-8") != text
    ]
    for name in stale:
        if not check:
            (HERE / name).write_text(pages()[name], "utf-8")
        sys.stdout.write(f"{'differs' if check else 'written'}: docs/{name}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
