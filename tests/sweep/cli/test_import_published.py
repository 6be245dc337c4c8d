"""`midef import-published`: checked as a whole, kept with its source, never replaced by a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from midef.storage import Store
from midef.storage.published import read_published, refresh_published
from midef.sweep.catalogue.published.rows import published_rows

Midef = Callable[..., tuple[int, str, str]]
HEAD = "source,setup,defense,attack,metric,value,spread,spread_kind"
GOOD = f"""{HEAD}
"Example et al. 2026, Table 3",{{setup}},midre,gmi,natural_accuracy,86.9,,
"Example et al. 2026, Table 3",{{setup}},midre,gmi,attack_accuracy_at_1,38.2,4.1,standard deviation
"Example et al. 2026, Table 3",{{setup}},other: Shuffle,gmi,attack_accuracy_at_1,41,,
"""


@pytest.fixture
def paper(finished: Path, store: Store) -> Path:
    """Three numbers about the setup of the finished sweep."""
    path = Path("paper.csv")
    path.write_text(GOOD.format(setup=store.results.read()[0].setup))
    return path


def test_numbers_stand_beside_ours(midef: Midef, paper: Path, store: Store) -> None:
    code, out, err = midef("import-published", paper, "--store", "store")
    assert (code, err) == (0, "")
    assert "paper.csv: 3 numbers new, 0 replaced, 0 here already\n" in out
    assert "0 published numbers before, 3 now" in out
    rows = read_published(store)
    assert [(row.defense, row.metric, row.value, row.unit) for row in rows] == [
        ("midre", "natural_accuracy", 86.9, "percent"),
        ("midre", "attack_accuracy_at_1", 38.2, "percent"),
        ("Shuffle", "attack_accuracy_at_1", 41.0, "percent"),
    ]
    assert {row.origin for row in rows} == {"published"} and rows[0].source == "Example et al. 2026, Table 3"
    table = midef("table", "--store", "store", "--format", "csv")[1]
    assert "86.9" in table and "38.2" in table and "Example et al. 2026, Table 3" in table
    code, out, _ = midef("import-published", paper, "--store", "store")
    assert code == 0 and "0 numbers new, 0 replaced, 3 here already" in out
    assert midef("verify", "--store", "store")[0] == 0


def test_another_value_of_the_same_source(midef: Midef, paper: Path, store: Store) -> None:
    midef("import-published", paper, "--store", "store")
    paper.write_text(paper.read_text().replace("38.2", "39.5").replace(",41,", ",42,"))
    code, _, err = midef("import-published", paper, "--store", "store")
    assert code == 2 and "2 problems" in err
    assert "Table 3: 38.2 is stored, 39.5 was brought; --replace takes the new one" in err
    assert [row.value for row in read_published(store)] == [86.9, 38.2, 41.0]
    code, out, _ = midef("import-published", paper, "--store", "store", "--replace")
    assert code == 0 and "0 numbers new, 2 replaced, 1 here already" in out
    assert [row.value for row in read_published(store)] == [86.9, 39.5, 42.0]


def test_a_run_and_a_merge_keep_what_was_imported(midef: Midef, paper: Path, store: Store) -> None:
    midef("import-published", paper, "--store", "store")
    ours = read_published(store)
    refresh_published(store, published_rows()[:5])  # as a run of the published matrix does
    assert read_published(store) == [*published_rows()[:5], *ours]
    midef("merge", "store", "--store", "both")
    assert read_published(Store.open("both")) == read_published(store)


def test_yaml_with_what_holds_for_all(midef: Midef, store: Store) -> None:
    Path("paper.yaml").write_text(
        "source: Example et al. 2026\nsetup: S01\nnumbers:\n"
        "- {defense: midre, metric: natural_accuracy, value: 86.9}\n"
        "- {defense: nls, metric: natural_accuracy, value: 80}\n"
    )
    code, out, _ = midef("import-published", "paper.yaml", "--store", "store")
    assert code == 0 and "2 numbers new" in out
    assert [(row.setup, row.source) for row in read_published(store)] == [("S01", "Example et al. 2026")] * 2


def test_a_setup_that_nothing_shows_is_warned_about(midef: Midef, paper: Path, store: Store) -> None:
    setup = store.results.read()[0].setup
    paper.write_text(paper.read_text().replace(setup, f"{setup}x"))
    code, out, _ = midef("import-published", paper, "--store", "store")
    assert code == 0 and f"warning: no sweep of this store has a setup '{setup}x'" in out and "did you mean" in out


def test_every_problem_at_once(midef: Midef, store: Store) -> None:
    Path("paper.csv").write_text(
        f"{HEAD},sed\n"
        ",s,midre,gmi,natural_accuracy,86.9,,,\n"
        "p,s,midree,gmi,natural_accuracy,86.9,,,\n"
        "p,s,midre,gmi,accuracy,86.9,,,\n"
        'p,s,midre,gmi,natural_accuracy,"86,9",,,\n'
        "p,s,midre,gmi,natural_accuracy,869,,,\n"
        "p,s,midre,gmi,natural_accuracy,86,4,,\n"
        "p,s,midre,gmi,natural_accuracy,86,,,1\n"
    )
    code, _, err = midef("import-published", "paper.csv", "--store", "new")
    assert code == 2 and "7 problems" in err
    for line, problem in (
        (2, "source: is missing; say where the number stands: paper, table, page"),
        (3, "defense: unknown defense 'midree'; did you mean 'midre'"),
        (4, "metric: unknown metric 'accuracy'; did you mean"),
        (5, "value: expected a number with a decimal point, got '86,9'"),
        (6, "value: a percentage lies between 0 and 100, got 869"),
        (7, "spread: is 0 or more, and spread_kind says what it is"),
        (8, "sed: unknown column; did you mean 'seed'"),
    ):
        assert f"paper.csv, line {line}: {problem}" in err
    assert not Path("new").exists(), "a wrong file made a store"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "paper.csv",
            f"{HEAD}\np,s,midre,gmi,natural_accuracy,0.869,,\n",
            "no percentage is above 1: write 86.9, not 0.869",
        ),
        ("paper.csv", f"{HEAD}\n" + "p,s,midre,gmi,fid,12,,\n" * 2, "fid of midre in s, p: is there twice"),
        ("paper.csv", f"{HEAD}\np,s,midre,gmi,fid,12\n", "line 2: 6 values for 8 columns; quote texts with commas"),
        ("paper.csv", f"{HEAD}\n", "no numbers; the first line of a CSV file names the columns: source,"),
        ("paper.csv", f'{HEAD}\n"p', "cannot be read as CSV"),
        ("paper.csv", "", "no numbers"),
        ("paper.csv", f"{HEAD}\np,s,midre,gmi,fid,nan,,\n", "value: expected a number with a decimal point, got 'nan'"),
        ("paper.csv", f"{HEAD},setup\n", "columns that are there twice: setup"),
        ("paper.txt", "", "published numbers are brought as .csv, .yaml or .yml"),
        ("paper.yaml", "numbers: 3\n", "expected a list of mappings, or a mapping with such a list as `numbers`"),
        ("paper.yaml", "- {source: p, defense: midre, metric: fid, value: yes}\n", "value: expected a number"),
    ],
)
def test_what_is_refused(midef: Midef, name: str, text: str, message: str) -> None:
    Path(name).write_text(text)
    code, _, err = midef("import-published", name, "--store", "new")
    assert code == 2 and message in err and not Path("new").exists()


def test_a_file_that_is_not_there(midef: Midef) -> None:
    for name in ("nowhere.csv", "nowhere.yaml"):
        code, _, err = midef("import-published", name)
        assert code == 2 and f"there is no file {name}" in err


def test_checking_alone(midef: Midef, paper: Path, store: Store) -> None:
    assert midef("import-published", paper, "--check", "--store", "new") == (
        0,
        "paper.csv: 3 numbers, nothing wrong\n",
        "",
    )
    assert not Path("new").exists()
