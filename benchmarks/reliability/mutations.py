"""Specifications with mistakes: valid ones, changed at random by structure and by bytes, the same for one seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

SIMPLE = {
    "name": "small",
    "profile": "smoke",
    "setups": [
        {
            "id": "faces",
            "attack": "gmi",
            "private": {"name": "synthetic_faces", "identities": 12, "train_images": 4},
            "public": {"name": "synthetic_faces", "population": "public", "identities": 20},
            "protocol": {"identities": 4, "images_per_identity": 2},
        }
    ],
    "defenses": ["none", "midre"],
    "seeds": [0, 1],
}
RICH = {
    "name": "rich",
    "profile": "mini",
    "setups": [
        {
            "id": "several",
            "attack": [{"name": "gmi", "iterations": 50, "prior": {"steps": 20, "width": 8}}, "mi_face"],
            "architecture": ["vgg16_tiny", "resnet18_tiny"],
            "evaluator": "facenet64_tiny",
            "pretraining": {"name": "synthetic_faces", "identities": 10, "seed": 7},
            "resolution_px": 32,
            "protocol": {"identities": 4, "images_per_identity": 2, "resize": "float", "spread": "groups"},
            "defenses": ["none", "midre(area_high=0.8)+nls", {"name": "bido", "lambda_x": 0.05}, "tl_dmi"],
            "training": {"epochs": 2, "learning_rate": 0.01, "milestones": [0.5, 0.75]},
            "certainty": "inferred",
        },
        {"attack": "brep_mi", "protocol": {"identities": 3}},
    ],
    "defenses": ["none", "rounding"],
    "seeds": [0],
    "private": {"name": "synthetic_faces", "identities": 12, "difficulty": 0.2},
    "public": "synthetic_faces(population=public, identities=30)",
    "evaluator_training": {"preset": "tl-dmi-vgg16", "epochs": 2},
    "train_workers": {"target": 2},
}
MATCHED = {
    **SIMPLE,
    "match": {"target": "none - 2", "tolerance": 1.0, "confirm": [5], "ranges": {"midre": {"low": 0.1}}},
}
FRONT = {**SIMPLE, "seeds": [3], "front": {"defense": "midre", "trials": 4, "sampler": "nsga2"}}
PUBLISHED = {
    "name": "published",
    "profile": "mini",
    "stand_ins": True,
    "setups": [
        {
            "id": "S01",
            "attack": "gmi",
            "architecture": "vgg16",
            "private": "celeba",
            "public": "ffhq_thumbnails",
            "evaluator": "facenet112",
            "weights": "imagenet",
            "certainty": "certain",
        }
    ],
    "defenses": ["none", "tl_dmi"],
}
BASES = (SIMPLE, RICH, MATCHED, FRONT, PUBLISHED)

NASTY = (
    *("[]", "{}", "null", "~", "", "true", "no", "on", "0", "-1", "1", "010", "089", "1:30", "1_000", "0x10"),
    *("0b11", ".nan", ".inf", "-.inf", "1e999", "1e-3", "1.5", "-0.0", "1000000", "4294967296", str(10**12)),
    *(str(10**30), str(2**63 - 1), str(2**63), str(-(2**63) - 1), "9" * 5000, "2024-01-01", "2024-01-01T00:00:00Z"),
    *("=", "<<", '"\\ud800"', '"\\0"', '"\\e[31m"', '"\\u202e"', '"two\\nlines"', '" "', '""', "' midre'", "é"),
    *("名前", "\U0001f600", "!!python/object/apply:os.getcwd []", "!!python/name:os.system", "!!binary aGk="),
    *("!!set {a, b}", "!!omap [a: 1]", "!!int abc", "!!float x", "!mine {a: 1}", "!!str 3", "*gone", "&x [*x]"),
    *("&y {<<: *y}", "{<<: [1]}", "{<<: {a: 1}}", "[" * 50 + "]" * 50, "{a: " * 50 + "1" + "}" * 50, "[" * 5000),
    *('"' + "x" * 20_000 + '"', "[" + "1, " * 3000 + "1]", "midre(", "midre)", "midre(a=" + "[" * 3000, "midre+"),
    *("+midre", "midre+midre", "(", "none - 2", "none - -2", "0.9", "midre(area_high=nan)"),
    *("midre(area_high=1e999)", 'midre(fill="', "midre:no-such", "midre(a=1,a=2)", "midre(0.3)"),
    *("[1, [2, [3, {a: b}]]]", "{1: 2}", "{[1]: 2}", "{null: 1}", "{? [a] : b}", "{name: 3}", "{name: []}"),
    *("{name: null}", "{name: gmi, preset: []}", "{name: gmi, prior: 3}", "{name: gmi, prior: {name: []}}"),
    *("{name: midre, area_high: {}}", "image_folder", "image_folder(path=/no/such/folder)"),
    *("image_folder(path=a, b)", "{name: image_folder, path: 3}", '{name: image_folder, path: "\\0"}'),
    *("{name: image_folder, path: ~nobody/x}", "synthetic_faces", "celeba"),
    *("synthetic_faces(identities=1000000000000)", "synthetic_faces(identities=1)", "paper", "smoke", "vgg16"),
    *("ir152", "@x", "`x`", "%YAML 9.9", "- - - -", "? a", "|", ">", "|\n  text", "#", "a: b: c", "key", "'", '"'),
    *("&", "*", "!", "\t"),
)
"""Values that stand where something else belongs, as YAML text."""
PLAUSIBLE = (
    *("0", "1", "2", "3", "8", "12", "33", "100", "1000", "0.0", "0.1", "0.5", "0.99", "1.0", "2.0", "-0.5"),
    *("1e-3", "true", "no", "gmi", "kedmi", "plg_mi", "vmi", "rlb_mi", "lokt", "inversion_model", "none", "midre"),
    *("bido", "dp_sgd", "loft", "tts", "midre+nls", "tl_dmi+bido", "bido+midre", "dp_sgd(batch_norm=group)"),
    *("vgg16_tiny", "resnet18_tiny", "facenet64_tiny", "densenet121_tiny", "maxvit_t_tiny", "synthetic_faces"),
    *("synthetic_faces(population=public)", "[none]", "[0, 1, 2]", "{}", "smoke", "mini", "small", "{epochs: 1}"),
    *("{preset: loft-64}", "{target: 1, evaluator: 0}", "best_by_target", "groups"),
)
"""Values that are right somewhere."""

_KINDS = (
    *(("replace",) * 3 + ("plausible",) * 5),
    *("drop", "double", "rename", "retag", "move", "wrap", "insert"),
)
_BYTES = (
    *(b"\x00", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\x1b[2J", b"\t", b"\r"),
    *(b"\n---\n", b"\n...\n", b": ", b"- ", b"&a "),
)
Pairs: TypeAlias = "list[list[Any]]"


@dataclass
class Map:
    """A mapping whose keys may stand twice.

    Args:
        pairs: key and value each.
    """

    pairs: Pairs


def tree_of(data: Any) -> Any:
    """Plain data as mappings, lists and YAML text."""
    if isinstance(data, dict):
        return Map([[key, tree_of(value)] for key, value in data.items()])
    return [tree_of(value) for value in data] if isinstance(data, list) else json.dumps(data)


def text_of(node: Any, indent: int = 0) -> str:
    """YAML text, mappings and lists over several lines."""
    blanks = "\n" + " " * indent
    if isinstance(node, Map):
        return "".join(f"{blanks}{key}: {text_of(value, indent + 2)}" for key, value in node.pairs) or " {}"
    if isinstance(node, list):
        return "".join(f"{blanks}- {text_of(value, indent + 2)}" for value in node) or " []"
    return str(node)


def _slots(node: Any) -> Iterator[tuple[Any, int]]:
    """Every value of a tree, as what holds it and its position there."""
    held = node.pairs if isinstance(node, Map) else node if isinstance(node, list) else []
    for i, value in enumerate(held):
        yield node, i
        yield from _slots(value[1] if isinstance(node, Map) else value)


def _change(tree: Map, rng: random.Random) -> None:
    """One change of structure, in place."""
    slots = list(_slots(tree))
    if not slots:
        return
    holder, i = rng.choice(slots)
    held = holder.pairs if isinstance(holder, Map) else holder
    kind = rng.choice(
        ["replace"] * 3 + ["plausible"] * 5 + ["drop", "double", "rename", "retag", "move", "wrap", "insert"]
    )
    if kind == "drop":
        del held[i]
    elif kind == "double":
        held.insert(rng.randrange(len(held) + 1), held[i])
    elif kind == "insert":
        held.insert(i, [rng.choice(NASTY), rng.choice(NASTY)] if isinstance(holder, Map) else rng.choice(NASTY))
    elif kind == "rename" and isinstance(holder, Map):
        held[i] = [rng.choice([*NASTY, str(held[i][0])[:-1], f"{held[i][0]}s"]), held[i][1]]
    else:
        other, j = rng.choice(slots)
        value = held[i][1] if isinstance(holder, Map) else held[i]
        taken = other.pairs[j][1] if isinstance(other, Map) else other[j]
        changed = {
            "retag": f"{rng.choice(['!!str', '!!int', '!!python/tuple', '!x', '&a', '!!map'])} {value}",
            "move": json.loads(json.dumps(taken)) if isinstance(taken, str) else rng.choice(NASTY),
            "plausible": rng.choice(PLAUSIBLE),
            "wrap": rng.choice([[value], Map([["name", value]])]),
        }.get(kind, rng.choice(NASTY))
        held[i] = [held[i][0], changed] if isinstance(holder, Map) else changed


def _of_structure(rng: random.Random) -> bytes:
    tree = tree_of(rng.choice(BASES))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _change(tree, rng)
    return text_of(tree).strip().encode("utf-8", "surrogatepass")


def _of_bytes(rng: random.Random) -> bytes:
    text = text_of(tree_of(rng.choice(BASES))).strip().encode()
    for _ in range(rng.choice((1, 1, 2, 5))):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.choice((1, 1, 2, 10, 100)))
        put = rng.choice([b"", text[start:end] * 2, *_BYTES, bytes([rng.randrange(256)]), rng.choice(NASTY).encode()])
        text = text[:start] + put + text[end:]
    return text


def _of_files(rng: random.Random) -> bytes:
    """What is hardly a specification at all."""
    text = text_of(tree_of(rng.choice(BASES))).strip()
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
    makers: list[Callable[[], bytes]] = [
        lambda: b"",
        lambda: text.encode("utf-16"),
        lambda: b"\xef\xbb\xbf" + text.encode(),
        lambda: text.replace("\n", "\r\n").encode(),
        lambda: text.replace("  ", "\t").encode(),
        lambda: (bomb + text).encode(),
        lambda: text.encode()[: rng.randrange(len(text))],
        lambda: rng.randbytes(200),
        lambda: (f"{text}\n---\n{text}").encode(),
        lambda: (f"{text}\n" + "# words\n" * rng.choice((1, 200_000))).encode(),
        lambda: text.encode() + b"\nseeds: [" + b"0, " * 50_000 + b"1]",
    ]
    return rng.choice(makers)()


def mutations(n: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Changed specifications, each with what kind of change it was and its number.

    Args:
        n: how many.
        seed: the same ones each time.
    """
    rng = random.Random(seed)
    for i in range(n):
        kind, make = rng.choices(
            (("structure", _of_structure), ("bytes", _of_bytes), ("file", _of_files)), weights=(70, 25, 5)
        )[0]
        yield f"{kind} {i}", make(rng)
