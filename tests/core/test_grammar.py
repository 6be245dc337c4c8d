"""Everything a label can hold is read back; mistakes are told with their place."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from midef.core import Registry
from midef.core.grammar import Call, GrammarError, read_call, split_parts, write_call


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("midre", Call("midre")),
        (" midre:paper-224 ", Call("midre", "paper-224")),
        ("midre()", Call("midre")),
        ("midre( area_high = 4e+1 , fill=random )", Call("midre", None, {"area_high": "4e+1", "fill": "random"})),
        ("bido:celeba-vgg16(lambda_x=1)", Call("bido", "celeba-vgg16", {"lambda_x": "1"})),
        ('image_folder(path="/data/a,b.zip")', Call("image_folder", None, {"path": "/data/a,b.zip"})),
        (
            "image_folder(path='/data/a,b.zip', seed=1)",
            Call("image_folder", None, {"path": "/data/a,b.zip", "seed": "1"}),
        ),
        (r'image_folder(path="C:\data\new (1).zip")', Call("image_folder", None, {"path": r"C:\data\new (1).zip"})),
        (r'x(a="say \"hi\" \\")', Call("x", None, {"a": 'say "hi" \\'})),
        ("x(path=people (1).zip)", Call("x", None, {"path": "people (1).zip"})),
        ("x(path=a=b)", Call("x", None, {"path": "a=b"})),
        ("x(note=it's, other=that's)", Call("x", None, {"note": "it's", "other": "that's"})),
        ("x(a=)", Call("x", None, {"a": ""})),
        ("x(a=None, b='None')", Call("x", None, {"a": None, "b": "None"})),
        ("rolss(stages=[-1, -2])", Call("rolss", None, {"stages": ["-1", "-2"]})),
        ("rolss(stages=(-1,))", Call("rolss", None, {"stages": ["-1"]})),
        ("rolss(only=['a,b', c], stages=[])", Call("rolss", None, {"only": ["a,b", "c"], "stages": []})),
        ("gmi(prior={steps: 10, 'a b': [1]})", Call("gmi", None, {"prior": {"steps": "10", "a b": ["1"]}})),
        ('x(of=other(path="a,b)", n=[1,2]))', Call("x", None, {"of": 'other(path="a,b)", n=[1,2])'})),
    ],
    ids=str,
)
def test_reads(text: str, call: Call) -> None:
    assert read_call(text) == call


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("midre", ["midre"]),
        ("midre + nls", ["midre", "nls"]),
        ("midre(area_high=4e+1)+nls:facescrub+bido", ["midre(area_high=4e+1)", "nls:facescrub", "bido"]),
        ('a(x="b)+c")+d(e=[f+g])', ['a(x="b)+c")', "d(e=[f+g])"]),
    ],
    ids=str,
)
def test_a_stack_is_split_outside_brackets_and_quotes(text: str, parts: list[str]) -> None:
    assert split_parts(text) == parts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "character 1: no name"),
        ("a(b=1", "character 2: '(' is never closed"),
        ("a(b=[1, 2)", "character 10: ')' closes nothing"),
        ("a(b=[1", "character 5: '[' is never closed"),
        ('a(b="c)', "character 5: the quote is never closed"),
        ("a(b=c(d)", "character 2: '(' is never closed"),
        ("a(b=(c])", "character 7: ']' closes nothing"),
        ("a(b=c[d)", "character 8: ')' closes nothing"),
        ("a(b)", "character 3: cannot read 'b'; write parameter=value"),
        ("a(b={c})", "character 6: cannot read 'c'; write key: value"),
        ("a(b=1, b=2)", "character 8: 'b' is given twice"),
        ("a(b=1) c", "character 8: unexpected 'c'"),
        ("a+", "character 3: no name"),
        ("+a", "character 1: no name"),
        ("a+b(c", "character 4: '(' is never closed"),
        ("a b", "character 3: unexpected 'b'"),
        ('a(b="c" d)', "character 9: unexpected 'd'; write ',' or ')'"),
    ],
    ids=str,
)
def test_mistakes_are_told_with_their_place(text: str, message: str) -> None:
    with pytest.raises(GrammarError, match=re.escape(message)):
        split_parts(text)
    if "+" not in text:
        with pytest.raises(GrammarError, match=re.escape(message)):
            read_call(text)


TEXTS = st.text(max_size=6) | st.text("ab,()[]{}\"'\\ =:+N\n", max_size=8)
SCALARS = TEXTS | st.none() | st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)


def as_read(value: Any) -> Any:
    """What a value is before its declared type is known."""
    if isinstance(value, list):
        return [as_read(item) for item in value]
    if isinstance(value, dict):
        return {key: as_read(item) for key, item in value.items()}
    return value if value is None or isinstance(value, str | float) else str(value)


def same(read: Any, value: Any) -> bool:
    if isinstance(value, list):
        return len(read) == len(value) and all(map(same, read, value))
    if isinstance(value, dict):
        return read.keys() == value.keys() and all(same(read[key], value[key]) for key in value)
    return bool(float(read) == value) if isinstance(value, float) else bool(read == value)


@given(
    st.dictionaries(
        st.sampled_from(["a", "b_c", "d"]),
        SCALARS
        | st.lists(SCALARS | st.lists(SCALARS, max_size=2), max_size=3)
        | st.dictionaries(TEXTS, SCALARS, max_size=3),
    )
)
@example({"a": ["", "None", "x"], "b": {"": ""}, "c": "", "d": [""]})
@example({"a": 0.1234567891, "b": 1e300, "c": -0.0})
@example({"a": " x", "b": "a)", "c": "'", "d": "\\", "e": "[1]"})
def test_what_is_written_is_read_back(params: dict[str, Any]) -> None:
    written = write_call("x", params)
    read = read_call(written)
    assert read.name == "x" and same(read.params, as_read(params))
    assert split_parts(f"{written}+y+{written}") == [written, "y", written]


class Tool:
    pass


TOOLS: Registry[Tool] = Registry("tool", "midef.core")


@TOOLS.add("plane")
@dataclass(frozen=True, kw_only=True)
class Plane(Tool):
    """Every type that components use."""

    width: float = 0.5
    count: int = 3
    is_sharp: bool = False
    name: str = ""
    limit: int | None = 3
    weights: tuple[float, ...] = ()
    names: tuple[str, ...] = ()


@given(
    st.builds(
        Plane,
        width=st.floats(allow_nan=False, allow_infinity=False),
        count=st.integers(-(10**9), 10**9),
        is_sharp=st.booleans(),
        name=TEXTS,
        limit=st.none() | st.integers(-9, 9),
        weights=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3).map(tuple),
        names=st.lists(TEXTS, max_size=3).map(tuple),
    )
)
def test_a_label_makes_an_equal_component(plane: Plane) -> None:
    choice = TOOLS.describe(plane)
    again = TOOLS.choose(choice.label)
    assert again == choice and again.label == choice.label
    assert TOOLS.remake(again) == plane or math.copysign(1, plane.width) < 0


@pytest.mark.parametrize(
    ("params", "label"),
    [
        ({}, "x"),
        ({"area_high": 0.8}, "x(area_high=0.8)"),
        ({"a": 1e-05, "b": 40.0, "c": 5, "d": True}, "x(a=1e-05,b=40,c=5,d=True)"),
        ({"cut": "block4.conv1", "path": "a b=c"}, "x(cut=block4.conv1,path=a b=c)"),
        ({"stages": [-1, -2]}, "x(stages=[-1, -2])"),
    ],
    ids=str,
)
def test_labels_of_stored_rows_stay(params: dict[str, Any], label: str) -> None:
    assert write_call("x", params) == label


def test_a_comma_in_a_path_says_how_to_write_it() -> None:
    with pytest.raises(GrammarError, match="character 26: cannot read 'cropped'; write parameter=value; a value"):
        read_call("image_folder(path=faces, cropped)")
    with pytest.raises(GrammarError, match=r'stands in quotes, path="faces, cropped", or in a mapping of a YAML file'):
        read_call("image_folder(path=faces, cropped)")
    assert read_call('image_folder(path="faces, cropped")').params == {"path": "faces, cropped"}
    assert read_call("image_folder(path='my faces')").params == {"path": "my faces"}


@pytest.mark.parametrize("brackets", ["[]", "()", "{}"])
def test_brackets_inside_each_other_end_somewhere(brackets: str) -> None:
    opening = "[" if brackets == "[]" else "(" if brackets == "()" else "{a: "
    with pytest.raises(GrammarError, match="more than 32 brackets inside each other"):
        read_call("x(a=" + opening * 20_000)
