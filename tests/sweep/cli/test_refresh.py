"""Pages get their measured parts from a store, and only results that a commit can make again."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from midef.storage import Store
from midef.sweep.catalogue import read_spec
from midef.sweep.spec.resolve import resolve

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "refresh.py"
PAGE = "# Title\n\nBefore.\n\n<!-- numbers: table {sweep} -->\nold numbers\n<!-- /numbers -->\n\nAfter.\n"


@pytest.fixture(scope="module")
def refresh() -> ModuleType:
    spec = importlib.util.spec_from_file_location("refresh_under_test", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(PAGE.format(sweep="small"))
    return path


@pytest.fixture
def made_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Say which code makes the artifacts of this test."""

    def say(version: str) -> None:
        monkeypatch.setattr("midef.storage._meta.code_version", lambda: version)

    say("0.1.0+abcdef12")
    return say


def test_a_part_is_replaced_with_the_table_and_what_made_it(
    refresh: ModuleType, made_by: Callable[[str], None], finished: Path, page: Path, midef: Callable[..., tuple]
) -> None:
    assert refresh.main([str(page), "--store", "store"]) == 0
    text = page.read_text()
    assert "Made at commit `abcdef12`, 20" in text and "on cpu test." in text
    assert midef("table", "--store", "store", "--format", "md")[1].strip() in text
    assert text.startswith("# Title\n\nBefore.\n\n<!-- numbers") and text.endswith("<!-- /numbers -->\n\nAfter.\n")
    assert "old numbers" not in text
    refresh.main([str(page), "--store", "store"])
    assert page.read_text() == text, "doing it again changes nothing"


@pytest.fixture
def made_by_changed_code(made_by: Callable[[str], None]) -> None:
    made_by("0.1.0+abcdef12.changed")


def test_results_of_changed_code_are_refused(
    made_by_changed_code: None, refresh: ModuleType, finished: Path, page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refresh.main([str(page), "--store", "store"]) == 1
    assert "old numbers" in page.read_text()
    assert "code that no commit holds (0.1.0+abcdef12.changed)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("table smal", "this store has no sweep 'smal'; did you mean 'small'?"),
        ("table", "takes SWEEP; got nothing"),
        (
            "tabel small",
            "is of no kind that is known: table, matrix, attacks, strengths, lines, orderings, judges, publ",
        ),
        ("reconstructions small", "takes SWEEP, FILE; got small"),
        ("judges small", "two evaluators were expected, these results have"),
        ("orderings absent.yaml", "absent.yaml"),
    ],
)
def test_a_part_that_cannot_be_made_is_named_and_left(
    refresh: ModuleType, made_by: Callable[[str], None], finished: Path, page: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, part: str, said: str,
) -> None:  # fmt: skip
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    page.write_text(page.read_text().replace("table small", part))
    before = page.read_text()
    assert refresh.main([str(page), "--store", "store"]) == 1
    assert page.read_text() == before and said in capsys.readouterr().err


def test_a_matrix_has_a_line_for_each_defense_and_counts_what_was_shared(
    refresh: ModuleType, made_by: Callable[[str], None], finished: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.format(sweep="small").replace("table", "matrix"))
    assert refresh.main([str(page), "--store", "store"]) == 0
    text = page.read_text()
    sweep = resolve(read_spec(finished))
    setups = {planned.cell.setup.id for planned in sweep.cells}
    assert (
        f"{len(setups)} setups, {len(sweep.cells)} cells: {len(sweep.cells)} with an attack accuracy, 0 refused."
        in text
    )
    evaluators = {planned.answered_by.evaluator.key for planned in sweep.cells}
    assert len(evaluators) < len(sweep.cells), "else nothing shows what is shared"
    assert f"| evaluator | {len(sweep.cells)} |" in text
    labels = {(planned.cell.setup.id, planned.cell.defense.label) for planned in sweep.cells}
    lines = [line.split(" | ") for line in text.splitlines() if line.startswith("| ") and line.count(" | ") == 7]
    assert {(line[0].removeprefix("| ").split()[-1], line[3]) for line in lines[1:] if "---" not in line[0]} == labels


def test_a_page_without_a_part_is_named(
    refresh: ModuleType, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plain.md"
    path.write_text("| a |\n| --- |\n| 1 |\n")
    assert refresh.main([str(path), "--store", store.uri]) == 1
    assert "has no part marked" in capsys.readouterr().err


def test_the_table_of_attacks_is_over_seeds_and_marks_what_is_no_result(
    refresh: ModuleType, made_by: Callable[[str], None], finished: Path, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.write_text(page.read_text().replace("table small", "attacks small"))
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    assert refresh.main([str(page), "--store", "store"]) == 0
    text = page.read_text()
    assert "| attack | access | seeds | none: att@1 % | midre: att@1 % |" in text
    assert "! " in text, "few images are noted, as in `midef table`"
