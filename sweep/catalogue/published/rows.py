"""Published numbers as result rows: everything four papers print about the defenses and attacks measured here.

`results.csv` has one line per row of a printed table, in the paper's own names, with a number that never changes. A
value with a spread is written `53.64±4.64`; `others` holds what only few tables print, as `name=value`. `setup` is the
row of the sweep `matrix37` it belongs to, for TL-DMI's own numbers of `tl_dmi20`; `our_defense` the label of our
defense with the published parameters, as far as they are known, else with those of the sweep; `variant` the rest of
what a table says about a row; `remarks` names keys of `remarks.csv`, which says where a paper contradicts itself or
another.

Sources: MIDRE (TMLR 2025, arXiv 2409.01062v3), TL-DMI (CVPR 2024, arXiv 2405.05588), LoFt (arXiv 2410.05814) and LPA,
the defense of served scores by data poisoning. Nothing here was measured by us.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any, NamedTuple

from midef.core.rows import ResultRow
from midef.core.statistics import trade_off_delta

SWEEP = "published"


class Printed(NamedTuple):
    """Unit and direction of a printed metric."""

    unit: str
    larger_is: str


METRICS: Mapping[str, Printed] = {
    "natural_accuracy": Printed("percent", "more useful"),
    "attack_accuracy_at_1": Printed("percent", "less private"),
    "attack_accuracy_at_5": Printed("percent", "less private"),
    "knn_distance": Printed("squared feature distance", "more private"),
    "feature_distance_eval": Printed("squared feature distance", "more private"),
    "feature_distance_face": Printed("squared feature distance", "more private"),
    "fid": Printed("Fréchet distance", "more private"),
    "trade_off_delta": Printed("points per point", "more private"),
    "confidence_distortion": Printed("distance of scores", "less useful"),
    "reconstruction_error": Printed("mean squared error", "more private"),
    "centroid_distance": Printed("feature distance", "more private"),
    "natural_accuracy_change": Printed("percentage points", "more useful"),
    "attack_accuracy_change": Printed("percentage points", "less private"),
    "evaluator_accuracy": Printed("percent", "more useful"),
    "user_votes": Printed("votes", "less private"),
    "user_preference": Printed("percent", "less private"),
    "backdoor_success": Printed("percent", "less useful"),
    "train_s": Printed("seconds", "more costly"),
    "train_s_ratio": Printed("times undefended", "more costly"),
    "defense_train_s": Printed("seconds", "more costly"),
    "inference_ms": Printed("milliseconds", "more costly"),
    "defense_ms": Printed("milliseconds", "more costly"),
}
"""As printed; a row has the name of `OURS` or `NOT_OURS`. feature_distance_eval, feature_distance_face: to the nearest
private image of the identity, features of Inception-v3 and of FaceNet trained on VGGFace2; centroid_distance: to the
identity's mean feature, not squared; trade_off_delta: points of attack accuracy lost per point of natural accuracy;
confidence_distortion: between defended and undefended scores; reconstruction_error: its scale of pixels differs
between data sets; the changes: against the undefended target; user_votes, user_preference: for reconstructions from
this target; defense_ms: per answer."""

OURS: Mapping[str, str] = {
    "feature_distance_eval": "knn_distance",
    "feature_distance_face": "feature_distance_facenet",
    "fid": "fid_ppa",
}
"""Printed metrics that are measured here under another name: the distance in the evaluator's features is the KNN
distance, whatever the evaluator; faces are compared in FaceNet's features, not in MobileFaceNet's; the FIDs are of the
code of PPA or IF-GMI, which is fed another range."""
NOT_OURS: Mapping[str, str] = {"reconstruction_error": "reconstruction_error_printed"}
"""Printed metrics of which another one has the name here: the errors are on scales of pixels that are not stated, ours
in [0, 1]."""
_COLUMNS = tuple(METRICS)[:10]

_ATTACKS = {
    **{"GMI": "gmi", "KedMI": "kedmi", "LOMMA+GMI": "lomma_gmi", "LOMMA+KedMI": "lomma_kedmi", "PLGMI": "plg_mi"},
    **{"BREPMI": "brep_mi", "VMI": "vmi", "PPA": "ppa", "IF-GMI": "if_gmi", "MIRROR": "mirror"},
    **{"Yang2019-inversion(black-box)": "inversion_model", "conditional-diffusion inversion": "diffusion_inverter"},
}
_ACCESS = {
    **dict.fromkeys(("gmi", "kedmi", "lomma_gmi", "lomma_kedmi", "plg_mi", "vmi"), "white box"),
    **dict.fromkeys(("ppa", "mirror", "if_gmi"), "white box"),
    **{"brep_mi": "labels only", "inversion_model": "scores", "diffusion_inverter": "scores"},
}
_ARCHITECTURES = {
    **{name: name.lower() for name in ("VGG16", "IR152", "FaceNet64", "FaceNet112", "ResNet18", "ResNet50")},
    **{name: name.lower() for name in ("ResNet101", "ResNet152", "DenseNet121", "DenseNet169", "ResNeSt101")},
    **{"MaxViT": "maxvit_t", "ResNet-34": "resnet34_vmi", "Inception-V1": "inception_v1"},
    **{"Inception-V3": "inception_v3"},
}
_DATA = {
    **{"CelebA": "celeba", "FaceScrub": "facescrub", "VGGFace2": "vggface2", "StanfordDogs": "stanford_dogs"},
    **{"AFHQ-Dogs": "afhq_dogs", "StanfordCars": "stanford_cars", "CIFAR10": "cifar10"},
}
_COMPARISON = re.compile(r"Tab\.(3|B\.\d+)")
_ANSWERS = {"Both": "both alike", "None": "neither"}  # of a user study; never the defense `none`
INFERRED = ("S33", "S34", "S35")
"""Setups with numbers of which it was inferred that the paper counts them."""


def read_lines() -> list[dict[str, str]]:
    """The lines of `results.csv`: one per row of a printed table."""
    text = files(__package__).joinpath("results.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def published_rows() -> list[ResultRow]:
    """One row per printed number; `cell` names the line it comes from.

    MIDRE's tables of comparison come first, so that whoever wants one number of a setup and a defense takes theirs; all
    else follows in the order of `results.csv`. A mark in place of a number (OP, NA) is a row whose value is None and
    whose remark says so.
    """
    lines = sorted(read_lines(), key=lambda line: not (line["setup"] and _COMPARISON.fullmatch(line["table"])))
    text = files(__package__).joinpath("remarks.csv").read_text(encoding="utf-8")
    remarks = {entry["key"]: entry for entry in csv.DictReader(text.splitlines())}
    undefended = {
        _of_table(line): line for line in lines if line["defense"] == "NoDef" and line["attack_accuracy_at_1"]
    }
    return [row for line in lines for row in _rows(line, undefended.get(_of_table(line)), remarks)]


def _of_table(line: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(line[name] for name in ("paper", "table", "attack", "architecture", "private", "public"))


def _rows(
    line: Mapping[str, str], undefended: Mapping[str, str] | None, remarks: Mapping[str, Mapping[str, str]]
) -> Iterator[ResultRow]:
    shared = _shared(line)
    printed = {name: line[name] for name in _COLUMNS if line[name]}
    printed |= dict(item.split("=", 1) for item in line["others"].split(";") if item)
    for metric, text in printed.items():
        number, _, spread = text.partition("±")
        is_number = number not in ("OP", "NA")
        notes = [r["text"] for key in line["remarks"].split(";") if key and _is_about(r := remarks[key], metric)]
        if not is_number:
            notes.insert(0, f"printed as {number}: as accurate as the undefended model of its table, or more")
        elif metric == "trade_off_delta" and undefended is not None:
            notes += _disagreement(float(number), line, undefended)
        yield ResultRow(
            **shared,
            metric={**OURS, **NOT_OURS}.get(metric, metric),
            value=float(number) if is_number else None,
            unit=METRICS[metric].unit,
            larger_is=METRICS[metric].larger_is,
            spread=float(spread) if spread else None,
            spread_kind="as printed" if spread else "",
            remark="; ".join(notes),
        )


def _is_about(remark: Mapping[str, str], metric: str) -> bool:
    return not remark["metrics"] or metric in remark["metrics"].split()


def _disagreement(delta: float, line: Mapping[str, str], undefended: Mapping[str, str]) -> list[str]:
    """A remark where the accuracies of the same table give another Delta than the printed one."""
    before, after = (
        [float(one[name].partition("±")[0]) for name in ("natural_accuracy", "attack_accuracy_at_1")]
        for one in (undefended, line)
    )
    computed = trade_off_delta(*before, *after).value
    if computed is None or abs(computed - delta) < 0.015:
        return []
    return [f"the accuracies of its table give {computed:.2f}"]


def _shared(line: Mapping[str, str]) -> dict[str, Any]:
    """The fields all metrics of a line have in common."""
    printed_attack = line["attack"].strip("?")
    base = re.sub(r"\(adaptive RE\)$|\+adaptive$", "", printed_attack)
    attack = _ATTACKS.get(base, base)
    architecture = line["architecture"].strip("?")
    private, public = (_DATA.get(name, name) for name in (line["private"].strip("?"), line["public"].strip("?")))
    if public == "FFHQ":
        public = "ffhq_thumbnails" if line["resolution_px"] == "64" else "ffhq"
    defense = _ANSWERS.get(line["defense"], line["defense"])
    ours = line["our_defense"]
    if line["variant"] and not ours and defense:
        defense = f"{defense} ({line['variant']})"
    evaluator, evaluator_px = _evaluator(line)
    return {
        "sweep": SWEEP,
        "profile": SWEEP,
        "cell": f"published-{line['number']}",
        "setup": line["setup"],
        "defense": ours or defense,
        "defense_name": "stack" if "+" in ours else ours.partition("(")[0],
        "defense_params": json.dumps({"printed": line["defense"], "variant": line["variant"]}, sort_keys=True),
        "attack": f"{attack}, adaptive" if base != printed_attack else attack,
        "attack_name": attack if base in _ATTACKS else "",
        "access": _ACCESS.get(attack, ""),
        "architecture": _ARCHITECTURES.get(architecture, architecture),
        "private": private,
        "public": public,
        "evaluator": evaluator,
        "evaluator_resolution_px": evaluator_px,
        **{name: _whole(line[name]) for name in ("resolution_px", "identities", "images_per_identity")},
        "seed": None,
        "origin": "published",
        "source": f"{line['paper']}, {line['table']}",
        "certainty": ("inferred" if line["setup"] in INFERRED else "certain") if line["setup"] else "",
    }


def _whole(text: str) -> int | None:
    return int(text) if text else None


def _evaluator(line: Mapping[str, str]) -> tuple[str, int | None]:
    """Who judged a row of a setup, and at which resolution."""
    if not line["setup"] or line["attack"] == "VMI":  # VMI's own evaluator is another network, not named
        return "", None
    if line["private"] == "VGGFace2":
        return ("inception_v1" if line["architecture"] == "ResNet50" else "resnet50"), None
    return ("facenet112", 112) if line["private"] == "CelebA" else ("inception_v3", 299)
