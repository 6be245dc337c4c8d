"""One file adds a component: nothing elsewhere is keyed by its name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from midef.analysis import ANALYSES
from midef.attacks import ATTACKS, PRIORS
from midef.datasets import DATASETS
from midef.defenses import DEFENSES
from midef.metrics import METRICS
from midef.models import ARCHITECTURES

ROOT = Path(__file__).resolve().parents[2]
REGISTRIES = (ATTACKS, PRIORS, DATASETS, DEFENSES, METRICS, ARCHITECTURES, ANALYSES)
HOMES = {(r.get(name).__module__, name) for r in REGISTRIES for name in r.names()}  # type: ignore[attr-defined]
NAMES = {name for _, name in HOMES}
PLACES = {
    "sweep/catalogue/": "published matrices and numbers name the methods they are about",
    "sweep/spec/profiles.py": "stand-ins: what a small profile puts in the place of a published network or data set",
    "sweep/spec/datasets.py": "a path alone is read as a folder of images",
    "midef/models/pretrained.py": "a published weight file names the network it holds",
}
"""Where names may be keys, and why."""
HOMONYMS = {
    "queries": "also a field of stored facts",
    "train_s": "also a field of stored facts",
    "wall_s": "also a field of stored facts and of costs",
    "students": "also the role of a prior",
    "precision": "also a field of trainings",
    "none": "also weights that are fresh, and what every defense is compared with",
    "mirror": "also a field of trainings that mirror images",
    "vmi": "also a published split of CelebA",
    "psnr": "also a loss of an inversion network",
    "ppa": "also a published split of CelebA and of FaceScrub",
    "ffhq": "also a published generator",
    "metfaces": "also a published generator",
    "rank": "also a parameter of low-rank heads, and a column",
    "alignment": "also a parameter of defenses that poison answers",
    "confidence": "also a series of traces; the metric of this name is an example of the documentation",
}
"""Words that are something else where they are keys, and what."""


def keys_of(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every registered name that is a key, is compared with or is matched; presets are free."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    presets = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and target.id.lower() == "presets" and node.value is not None
        for inner in ast.walk(node.value)
    }
    for node in ast.walk(tree):
        texts: list[ast.expr | None] = []
        if isinstance(node, ast.Dict) and node not in presets:
            texts = list(node.keys)
        elif isinstance(node, ast.Compare):
            for side in (node.left, *node.comparators):
                texts += side.elts if isinstance(side, ast.Tuple | ast.List | ast.Set) else [side]
        elif isinstance(node, ast.MatchValue):
            texts = [node.value]
        elif isinstance(node, ast.Subscript):
            texts = [node.slice]
        for text in texts:
            if isinstance(text, ast.Constant) and text.value in NAMES:
                yield text.lineno, str(text.value)


def wrong_keys(path: Path) -> list[str]:
    place = str(path.relative_to(ROOT))
    module = place.removesuffix(".py").replace("/", ".")
    return [
        f"{place}:{line}: {name}"
        for line, name in keys_of(path)
        if (module, name) not in HOMES and name not in HOMONYMS
    ]


def test_no_name_of_a_component_is_a_key_outside_its_own_file() -> None:
    folders = ("midef", "sweep", "dashboards", "tests/contracts")
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    allowed = [path for path in paths if str(path.relative_to(ROOT)).startswith(tuple(PLACES))]
    assert [key for path in paths if path not in allowed for key in wrong_keys(path)] == []
    for place in PLACES:
        of_place = [path for path in allowed if str(path.relative_to(ROOT)).startswith(place)]
        assert any(wrong_keys(path) for path in of_place), f"nothing in {place} is keyed any more: take it from PLACES"


def test_the_search_sees_every_way_to_key(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text(
        "a = {'midre': 1}\nb = name == 'bido'\nc = name in ('gmi', 'x')\nd = table['nls']\n"
        "match name:\n    case 'loft':\n        pass\npresets = {'mid': {}}\ne = choose('ssf')\n"
    )
    assert sorted(keys_of(path)) == [(1, "midre"), (2, "bido"), (3, "gmi"), (4, "nls"), (6, "loft")]
