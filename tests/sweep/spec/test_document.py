"""What a YAML file must not do to a specification: change a value without a word, or never end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from midef.core import SpecError
from midef.sweep.catalogue import read_spec
from midef.sweep.library import load_spec, search_text
from midef.sweep.spec.resolve import resolve
from midef.sweep.spec.schema import SweepSpec

TEXT = """\
name: small
profile: smoke
setups:
  - id: faces
    attack: gmi
    private: {name: synthetic_faces, identities: 12}
    public: {name: synthetic_faces, population: public, identities: 20}
    protocol: {identities: 4, images_per_identity: 2}
defenses: [none]
seeds: [0]
"""


@pytest.fixture
def problems_in(tmp_path: Path) -> Callable[[str | bytes], list[str]]:
    """Problems of a file's text, found by reading or by resolving it."""

    def problems(text: str | bytes) -> list[str]:
        path = tmp_path / "s.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(SpecError) as caught:
            resolve(read_spec(path))
        assert caught.value.exit_code == 2
        return caught.value.problems

    return problems


def test_the_text_itself_is_right(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(TEXT)
    assert len(resolve(read_spec(tmp_path / "s.yaml")).cells) == 1


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("defenses: [midre]\n", "s.yaml: defenses is given twice, in lines 9 and 11"),
        ("seeds: [1]\nseeds: [2]\n", "s.yaml: seeds is given 3 times, in lines 10, 11 and 12"),
        ("training: {epochs: 1, epochs: 2}\n", "s.yaml: training.epochs is given twice, in line 11"),
        ("1: x\n", "s.yaml, line 11: the key 1 is read as a number; write it in quotes, as text"),
        ("no: x\n", "s.yaml, line 11: the key no is read as a truth value; write it in quotes, as text"),
        ("[a, b]: x\n", "s.yaml, line 11: a key is text, not a list; write key: value"),
    ],
)
def test_keys(problems_in: Callable[[str], list[str]], more: str, expected: str) -> None:
    assert problems_in(TEXT + more)[0] == expected


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        ("[1:30]", "seeds[0]: YAML reads 1:30 as a number to base 60"),
        ("[0, 010]", "seeds[1]: YAML reads 010 as 8, to base 8; write 10 for a number, or quotes for text"),
        ("[089]", "seeds[0]: YAML reads 089 as text; write 89 for a number, or quotes for text"),
        ("[true]", "seeds[0]: a seed is a whole number; YAML reads yes, no, on, off, true and false as truth"),
        ("[on]", "seeds[0]: a seed is a whole number; YAML reads yes, no, on, off, true and false as truth"),
        ("[.nan]", "seeds[0]: .nan is no number to work with; give a finite one"),
        ("[-.inf]", "seeds[0]: -.inf is no number to work with; give a finite one"),
        ("[1.5]", "seeds[0]: Input should be a valid integer"),
        ("[2024-01-01]", "seeds[0]: Input should be a valid integer"),
        ("[9223372036854775808]", "seeds[0]: seeds must lie between 0 and 2^63-1, got 9223372036854775808"),
        ("[-1]", "seeds[0]: seeds must lie between 0 and 2^63-1, got -1"),
        (f"[{'9' * 5000}]", "seeds[0]: a whole number of 5,000 digits; give one that fits in 64 bits"),
        ("[!!python/object/apply:os.getcwd []]", "seeds[0]: the tag !!python/object/apply:os.getcwd is not"),
        ("[!mine 1]", "seeds[0]: the tag !mine is not supported; leave it out"),
        ("[1, 1]", "seeds: [1, 1] holds a seed twice"),
        ("[*gone]", "*gone names no value before it; write &gone in front of one"),
        ("&a [*a]", "*a stands inside the value it names; that has no end"),
        ("[" * 40 + "]" * 40, "nested deeper than 32 mappings and lists"),
        ("[" * 100_000, "cannot be read as YAML: while increasing flow level exceeded maximum nesting depth"),
        (f'["{"x" * 20_000}"]', "seeds[0]: a text of 20,000 characters; at most 10,000"),
        ("[1\n", "cannot be read as YAML: while parsing a flow sequence did not find expected ',' or ']'"),
    ],
    ids=lambda text: str(text)[:40],
)
def test_values(problems_in: Callable[[str], list[str]], seeds: str, expected: str) -> None:
    problems = problems_in(TEXT.replace("seeds: [0]", f"seeds: {seeds}"))
    assert len(problems) == 1 and problems[0].startswith("s.yaml, line 1")
    assert problems[0].partition(": ")[2].startswith(expected)


@pytest.mark.parametrize(
    ("old", "new", "line", "expected"),
    [
        ("attack: gmi", "attack: []", 5, "setups[0].attack: List should have at least 1 item"),
        ("attack: gmi", "attack: [no]", 5, "setups[0].attack[0]: write a name, name(parameter=value)"),
        ("attack: gmi", "attack: {steps: 3}", 5, "setups[0].attack[0]: write a name, name(parameter=value)"),
        ("attack: gmi", "attack: {name: gmi, preset: [a]}", 5, "setups[0].attack: attack 'gmi' has no preset ['a']"),
        ("attack: gmi", "attack: {name: gmi,\n      stps: 3}", 6, "setups[0].attack: attack 'gmi' has no parameter"),
        ("attack: gmi", "attack: {name: gmi,\n      iterations: yes}", 6, "setups[0].attack: attack 'gmi', iterations"),
        ("attack: gmi", f"attack: {{name: gmi, iterations: {10**30}}}", 5, "setups[0].attack: attack 'gmi', iter"),
        ("attack: gmi", "atack: gmi", 5, "setups[0].atack: unknown field; did you mean 'attack'?"),
        ("identities: 4", "identities: yes", 8, "setups[0].protocol.identities: YAML reads yes, no, on, off"),
        ("identities: 4", f"identities: {10**12}", 6, "setups[0].private: the protocol attacks 1000000000000"),
        ("identities: 4", f"identities: {10**20}", 8, "setups[0].protocol.identities: does not fit in 64 bits"),
        ("identities: 12", f"identities: {10**12}", 6, "setups[0].private: dataset 'synthetic_faces': needs at most"),
        ("identities: 12", "identities: .inf", 6, "setups[0].private.identities: .inf is no number to work with"),
        ("identities: 12", "identites: 12", 6, "setups[0].private: dataset 'synthetic_faces' has no parameter"),
        ("- id: faces", '- id: "\\e[31mfaces"', 4, "setups[0].id: holds the character U+001B, which is no part of"),
        ("profile: smoke", "profile: smoke\ntrain_workers: -1", 3, "train_workers: expected a whole number"),
        ("profile: smoke", "profile: smoke\ntrain_workers: {target: x}", 3, "train_workers: expected a whole"),
        ("profile: smoke", "profile: smoke\ntrain_workers: autom", 3, "train_workers: expected a whole number from 0"),
        ("profile: smoke", "profile: smoke\ntraining: {preset: [a]}", 3, "training: training has no preset ['a']"),
        ("profile: smoke", "profile: smoke\ntraining: {epochs: yes}", 3, "training.epochs: expected a num"),
        ("profile: smoke", "profile: smoke\ntraining:\n  epochs: 0", 3, "training: needs epochs >= 1"),
        ("images_per_identity: 2", "images_per_identity: 1000000", 8, "setups[0].protocol.images_per_identity: Input"),
        ("profile: smoke", "profile: smoke\nmatch: {confirm: [-1]}", 3, "match.confirm[0]: seeds must lie between"),
        (
            "profile: smoke",
            "profile: smoke\ntrain_workers: 99",
            5,
            "setups[0]: a batch of 64 images cannot be",
        ),
        (
            "profile: smoke",
            "profile: smoke\ntraining: {weight_decay: -1}",
            3,
            "training: needs weight_dec",
        ),
        (
            "profile: smoke",
            "profile: smoke\ntraining: {momentum: 1}",
            3,
            "training: needs momentum and",
        ),
        (
            "attack: gmi",
            "attack: gmi(momentum=0)",
            5,
            "setups[0].attack: attack 'gmi': needs learning_rate > 0",
        ),
        ("attack: gmi", f"attack: vmi(levels={10**15})", 5, "setups[0].attack: attack 'vmi': needs levels <= 16"),
        ("attack: gmi", "attack: brep_mi(largest_step=0)", 5, "setups[0].attack: attack 'brep_mi': needs largest"),
        ("profile: smoke", "\tprofile: smoke", 2, "cannot be read as YAML: "),
    ],
    ids=lambda text: str(text)[:40],
)
def test_every_problem_names_its_line(
    problems_in: Callable[[str], list[str]], old: str, new: str, line: int, expected: str
) -> None:
    problems = problems_in(TEXT.replace(old, new))
    assert [p for p in problems if p.startswith(f"s.yaml, line {line}: {expected}")], problems


def test_a_tab_is_named(problems_in: Callable[[str], list[str]]) -> None:
    assert problems_in(TEXT.replace("    attack", "\tattack"))[0].endswith("indent with blanks, not with tabs")


def test_all_problems_come_together(problems_in: Callable[[str], list[str]]) -> None:
    problems = problems_in(TEXT.replace("[0]", "[010]").replace("attack: gmi", "atack: gmi") + "profile: mini\n")
    assert [p.partition(": ")[0] for p in problems] == ["s.yaml, line 10", "s.yaml", "s.yaml, line 4", "s.yaml, line 5"]


def test_a_merged_mapping_stands_below_what_is_written(tmp_path: Path) -> None:
    text = TEXT.replace("{name: synthetic_faces, identities: 12}", "&f {name: synthetic_faces, identities: 12}")
    (tmp_path / "s.yaml").write_text(text.replace("{name: synthetic_faces, pop", "{<<: *f, pop"))
    public = read_spec(tmp_path / "s.yaml").setups[0].public
    assert public == {"population": "public", "identities": 20, "name": "synthetic_faces"}


def test_an_alias_is_a_copy(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(f"{TEXT}training: &t {{epochs: 2}}\nevaluator_training: *t\n")
    spec = read_spec(tmp_path / "s.yaml", ["training.epochs=5"])
    assert (spec.training, spec.evaluator_training) == ({"epochs": 5}, {"epochs": 2})


def test_an_alias_bomb(problems_in: Callable[[str], list[str]]) -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 20))
    assert problems_in(bomb) == [
        "s.yaml, line 6: more than 50,000 values, those of an alias counted wherever it stands"
    ]


def test_too_many_values(problems_in: Callable[[str], list[str]]) -> None:
    assert problems_in("a: [" + "1, " * 200_000 + "1]")[0].startswith("s.yaml, line 1: more than 50,000 values")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "s.yaml, line 1: must hold a mapping with name, setups, defenses; it holds nothing"),
        (b"- a\n", "s.yaml, line 1: must hold a mapping with name, setups, defenses; it holds list"),
        (b"# only words\n", "it holds nothing"),
        (TEXT.encode("utf-16"), "s.yaml, line 1: cannot be read as YAML: it is in UTF-16; save it in UTF-8"),
        (b"name: a\nseeds: \xff\n", "s.yaml, line 2: cannot be read as YAML: byte 0xff is no text in UTF-8"),
        (b"name: a\n\x00\n", "s.yaml, line 2: cannot be read as YAML: the character '\\x00' is not allowed"),
        (b"name: a\n---\nname: b\n", "s.yaml, line 2: a second document begins here; give one sweep per file"),
        (b"# " + b"x" * 10_000_000, "s.yaml has 10,000,002 bytes; a specification has at most 1,048,576"),
    ],
    ids=lambda text: str(text)[:30],
)
def test_files(problems_in: Callable[[bytes], list[str]], content: bytes, expected: str) -> None:
    assert expected in problems_in(content)[0]


def test_a_mark_of_the_byte_order_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert read_spec(tmp_path / "s.yaml").name == "small"


def test_a_folder_or_a_pipe_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").mkdir()
    os.mkfifo(tmp_path / "b.yaml")
    for name, kind in (("a", "a folder"), ("b", "no ordinary file")):
        with pytest.raises(SpecError, match=f"{name}.yaml is {kind}; give a YAML file"):
            read_spec(tmp_path / f"{name}.yaml")


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("seeds=[18446744073709551615]", "seeds[0]: seeds must lie between 0 and 2^63-1"),
        ("seeds=[010]", "seeds[0]: YAML reads 010 as 8"),
        ("setups.0.protocol.identities=yes", "setups[0].protocol.identities: YAML reads yes"),
        ("setups.0.private.identities=x", "setups[0].private: dataset 'synthetic_faces', identities: Input should"),
        ("training={epochs: 1, epochs: 2}", "training.epochs is given twice, in line 1"),
        ("setups.-1.id=x", "setups is a list with positions 0 to 0, got '-1'"),
    ],
)
def test_options(tmp_path: Path, option: str, expected: str) -> None:
    (tmp_path / "s.yaml").write_text(TEXT)
    with pytest.raises(SpecError) as caught:
        resolve(read_spec(tmp_path / "s.yaml", [option]))
    assert f"--set {option}" in str(caught.value) and expected in str(caught.value)


def test_a_seed_in_a_library_call() -> None:
    data: dict[str, Any] = yaml.safe_load(TEXT)
    with pytest.raises(SpecError, match=r"sweep\.seeds\[0\]: seeds must .* 2\^63-1, got 9223372036854775808"):
        load_spec({**data, "seeds": [2**63]})
    with pytest.raises(ValueError, match="seeds must lie between"):
        SweepSpec(**{**data, "seeds": [2**63]})
    assert load_spec({**data, "seeds": [2**63 - 1]}).seeds == [2**63 - 1]


def test_lines_are_no_part_of_equality(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(TEXT)
    (tmp_path / "t.yaml").write_text("# moved down\n" + TEXT)
    assert read_spec(tmp_path / "s.yaml") == read_spec(tmp_path / "t.yaml") == SweepSpec(**yaml.safe_load(TEXT))


def test_more_cells_than_a_plan_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("midef.sweep.spec.checks.MOST_CELLS", 5)
    data: dict[str, Any] = yaml.safe_load(TEXT)
    assert len(resolve(load_spec({**data, "seeds": [0, 1, 2, 3, 4]})).cells) == 5
    with pytest.raises(SpecError, match="setups x defenses x seeds are 6 cells, more than 5; split the sweep"):
        resolve(load_spec({**data, "defenses": ["none", "midre", "nls"], "seeds": [0, 1]}))


def test_plain_data_that_holds_itself() -> None:
    data: dict[str, Any] = yaml.safe_load(TEXT)
    data["training"] = {"inside": data}
    with pytest.raises(SpecError, match="training: nested deeper than 32 mappings and lists"):
        load_spec(data)


def test_a_problem_of_a_search_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(TEXT + "match: {target: midree}\n")
    with pytest.raises(SpecError, match=r"^s\.yaml, line 11: match\.target: unknown defense 'midree'"):
        search_text(resolve(read_spec(tmp_path / "s.yaml")))
