"""Realistic rows and artifacts made by hand: what a sweep would store, without a sweep."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from midef.core import ArtifactKey, MissingArtifact, ResultRow
from midef.core.match import MatchOutcome, MatchReport, MatchTraining
from midef.core.outcomes import Outcomes
from midef.core.statistics import identity_interval
from midef.dashboards.build import BuildReport, build_page

# Test accuracy, attack accuracy@1, @5, KNN distance, cost; invented, in the range that the tiny profile gives.
DEFENSES = {
    "none": (99.3, 96.8, 99.4, 0.612, 31),
    "nls(alpha=-0.05)": (98.4, 88.0, 97.0, 0.684, 33),
    "midre(area_high=0.4)": (98.7, 79.6, 93.6, 0.741, 47),
    "midre(area_high=0.8)": (94.1, 45.2, 70.9, 0.893, 52),
    "bido": (95.2, 71.3, 90.2, 0.765, 58),
    "loft(rank=16)": (96.9, 58.8, 82.3, 0.842, 39),
    "stack(midre, nls)": (93.2, 52.4, 75.8, 0.871, 55),
    "round(digits=1)": (99.3, 95.9, 99.2, 0.615, 31),
}
IDENTITIES, RESTARTS, SIZE = 60, 3, 32


@dataclass
class Shelf:
    """Stands for an artifact store: folders by key, and which were asked for."""

    root: Path
    asked: list[str] = field(default_factory=list)

    def put(self, key: ArtifactKey, file: str, **arrays: Any) -> None:
        folder = self.root / key.kind / key.digest
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / file, **arrays)

    def fetch(self, key: ArtifactKey) -> Path:
        self.asked.append(str(key))
        folder = self.root / key.kind / key.digest
        if not folder.is_dir():
            raise MissingArtifact(f"{key.short} is not stored")
        return folder


def a_row(metric: str, value: float | None, **changes: Any) -> ResultRow:
    facts: dict[str, Any] = {
        **{
            "sweep": "first-look",
            "profile": "smoke",
            "setup": "faces32-gmi",
            "defense": "none",
            "defense_name": "none",
        },
        **{"defense_params": "{}", "attack": "gmi", "attack_name": "gmi", "access": "white box"},
        **{"architecture": "tiny_vgg16", "private": "synthetic_faces", "public": "synthetic_faces(public)"},
        **{"evaluator": "tiny_resnet18", "resolution_px": SIZE, "identities": IDENTITIES, "seed": 0},
        **{"images_per_identity": RESTARTS, "unit": "percent", "larger_is": "more useful", "code_version": "0.1.0"},
        **{"evaluator_accuracy": 99.1},
    }
    facts |= changes
    facts.setdefault("cell", "".join(c for c in f"{facts['setup']}{facts['defense']}{facts['seed']}" if c.isalnum()))
    return ResultRow(metric=metric, value=value, **facts)


def a_face(rng: np.random.Generator, person: int, blur: float) -> np.ndarray[Any, Any]:
    """uint8 [3, H, W]: an oval with eyes and a mouth whose places belong to the person; `blur` 0 to 1 loses them."""
    shape = np.random.default_rng(person)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE

    def oval(cx: float, cy: float, rx: float, ry: float) -> Any:
        distance = (x - cx) ** 2 / rx**2 + (y - cy) ** 2 / ry**2
        return 1 / (1 + np.exp(np.minimum((distance - 1) * (9 - 7 * blur), 50)))

    drift = rng.normal(0, 0.06 * blur, 6)
    tint = rng.uniform(0.55, 0.9, 3) * [1.0, 0.85, 0.75]
    image = np.ones((3, SIZE, SIZE)) * rng.uniform(0.15, 0.5, 3)[:, None, None]
    head = oval(0.5, 0.52, shape.uniform(0.26, 0.38) + drift[0], shape.uniform(0.34, 0.45) + drift[1])
    image = image * (1 - head) + tint[:, None, None] * head
    gap, height = shape.uniform(0.09, 0.17) + drift[2], shape.uniform(0.38, 0.48) + drift[3]
    for cx in (0.5 - gap, 0.5 + gap):
        image *= 1 - 0.8 * oval(cx, height, shape.uniform(0.03, 0.06), 0.035)
    image *= 1 - 0.6 * oval(0.5, shape.uniform(0.66, 0.76) + drift[4], shape.uniform(0.07, 0.15), 0.03)
    image += rng.normal(0, 0.01 + 0.06 * blur, image.shape)
    return (np.clip(image, 0, 1) * 255).astype(np.uint8)


def a_cell(shelf: Shelf, defense: str, seed: int, **changes: Any) -> list[ResultRow]:
    """The rows of one cell, and its two artifacts."""
    acc, attack, attack5, knn, cost = DEFENSES[defense]
    name = defense.partition("(")[0]
    salt = sum(map(ord, defense + str(changes))) * 7 + seed
    rng = np.random.default_rng(salt)
    rate = np.clip(rng.beta(attack / 12, (100.5 - attack) / 12, IDENTITIES), 0, 1)
    hits = rng.random((IDENTITIES, RESTARTS)) < rate[:, None]
    hits5 = hits | (rng.random(hits.shape) < max(0, (attack5 - attack) / (100.1 - attack)))
    recon, scores = ArtifactKey("reconstructions", f"{salt:064x}"), ArtifactKey("scores", f"{salt:064x}")
    labels, restarts = np.repeat(np.arange(IDENTITIES), RESTARTS), np.tile(np.arange(RESTARTS), IDENTITIES)
    shown = labels < 8  # faces are only drawn where somebody looks
    images = np.zeros((labels.size, 3, SIZE, SIZE), np.uint8)
    for i in np.flatnonzero(shown):
        images[i] = a_face(rng, int(labels[i]), 0.35 if hits.ravel()[i] else 1.0)
    shelf.put(recon, "images.npz", images=images, labels=labels, restarts=restarts)
    shelf.put(scores, "per_image.npz", labels=labels, restarts=restarts, hit_at_1=hits.ravel(), hit_at_5=hits5.ravel())
    people = np.arange(IDENTITIES)
    own = np.random.default_rng(5)
    faces = np.stack([a_face(own, int(p), 0.0) if p < 8 else images[0] for p in people])
    shelf.put(scores, "exemplars.npz", images=faces, labels=people)
    shared = {
        "defense": defense, "defense_name": name, "defense_params": f'{{"label":"{defense}"}}', "seed": seed,
        "reconstructions_key": str(recon), "scores_key": str(scores), **changes,
    }  # fmt: skip
    rates = np.clip(np.random.default_rng(1).normal(acc, 0.35, 200) / 100, 0, 1)  # some people are hard for all
    answers = np.random.default_rng(salt).random((200, 5)) < rates[:, None]
    natural, (low, high, kind) = 100 * float(answers.mean()), identity_interval(answers)
    spans = [identity_interval(h) for h in (hits, hits5)]
    white_box = {"larger_is": "less private"}
    kept = [Outcomes.of(h.ravel(), np.repeat(np.arange(len(h)), h.shape[1]), "ab" * 8).text for h in (answers, hits)]
    span = {"low": 100 * low, "high": 100 * high, "interval": kind, "n": 1000}
    return [
        a_row("natural_accuracy", natural, outcomes=kept[0], **span, **shared),
        *(
            a_row(
                f"attack_accuracy_at_{k}",
                100 * float(h.mean()),
                low=100 * s[0],
                high=100 * s[1],
                interval=s[2],
                n=h.size,
                groups=IDENTITIES,
                chance=100 * k / 200,
                outcomes=kept[1] if k == 1 else "",
                **{**shared, **white_box},
            )
            for k, h, s in zip((1, 5), (hits, hits5), spans, strict=True)
        ),
        a_row("knn_distance", knn + rng.normal(0, 0.01), **{**shared, "unit": "squared distance"}),
        a_row("queries", 0.0 if "brep" not in str(changes) else 214_000.0, **{**shared, "unit": "count"}),
        a_row("wall_s", cost + rng.normal(0, 1.5), **{**shared, "unit": "s"}),
    ]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "artifacts")


def realistic_rows(shelf: Shelf) -> list[ResultRow]:
    rows = [row for defense in DEFENSES for seed in (0, 1) for row in a_cell(shelf, defense, seed)]
    other = {"setup": "faces32-brep-mi", "attack": "brep_mi", "attack_name": "brep_mi", "access": "label only"}
    for defense in ("none", "midre(area_high=0.8)", "bido"):
        rows += [row for seed in (0, 1) for row in a_cell(shelf, defense, seed, **other)]
    rows += a_cell(shelf, "loft(rank=16)", 0, **other)
    for seed in (0, 1):
        rows.append(
            a_row(
                "natural_accuracy",
                None,
                defense="tl_dmi",
                defense_name="tl_dmi",
                defense_params="tl",
                seed=seed,
                status="failed",
                reason="out of memory while training",
                **other,
            )
        )
    rows.append(
        a_row(
            "attack_accuracy_at_1",
            None,
            defense="round(digits=1)",
            defense_name="round",
            defense_params="r",
            seed=0,
            status="refused",
            reason="label-only answers are not rounded",
            **other,
        )
    )
    return rows


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shelf, list[ResultRow]]:
    """The realistic rows and their shelf, made once; not to be changed."""
    shelf = Shelf(tmp_path_factory.mktemp("shared"))
    return shelf, realistic_rows(shelf)


@pytest.fixture(scope="session")
def odd(shared: tuple[Shelf, list[ResultRow]]) -> list[ResultRow]:
    """Setups `paper`, `all-failed`, `markup`, `long`, `crowd` and `wide`."""
    return odd_rows(shared[0])


@pytest.fixture
def realistic(shared: tuple[Shelf, list[ResultRow]]) -> list[ResultRow]:
    """Two setups, two seeds; in the second setup one cell failed, one was refused, and one seed is missing."""
    return shared[1]


@pytest.fixture(scope="session")
def row() -> Callable[..., ResultRow]:
    return a_row


@pytest.fixture(scope="session")
def make_cell() -> Callable[..., list[ResultRow]]:
    return a_cell


@pytest.fixture
def cell(shelf: Shelf) -> Callable[..., list[ResultRow]]:
    return lambda defense, seed=0, **changes: a_cell(shelf, defense, seed, **changes)


STAND_INS = (
    "vgg16_tiny for vgg16; synthetic_faces for celeba (private); 32 px for 64 px; "
    "training and attacks at the budget of mini"
)
MATRIX_SETUPS, REFUSED_FROM, INFERRED_FROM = 37, 20, 31


def a_publication(metric: str, value: float, **changes: Any) -> ResultRow:
    """A published number of the matrix, which leaves open what papers leave open."""
    open_ones = dict.fromkeys(("resolution_px", "identities", "images_per_identity", "seed"))
    about: dict[str, Any] = {"sweep": "", "profile": "", "cell": "", "origin": "published", "source": "Table B.2"}
    return a_row(metric, value, **{**about, **open_ones, "code_version": "", **changes})


def matrix_rows() -> list[ResultRow]:
    """A published matrix at a small size, without pictures: 37 setups of 12 defenses, those of one attack refused."""
    rng = np.random.default_rng(0)
    rows: list[ResultRow] = []
    defenses = [*DEFENSES, "tl_dmi", "trap_mid", "gaussian_blur", "dp_sgd(batch_norm=group)"]
    for i in range(MATRIX_SETUPS):
        attack = "ppa" if i >= REFUSED_FROM else "gmi"
        setup: dict[str, Any] = {
            **{"sweep": "matrix", "profile": "mini", "setup": f"S{i + 1:02d}", "stand_ins": STAND_INS},
            **{"certainty": "inferred" if i >= INFERRED_FROM else "certain", "attack": attack, "attack_name": attack},
            "settings": "attack: code; weights: ours",
        }
        for defense in defenses:
            cell = {**setup, "defense": defense, "defense_name": defense.partition("(")[0], "defense_params": defense}
            if i >= REFUSED_FROM:
                lost = {"status": "refused", "reason": "attack not registered: ppa", "access": ""}
                rows += [a_row(f"metric_{k}", None, **cell, **lost) for k in range(10)]
                continue
            natural, found = rng.uniform(80, 99), rng.uniform(5, 90)
            span = {"low": natural - 1, "high": min(100.0, natural + 1), "interval": "95 % Wilson"}
            rows.append(a_row("natural_accuracy", natural, **cell, **span))
            span = {"low": found - 5, "high": found + 5, "interval": "95 % bootstrap over identities"}
            rows.append(a_row("attack_accuracy_at_1", found, chance=0.5, **cell, **span))
    return rows


def matrix_published() -> list[ResultRow]:
    """For the undefended model and BiDO of every setup."""
    sd = {"spread": 4.6, "spread_kind": "standard deviation"}
    return [
        row
        for i in range(MATRIX_SETUPS)
        for row in (
            a_publication("natural_accuracy", 86.9, setup=f"S{i + 1:02d}"),
            a_publication("attack_accuracy_at_1", 78.47, setup=f"S{i + 1:02d}", **sd),
            a_publication("natural_accuracy", 79.85, setup=f"S{i + 1:02d}", defense="bido"),
            a_publication("attack_accuracy_at_1", 43.53, setup=f"S{i + 1:02d}", defense="bido", remark="text: <43.3>"),
        )
    ]


UGLY = "<img src=x onerror=\"document.title='hacked'\">&amp;<b>bold</b>"
LONG = "a_defense_with_a_name_of_sixty_characters_and_no_break_in_it"


def odd_rows(shelf: Shelf) -> list[ResultRow]:
    """Setups that have nothing to do with each other: private data of the paper profile, no cell that succeeded, names
    with markup, a long name, a crowd of points, and every column there is."""
    rows = a_cell(shelf, "none", 0, setup="paper", profile="paper", private="celeba")
    for seed in (0, 1):
        lost: dict[str, Any] = {"status": "failed", "reason": "no such data set", "setup": "all-failed", "seed": seed}
        rows.append(a_row("natural_accuracy", None, **lost))
    markup: dict[str, Any] = {"setup": "markup", "evaluator": "</script><script>alert(1)</script>"}
    rows += a_cell(shelf, "none", 0, **markup)
    rows += [replace(row, defense=UGLY) for row in a_cell(shelf, "bido", 0, **markup)]
    rows += a_cell(shelf, "none", 0, setup="long")
    rows += [replace(row, defense=LONG) for row in a_cell(shelf, "bido", 0, setup="long")]
    for defense, seed in (("none", 0), ("none", 1), ("bido", 7)):
        apart: dict[str, Any] = {"setup": "seeds", "defense": defense, "defense_name": defense, "seed": seed}
        rows += [a_row("natural_accuracy", 95.0 + seed, **apart), a_row("attack_accuracy_at_1", 50.0, **apart)]
    crowd: dict[str, Any] = {"setup": "crowd"}
    rows += [a_row("natural_accuracy", 95.0, **crowd), a_row("attack_accuracy_at_1", 99.0, **crowd)]
    for i in range(14):
        facts = {**crowd, "defense": f"<b>k</b>={i}", "defense_name": "bido", "defense_params": f"{i}"}
        rows.append(a_row("natural_accuracy", 94.0 - 2 * i, **facts))
        rows.append(a_row("attack_accuracy_at_1", 90.0 - 4 * i + (0 if i % 2 == 0 else 12), **facts))
    for defense in ("none", "bido", "stack(midre, nls)"):
        wide = a_cell(shelf, defense, 0, setup="wide")
        more = {"coverage": ("found %", "percent", "less private"), "train_s": ("train s", "seconds", "more costly")}
        for metric, (column, unit, larger_is) in more.items():
            about = {"metric": metric, "value": 98.7, "low": None, "high": None, "unit": unit}
            wide.append(replace(wide[0], **about, larger_is=larger_is, column=column))
        asked = {"match_target": 96.0, "match_tolerance": 0.5, "match_accuracy": 95.2, "match_seeds": 3}
        # 31.25 is 31.2 here and 31.3 in a browser, which rounds halves up.
        values = {"attack_accuracy_at_1": 31.25}
        rows += [replace(row, **asked, value=values.get(row.metric, row.value)) for row in wide]
    return rows


@pytest.fixture(scope="session")
def matrix_report(
    matrix: tuple[list[ResultRow], list[ResultRow]], tmp_path_factory: pytest.TempPathFactory
) -> BuildReport:
    """The built page of the matrix; not to be changed."""

    def fetch(key: ArtifactKey) -> Path:
        raise AssertionError(f"no pictures are stored, {key} was asked for")

    rows, papers = matrix
    return build_page(rows, fetch, tmp_path_factory.mktemp("matrix"), store_name="store", published=papers)


@pytest.fixture(scope="session")
def publication() -> Callable[..., ResultRow]:
    return a_publication


@pytest.fixture(scope="session")
def matrix() -> tuple[list[ResultRow], list[ResultRow]]:
    """(rows, published rows) of a matrix of 37 setups, 17 of them refused."""
    return matrix_rows(), matrix_published()


UGLY_DEFENSE = "<img src=x onerror=\"document.title='hacked'\">"


def a_training(strength: float | None, accuracy: float | None, **changes: Any) -> MatchTraining:
    facts: dict[str, Any] = {"seed": 0, "phase": "search", "target_key": f"{strength}-{accuracy}-{changes}"}
    return MatchTraining(strength=strength, accuracy=accuracy, **{**facts, **changes})


def an_outcome(**changes: Any) -> MatchOutcome:
    """BiDO, matched to 88.2 +- 0.5 in four searches, one of which diverged, and two confirmations."""
    facts: dict[str, Any] = {
        **{"defense": "bido(match)", "defense_name": "bido", "architecture": "tiny_vgg16"},
        **{"private": "synthetic_faces", "setups": ("faces32-gmi", "faces32-brep-mi")},
        **{"target": 88.2, "target_text": "none - 1", "tolerance": 0.5, "state": "matched"},
        **{"parameter": "lambda_x", "low": 0.001, "high": 1.0, "scale": "log", "larger_hides": True},
        **{"chosen": "bido(lambda_x=0.02)", "strength": 0.02, "accuracy": 88.0, "report_accuracy": 87.1},
        **{"seeds": (0, 1, 2), "study": "bido"},
        "trainings": (
            a_training(0.001, 90.2),
            a_training(1.0, None, reason="the loss became nan at step 214"),
            a_training(0.05, 86.2),
            a_training(0.02, 88.3),
            a_training(0.02, 87.6, seed=1, phase="confirm"),
            a_training(0.02, 88.1, seed=2, phase="confirm"),
        ),
    }
    return MatchOutcome(**{**facts, **changes})


def a_report(**changes: Any) -> MatchReport:
    """One outcome of each state; the one that failed has a name with markup."""
    without: dict[str, Any] = {"chosen": "", "strength": None, "accuracy": None, "report_accuracy": None, "seeds": ()}
    ends = (a_training(0.8, 89.7), a_training(0.1, 91.2))
    no_strength: dict[str, Any] = {"parameter": "", "low": None, "high": None, "strength": None}
    outcomes = (
        an_outcome(),
        an_outcome(
            **{"defense": "midre(match)", "defense_name": "midre", "parameter": "area_high", "low": 0.1, "high": 0.8},
            **{"scale": "linear", "state": "unreachable", "reason": "no strength is near enough", "strength": 0.8},
            **{"chosen": "midre(area_high=0.8)", "accuracy": 89.7, "seeds": (0,), "ends": ends, "trainings": ends},
        ),
        an_outcome(
            **{**no_strength, "defense": "round(digits=1)", "defense_name": "round", "state": "fixed"},
            **{"reason": "1.1 points above as it is", "chosen": "round(digits=1)", "accuracy": 89.3, "seeds": (0,)},
            trainings=(a_training(None, 89.3),),
        ),
        an_outcome(
            **{**without, "defense": "loft(match)", "defense_name": "loft", "parameter": "rank", "low": 2, "high": 64},
            **{"larger_hides": False, "state": "undecided", "reason": "interrupted"},
            trainings=(a_training(2, 83.0), a_training(64, 89.9)),
        ),
        an_outcome(
            **{**without, "defense": UGLY_DEFENSE, "defense_name": "ugly", "state": "failed", "trainings": ()},
            reason="<b>no such data</b>",
        ),
    )
    facts: dict[str, Any] = {"sweep": "first-look", "digest": "d" * 64, "profile": "smoke", "trained": 9}
    return MatchReport(**{**facts, "storage": "studies/journal.log", "outcomes": outcomes, **changes})


@pytest.fixture
def training() -> Callable[..., MatchTraining]:
    return a_training


@pytest.fixture(scope="session")
def outcome() -> Callable[..., MatchOutcome]:
    return an_outcome


@pytest.fixture(scope="session")
def report() -> Callable[..., MatchReport]:
    return a_report


@pytest.fixture(scope="session")
def matched_rows(shared: tuple[Shelf, list[ResultRow]]) -> list[ResultRow]:
    """The setup `faces32-gmi`, matched to 98.5 +- 0.5; only two of seven defenses are within."""
    asked: dict[str, Any] = {"match_target": 98.5, "match_tolerance": 0.5, "match_seeds": 2}
    near = {"nls(alpha=-0.05)": 98.3, "midre(area_high=0.4)": 98.8}
    return [
        row if row.defense == "none" else replace(
            row, **asked, matched=row.defense in near, match_accuracy=near.get(row.defense, DEFENSES[row.defense][0])
        )
        for row in shared[1]
        if row.setup == "faces32-gmi"
    ]  # fmt: skip


FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium")
    if chromium is None:
        reason = "no chromium on PATH"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}; CI must check the page in a browser")
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield running
        running.close()


AS_NEW = """fragment => {
    document.getElementById("setups").open = false;
    document.getElementById("standins").open = true;
    scrollTo(0, 0);
    history.replaceState(null, "", fragment || "#");
    dispatchEvent(new HashChangeEvent("hashchange"));
    const settled = done => document.querySelector("main[aria-busy]") ? setTimeout(settled, 10, done) : done();
    return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => settled(done))));
}"""
"""What a link does on a page that is open; folded parts, which no link names, as they are when it is loaded."""


def settle(page: Any) -> None:
    """Until the view that was asked for is drawn."""
    page.wait_for_selector("main:not([aria-busy])", state="attached")
    if page.is_visible("#view-setup"):
        page.wait_for_selector("#plot .main-svg, #noplot:not([hidden]), #empty:not([hidden])", state="attached")


class Watched:
    """A page with everything it asked for and complained about."""

    def __init__(self, context: Any, index: Path) -> None:
        self.is_loaded = False
        self.page, self.index = context.new_page(), index
        self.page.set_default_timeout(60_000)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.on("requestfailed", lambda r: self.complaints.append(f"failed: {r.url}"))
        self.page.on("pageerror", lambda e: self.complaints.append(str(e)))
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)

    def open(self, fragment: str = "") -> Any:
        """The page as a link shows it. Loaded once: loading takes seconds, following a link does not."""
        if not self.is_loaded:
            return self.load(fragment)
        self.page.mouse.move(1, 1)
        self.page.evaluate(AS_NEW, fragment)
        return self.page

    def load(self, fragment: str = "") -> Any:
        self.page.goto("about:blank")
        self.page.goto(self.index.as_uri() + fragment)
        settle(self.page)
        self.is_loaded = True
        return self.page

    def settle(self) -> None:
        """Wait for the view that was asked for."""
        settle(self.page)

    def check(self) -> None:
        complaints, self.complaints = self.complaints, []
        assert complaints == []
        assert self.requests
        assert [url for url in self.requests if not url.startswith(("file:", "about:", "data:", "blob:"))] == []


@pytest.fixture(scope="session")
def context(browser: Any) -> Any:
    return browser.new_context(offline=True, viewport={"width": 1400, "height": 900})


@pytest.fixture(scope="session")
def watch(context: Any) -> Callable[[Path], Watched]:
    """A page of its own, for tests that count what it asks for."""
    return lambda index: Watched(context, index)


@pytest.fixture(scope="session")
def open_page(context: Any) -> Callable[[Path], Watched]:
    """The one page of a built folder, for all tests that only read it or follow its links."""
    pages: dict[Path, Watched] = {}

    def page_of(index: Path) -> Watched:
        if index not in pages:
            pages[index] = Watched(context, index)
        return pages[index]

    return page_of


@pytest.fixture(scope="session")
def realistic_index(shared: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    shelf, rows = shared
    return build_page(rows, shelf.fetch, tmp_path_factory.mktemp("page"), store_name="store").index


@pytest.fixture(scope="session")
def odd_index(shared: Any, odd: list[ResultRow], publication: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    papers = [publication(metric, 86.9, setup="wide") for metric in ("natural_accuracy", "attack_accuracy_at_1")]
    out = tmp_path_factory.mktemp("odd")
    return build_page(odd, shared[0].fetch, out, store_name="store", published=papers).index


@pytest.fixture
def odd_page(open_page: Callable[[Path], Watched], odd_index: Path) -> Iterator[Watched]:
    watched = open_page(odd_index)
    yield watched
    watched.check()


@pytest.fixture
def realistic_page(open_page: Callable[[Path], Watched], realistic_index: Path) -> Iterator[Watched]:
    watched = open_page(realistic_index)
    yield watched
    watched.check()


@pytest.fixture
def show(context: Any, shelf: Any, tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    """Builds the page of some rows and watches it; afterwards nothing may have left the disk or gone wrong."""
    opened: list[Watched] = []

    def build(rows: list[ResultRow], **options: Any) -> Watched:
        index = build_page(rows, shelf.fetch, tmp_path / "page", store_name="store", **options).index
        opened.append(Watched(context, index))
        return opened[-1]

    yield build
    for watched in opened:
        watched.check()
        watched.page.close()
