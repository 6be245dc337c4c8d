"""What a person writes about a sweep, checked as a whole, and the cells it stands for."""

from __future__ import annotations

import gc
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from functools import cached_property, wraps
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from midef.attacks import ATTACKS, AccessLevel, Prior
from midef.core.canonical import canonical_json, digest
from midef.core.choice import Choice
from midef.core.errors import DataError, MidefError, PreflightError, SpecError
from midef.core.match import Match
from midef.core.recipe import Recipe, each_once
from midef.core.registry import merged
from midef.core.setup import Cell, Protocol, Setup
from midef.datasets import DATASETS, Dataset
from midef.datasets.base import PATHS
from midef.defenses.stack import choose_defense, remake_defense
from midef.models import ARCHITECTURES
from midef.stages import CellRecipes, place_dataset, place_weights, published_recipe, recipes_for_cell
from midef.sweep.spec.matching import FrontSpec, MatchSpec, RangeSpec
from midef.sweep.spec.profiles import Profile, profile_named
from midef.training import TrainingRecipe

P = ParamSpec("P")
T = TypeVar("T")
Wanted = str | dict[str, Any]


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


Several = Annotated[list[Wanted], BeforeValidator(_as_list)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProtocolSpec(_Strict):
    """Fields of `midef.core.Protocol`; what is left out comes from the profile."""

    identities: int | None = Field(default=None, ge=1)
    images_per_identity: int | None = Field(default=None, ge=1)
    evaluator_resolution_px: int | None = Field(default=None, ge=8)
    resize: Literal["pil_uint8", "float"] | None = None
    counted: Literal["all", "best_by_target"] | None = None
    group_size: int | None = Field(default=None, ge=1)
    spread: Literal["restarts", "groups", "population", "variance"] | None = None
    knn_reference: Literal["train", "train+report"] | None = None


class SetupSpec(_Strict):
    """One row of the matrix; several where `attack` or `architecture` is a list. The profile says what is left out.

    defenses, training, evaluator_training: of this row, before those of the sweep; the sweep's training still changes
    fields of the row's. certainty: whether a published matrix names this row or it was inferred; shown with results.
    unregistered: `refuse` keeps a row whose attack, network or data set nobody has written yet, as refused cells.
    pretraining: a labelled data set that the targets' backbone learns first; weights, evaluator_weights: published
    weights (imagenet, ms1m) that backbones of targets or of the evaluator start from. Without, they start fresh.
    """

    id: str = ""
    attack: Several
    architecture: Several = Field(default_factory=list)
    private: Wanted | None = None
    public: Wanted | None = None
    pretraining: Wanted | None = None
    weights: str = ""
    evaluator_weights: str = ""
    evaluator: Wanted | None = None
    resolution_px: int | None = Field(default=None, ge=8, le=2048)
    protocol: ProtocolSpec = ProtocolSpec()
    defenses: list[Wanted] = Field(default_factory=list)
    training: dict[str, Any] = Field(default_factory=dict)
    evaluator_training: dict[str, Any] = Field(default_factory=dict)
    certainty: Literal["", "certain", "inferred"] = ""
    unregistered: Literal["error", "refuse"] = "error"


class SweepSpec(_Strict):
    """Setups x defenses x seeds under a profile.

    training, evaluator_training: overrides of the profile's recipe, or a published one (`preset: facescrub-224`)
    and what it changes; pretraining_training: what differs from `training` where backbones are pre-trained. A
    defense is written `midre`, `midre:celeba-64`, `midre(area_high=0.8)`, `midre+nls`, or as a mapping with `name`.
    private, public: data sets of every setup that names none. stand_ins: the setups name published networks, data and
    recipes, which a small profile replaces by its own (and `private`, `public` by yours); profile `paper` takes them as
    they are. train_workers: processes of a training, for all kinds or by kind (`target`, `evaluator`), instead of the
    profile's; it changes no result. match, front: what `midef match` does with the sweep.
    """

    name: str = Field(pattern=r"^[\w.-]+$", max_length=80)
    profile: str = "smoke"
    setups: list[SetupSpec] = Field(min_length=1)
    defenses: list[Wanted] = Field(default_factory=list)
    seeds: list[int] = Field(default_factory=lambda: [0], min_length=1)
    training: dict[str, Any] = Field(default_factory=dict)
    evaluator_training: dict[str, Any] = Field(default_factory=dict)
    pretraining_training: dict[str, Any] = Field(default_factory=dict)
    private: Wanted | None = None
    public: Wanted | None = None
    stand_ins: bool = False
    train_workers: int | dict[Literal["target", "evaluator"], int] | None = None
    match: MatchSpec | None = None
    front: FrontSpec | None = None


@dataclass(frozen=True)
class PlannedCell:
    """A cell with the artifacts that answer it; refused: why this defense cannot meet this setup, "" if it can.

    answered_by: None for a cell that nobody knows how to answer, because a component of its setup is not registered.
    """

    cell: Cell
    answered_by: CellRecipes | None
    refused: str = ""

    @property
    def recipes(self) -> CellRecipes:
        """
        Raises:
            ValueError: of a cell whose setup names a component that is not registered.
        """
        if self.answered_by is None:
            raise ValueError(f"{self.cell.setup.id} has no recipes: {self.refused}")
        return self.answered_by


@dataclass(frozen=True)
class Sweep:
    """A specification made concrete: every component with all its parameters, every recipe named.

    locations: digest of a split artifact -> fields that say where its files lie here; never part of a key.
    entries: the setups, each with what it is compared with; they make further cells.
    """

    name: str
    profile: Profile
    cells: tuple[PlannedCell, ...]
    locations: Mapping[str, Mapping[str, Any]]
    spec: SweepSpec
    entries: tuple[Entry, ...] = ()

    @cached_property
    def digest(self) -> str:
        return digest({"name": self.name, "cells": [c.cell.digest for c in self.cells]})


def read_yaml(path: Path, known: Sequence[str] = ()) -> dict[str, Any]:
    """The plain data of a specification in a YAML file; paths of data sets relative to that file become absolute.

    known: names that could have been meant where there is no such file.

    Raises:
        SpecError: if the file cannot be read as a mapping.
    """
    import yaml  # here: a named sweep is planned without it

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpecError(f"no such file {path}; give a YAML file or one of: {', '.join(known)}") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise SpecError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(data, dict):
        raise SpecError(f"{path} must hold a mapping with name, setups, defenses; it holds {type(data).__name__}")
    return _relative_paths(data, path.parent)


def parse_spec(data: Mapping[str, Any], where: str = "sweep") -> SweepSpec:
    """Check plain data against the schema.

    Raises:
        SpecError: every problem at once.
    """
    try:
        return SweepSpec.model_validate(data)
    except ValidationError as error:
        problems = []
        for item in error.errors():
            place = where + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in item["loc"])
            if item["type"] == "extra_forbidden":
                known = _known_fields(item["loc"])
                near = get_close_matches(str(item["loc"][-1]), known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
                problems.append(f"{place}: unknown field{hint}")
            else:
                problems.append(f"{place}: {item['msg']}, got {item['input']!r}"[:400])
        raise SpecError(problems) from None


def _known_fields(loc: tuple[int | str, ...]) -> list[str]:
    models: dict[str, type[BaseModel]] = {"setups": SetupSpec, "match": MatchSpec, "front": FrontSpec}
    model = models.get(str(loc[0]), SweepSpec) if len(loc) > 1 else SweepSpec
    if "protocol" in loc[1:-1]:
        model = ProtocolSpec
    elif "ranges" in loc[1:-1]:
        model = RangeSpec
    return sorted(model.model_fields)


def override(data: dict[str, Any], text: str) -> None:
    """Apply `a.b.0.c=value`; the value is read as YAML."""
    import yaml

    path, equals, value = text.partition("=")
    if not equals:
        raise SpecError(f"cannot read --set {text!r}; write key.path=value")
    place: Any = data
    keys = path.split(".")
    try:
        for key in keys[:-1]:
            place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
        if isinstance(place, list):
            place[int(keys[-1])] = yaml.safe_load(value)
        else:
            place[keys[-1]] = yaml.safe_load(value)
    except (ValueError, IndexError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise SpecError(f"--set {text!r} does not fit the specification: {error}") from error


def _relative_paths(data: dict[str, Any], base: Path) -> dict[str, Any]:
    """Make the paths of datasets absolute: in a file they are relative to that file."""
    setups = data.get("setups")
    for setup in setups if isinstance(setups, list) else []:
        for role in ("private", "public", "pretraining") if isinstance(setup, dict) else ():
            chosen = setup.get(role)
            if isinstance(chosen, str) and "(" in chosen:
                try:
                    name, preset, params = DATASETS.parse(chosen)
                except SpecError:
                    continue  # said again, with its place, when the specification is resolved
                chosen = setup[role] = {"name": name, **({"preset": preset} if preset else {}), **params}
            if isinstance(chosen, dict):
                for key in _location_fields(str(chosen.get("name", ""))) & PATHS:
                    if isinstance(chosen.get(key), str) and chosen[key]:
                        chosen[key] = str((base / Path(chosen[key]).expanduser()).resolve())
    return data


def _location_fields(name: str) -> set[str]:
    if name not in DATASETS.names():
        return set()
    return {f.name for f in fields(cast(Any, DATASETS.get(name))) if f.metadata.get("location")}


class _Problems(list[str]):
    """Collects problems; `take` keeps what one of midef's errors says, with its place."""

    def take(self, place: str, error: MidefError) -> None:
        self.extend(f"{place}: {p}" for p in (error.problems if isinstance(error, SpecError) else [str(error)]))


def without_collections(plan: Callable[P, T]) -> Callable[P, T]:
    """Plan with the collector of cyclic garbage paused: it would walk through everything planned so far, again and
    again (a quarter of the time at 100,000 cells), and what is planned stays."""

    @wraps(plan)
    def paused(*args: P.args, **kwargs: P.kwargs) -> T:
        was_on = gc.isenabled()
        gc.disable()
        try:
            return plan(*args, **kwargs)
        finally:
            if was_on:
                gc.enable()

    return paused


@without_collections
def resolve(spec: SweepSpec) -> Sweep:
    """Make a specification concrete.

    Raises:
        SpecError: everything wrong with names, parameters and combinations.
        PreflightError: everything missing here: data sets that cannot be read, private images among the public ones.
    """
    problems, lacking = _Problems(), _Problems()
    profile: Profile | None = None
    try:
        profile = profile_named(spec.profile)
    except SpecError as error:
        problems.take(spec.name, error)
    if profile is not None and spec.train_workers is not None:
        workers = spec.train_workers
        by_kind = workers if isinstance(workers, int) else {str(kind): count for kind, count in workers.items()}
        profile = replace(profile, train_workers=by_kind)
    _training("training", profile.training if profile else {}, spec.training, problems)
    everywhere = _defenses(spec.defenses, "defenses", {}, problems)
    if len(set(spec.seeds)) < len(spec.seeds):
        problems.append(f"seeds: {spec.seeds} holds a seed twice")
    data = _Datasets(lacking, problems)
    entries: list[Entry] = []
    for i, written in enumerate(spec.setups if profile is not None else ()):
        assert profile is not None
        place = f"setups[{i}]"
        item, stand_ins = _with_stand_ins(written, spec, profile)
        stands = profile.stand_ins.get("defense", {}) if spec.stand_ins else {}
        defenses = _defenses(item.defenses, f"{place}.defenses", stands, problems) if item.defenses else everywhere
        if not defenses and not item.defenses and not spec.defenses:
            problems.append(f"{place}: no defenses given; list some here, or under the sweep's defenses")
        training = _training("training", profile.training, {**item.training, **spec.training}, problems)
        judging = {**item.evaluator_training, **spec.evaluator_training}
        evaluator_training = _training("evaluator_training", profile.evaluator_training, judging, problems)
        pretraining_training = training
        if spec.pretraining_training and training is not None:
            pretraining_training = _training(
                "pretraining_training", vars(training), spec.pretraining_training, problems
            )
        refused = _unregistered(item, profile) if item.unregistered == "refuse" else ""
        fewer = bool(stand_ins and spec.private)
        made = (
            _bare_setups(item, profile) if refused else _setups(item, profile, place, data, problems, at_most_all=fewer)
        )
        for setup in made:
            if training is not None and evaluator_training is not None:
                count = setup.protocol.identities
                cut = fewer and count < profile.protocol["identities"]
                said = stand_ins + (f"; {count} identities, all there are" if cut else "")
                shown = replace(setup, certainty=item.certainty, stand_ins=said)
                entries.append(
                    Entry(shown, tuple(defenses), training, evaluator_training, pretraining_training, profile, refused)
                )
    ids = [e.setup.id for e in entries]
    for name in sorted({n for n in ids if ids.count(n) > 1}):
        problems.append(f"setups: two setups have the id {name!r}; give each its own")
    if problems:
        raise SpecError(list(dict.fromkeys(problems)))
    if lacking:
        raise PreflightError(_grouped(lacking))
    assert profile is not None
    cells: list[PlannedCell] = []
    for entry in entries:
        for defense in entry.defenses:
            refused = entry.refusal(defense)
            cells += [entry.cell(defense, seed, refused=refused) for seed in spec.seeds]
    return Sweep(spec.name, profile, tuple(cells), data.locations(cells), spec, tuple(entries))


def _grouped(problems: Sequence[str]) -> list[str]:
    """The same thing missing in several places is one problem."""
    places: dict[str, list[str]] = {}
    for problem in problems:
        place, _, text = problem.partition(": ")
        places.setdefault(text, []).append(place)
    found = []
    for text, wanted in places.items():
        first = list(dict.fromkeys(wanted))
        more = f" and {len(first) - 2} more" if len(first) > 2 else ""
        found.append(f"{', '.join(first[:2])}{more}: {text}")
    return found


@dataclass(frozen=True)
class Entry:
    """A setup with what it is compared with and how its networks are trained."""

    setup: Setup
    defenses: tuple[Choice, ...]
    training: TrainingRecipe
    evaluator_training: TrainingRecipe
    pretraining_training: TrainingRecipe | None
    profile: Profile
    refused: str = ""

    def refusal(self, defense: Choice) -> str:
        """Why this defense cannot meet this setup, whatever the seed; "" if it can."""
        return self.refused or _refusal(self.setup, defense, self.profile)

    def cell(self, defense: Choice, seed: int, *, refused: str = "", match: Match | None = None) -> PlannedCell:
        """The cell of this setup under a defense, with the artifacts that answer it."""
        return _cell(self, defense, seed, self.profile, refused, match)


def _defenses(wanted: Sequence[Wanted], place: str, stands: Mapping[str, Wanted], problems: _Problems) -> list[Choice]:
    """The defenses as written, those of a published row replaced by the profile's where it has its own."""
    found: list[Choice] = []
    for i, one in enumerate(wanted):
        name = str(one.get("name", "")) if isinstance(one, dict) else one
        try:
            found.append(choose_defense(stands.get(re.split(r"[:(]", name)[0], one)))
        except SpecError as error:
            problems.take(f"{place}[{i}]", error)
    for name in sorted({d.label for d in found if found.count(d) > 1}):
        problems.append(f"{place}: {name} is listed twice")
    return found


def _with_stand_ins(item: SetupSpec, spec: SweepSpec, profile: Profile) -> tuple[SetupSpec, str]:
    """A published row at the profile's size, and what was replaced by what. A row of any other sweep is as written."""
    own = {"private": spec.private, "public": spec.public}
    if not spec.stand_ins or not profile.stand_ins:
        return item.model_copy(update={k: v for k, v in own.items() if v and not getattr(item, k)}), ""
    said: list[str] = []

    def swap(role: str, wanted: Wanted | None) -> Wanted | None:
        if wanted is None:
            return None
        name = _name_of(wanted)
        other = own.get(role) or profile.stand_ins.get(role, {}).get(name, wanted)
        if _name_of(other) != name:
            said.append(f"{_name_of(other)} for {name}" + (f" ({role})" if role != "architecture" else ""))
        return other

    changed: dict[str, Any] = {
        "attack": [_name_of(a) for a in item.attack],
        "architecture": [swap("architecture", a) for a in item.architecture],
        **{role: swap(role, getattr(item, role)) for role in ("private", "public", "evaluator")},
        **{"resolution_px": None, "protocol": ProtocolSpec(), "training": {}, "evaluator_training": {}},
        **{"weights": "", "evaluator_weights": ""},
    }
    if item.weights:
        changed["pretraining"] = profile.stand_ins.get("weights", {}).get(item.weights)
        instead = "fresh weights" if changed["pretraining"] is None else f"{_name_of(changed['pretraining'])} first"
        said.append(f"{instead} for {item.weights} weights")
    if item.resolution_px not in (None, profile.resolution_px):
        said.append(f"{profile.resolution_px} px for {item.resolution_px} px")
    asked = Protocol(**item.protocol.model_dump(exclude_none=True))
    given = Protocol(**profile.protocol)
    if (asked.identities, asked.images_per_identity) != (given.identities, given.images_per_identity):
        fewer, more = (f"{p.identities} x {p.images_per_identity}" for p in (given, asked))
        said.append(f"{fewer} images for {more}")
    said.append(f"training and attacks at the budget of {profile.name}")
    return item.model_copy(update=changed), "; ".join(dict.fromkeys(said))


def _name_of(wanted: Wanted) -> str:
    """The component's name in what a person wrote; unchecked."""
    return re.split(r"[:(]", str(wanted["name"]) if isinstance(wanted, dict) else wanted)[0]


def _unregistered(item: SetupSpec, profile: Profile) -> str:
    """What of this row nobody has written yet; "" if all is there."""
    networks = [*(item.architecture or [profile.architecture]), item.evaluator or profile.evaluator]
    sets = [w for w in (item.private or profile.private, item.public or profile.public) if w]
    asked: list[tuple[str, Any, Sequence[Wanted]]] = [
        ("attack", ATTACKS, item.attack),
        ("network", ARCHITECTURES, networks),
        ("data set", DATASETS, sets),
    ]
    for what, registry, wanted in asked:
        unknown = sorted({_name_of(w) for w in wanted} - set(registry.names()))
        if unknown:
            return f"{what} not registered: {', '.join(unknown)}"
    return ""


def _bare_setups(item: SetupSpec, profile: Profile) -> Iterator[Setup]:
    """The setups of a row that cannot be run, by name alone: no data is looked at."""
    protocol = Protocol(**{**profile.protocol, **item.protocol.model_dump(exclude_none=True)})
    architectures = item.architecture or [profile.architecture]
    for attack, architecture in product(item.attack, architectures):
        name = item.id or f"{_name_of(architecture)}-{_name_of(item.private or profile.private)}"
        if len(item.attack) > 1 or not item.id:
            name = f"{_word(_name_of(attack))}-{name}"
        yield Setup(
            id=f"{name}-{_name_of(architecture)}" if len(architectures) > 1 and item.id else name,
            attack=Choice(_name_of(attack)),
            architecture=Choice(_name_of(architecture)),
            private=Choice(_name_of(item.private or profile.private)),
            public=Choice(_name_of(item.public or profile.public)),
            evaluator=Choice(_name_of(item.evaluator or profile.evaluator)),
            resolution_px=item.resolution_px or profile.resolution_px,
            protocol=protocol,
        )


def _training(
    place: str, budget: Mapping[str, Any], written: Mapping[str, Any], problems: _Problems
) -> TrainingRecipe | None:
    """The recipe as written, on the profile's budget; a named recipe replaces the budget."""
    try:
        return TrainingRecipe.make(written if "preset" in written else {**budget, **written})
    except SpecError as error:
        problems.take(place, error)
        return None


def data_folder() -> Path:
    """Where published data sets lie unless a sweep says otherwise: $MIDEF_DATA, each in a folder of its name."""
    return Path(os.environ.get("MIDEF_DATA") or "~/.cache/midef/data").expanduser()


def _at_home(wanted: Wanted) -> Wanted:
    """A published data set without a place is looked for in its folder of `data_folder`."""
    name, preset, params = DATASETS.parse(wanted)
    places = _location_fields(name) & {"root", "path"}
    if name == "image_folder" or not places or any(params.get(place) for place in places):
        return wanted
    place = "root" if "root" in places else "path"
    return {"name": name, **({"preset": preset} if preset else {}), **params, place: str(data_folder() / name)}


class _Datasets:
    """Reads each data set's directory once."""

    def __init__(self, lacking: _Problems, problems: _Problems) -> None:
        self.lacking, self.problems = lacking, problems
        self._known: dict[str, tuple[Choice, Dataset] | None] = {}
        self._where: dict[str, dict[str, Any]] = {}
        self._published: dict[str, dict[str, Any]] = {}
        self._weights: dict[tuple[str, str], tuple[Choice, dict[str, Any]] | None] = {}

    def choose(self, wanted: Wanted, place: str) -> tuple[Choice, Dataset] | None:
        """The choice with a fingerprint instead of paths; None after a problem was noted."""
        text = json.dumps(wanted, sort_keys=True, default=str)
        if text not in self._known:
            self._known[text] = self._read(wanted, place)
        return self._known[text]

    def _read(self, wanted: Wanted, place: str) -> tuple[Choice, Dataset] | None:
        try:
            choice = DATASETS.choose(_at_home(wanted))
        except SpecError as error:
            self.problems.take(place, error)
            return None
        dataset = DATASETS.make(choice.name, choice.params)
        found = dataset.problems()
        if found:
            self.lacking.extend(f"{place}: {p}" for p in found)
            return None
        try:
            keyed, where = place_dataset(choice)
        except DataError as error:
            self.lacking.take(place, error)
            return None
        self._where[canonical_json(keyed.keyed)] = where
        return keyed, dataset

    def weights(self, name: str, architecture: Choice, folder: Path, place: str) -> Choice | None:
        """Published weights with the digest of their file, read once; None after a problem was noted."""
        key = (name, architecture.name)
        if key not in self._weights:
            try:
                self._weights[key] = place_weights(name, architecture, folder)
            except (PreflightError, DataError) as error:
                self.lacking.take(place, error)
                self._weights[key] = None
        found = self._weights[key]
        return None if found is None else found[0]

    def place(self, recipe: Recipe, name: str) -> None:
        """Note where the file of published weights lies."""
        found = self._weights[name, recipe.params["architecture"]["name"]]
        assert found is not None, "only weights that are here are placed"
        self._published[recipe.key.digest] = found[1]

    def locations(self, cells: Sequence[PlannedCell]) -> dict[str, dict[str, Any]]:
        """Where the files of each split artifact and of published weights lie."""
        found = dict(self._published)
        for recipe in each_once(planned.recipes.scores for planned in cells if planned.answered_by is not None):
            if recipe.kind == "split":
                keyed = {
                    "name": recipe.component,
                    "params": recipe.params["params"],
                    "version": recipe.params["component_version"],
                }
                found.setdefault(recipe.key.digest, self._where.get(canonical_json(keyed), {}))
        return {k: v for k, v in found.items() if v}


def _setups(
    item: SetupSpec,
    profile: Profile,
    place: str,
    data: _Datasets,
    problems: _Problems,
    *,
    at_most_all: bool = False,
) -> Iterator[Setup]:
    """The setups of one entry: attacks x architectures. at_most_all: attack all identities where there are fewer."""
    resolution_px = item.resolution_px or profile.resolution_px
    private = _dataset(item.private or profile.private, f"{place}.private", data, problems)
    public = _dataset(item.public or profile.public, f"{place}.public", data, problems)
    protocol = Protocol(**{**profile.protocol, **item.protocol.model_dump(exclude_none=True)})
    if at_most_all and private is not None and private[1].is_labelled:
        protocol = replace(protocol, identities=max(1, min(protocol.identities, private[1].n_identities())))
    evaluator = _choose(ARCHITECTURES, item.evaluator or profile.evaluator, f"{place}.evaluator", problems)
    attacks = [_attack(w, profile, f"{place}.attack", problems) for w in item.attack]
    architectures = [
        _choose(ARCHITECTURES, w, f"{place}.architecture", problems)
        for w in item.architecture or [profile.architecture]
    ]
    pretraining = None
    if item.pretraining:
        pretraining = _dataset(item.pretraining, f"{place}.pretraining", data, problems)
        if pretraining is not None:
            _check_pretraining(pretraining, private, f"{place}.pretraining", problems)
    if item.pretraining and item.weights:
        problems.append(f"{place}: give pretraining or weights, not both; a backbone starts from one of them")
    if private is not None:
        _check_private(private[1], protocol, f"{place}.private", problems)
    if private is not None and public is not None:
        _check_disjoint(private, public, place, problems)
    for chosen in filter(None, attacks):
        made = ATTACKS.remake(chosen)
        problems += [f"{place}.attack: {p}" for p in made.problems(resolution_px)]
        data.lacking.extend(f"{place}.attack {chosen.name}: {text}" for text in _lacking(made))
        if protocol.counted == "best_by_target" and ATTACKS.get(chosen.name).access < AccessLevel.SCORES:
            problems.append(f"{place}.protocol: counted best_by_target needs scores, {chosen.name} sees labels only")
    for attack, architecture in product(attacks, architectures):
        if architecture is not None and evaluator is not None:
            _check_networks(architecture, evaluator, resolution_px, protocol, place, problems)
        weights = _weights(item.weights, architecture, resolution_px, f"{place}.weights", data, problems)
        judging_px = protocol.evaluator_resolution_px
        judges_weights = _weights(
            item.evaluator_weights, evaluator, judging_px, f"{place}.evaluator_weights", data, problems
        )
        if None in (attack, architecture, evaluator, private, public) or (item.pretraining and pretraining is None):
            continue
        assert attack and architecture and evaluator and private and public
        name = item.id or f"{architecture.name}-{private[0].name}"
        if len(attacks) > 1 or not item.id:
            name = f"{_word(attack.label)}-{name}"
        if len(architectures) > 1 and item.id:
            name = f"{name}-{architecture.name}"
        yield Setup(
            id=name,
            attack=attack,
            architecture=architecture,
            private=private[0],
            public=public[0],
            evaluator=evaluator,
            resolution_px=resolution_px,
            protocol=protocol,
            pretraining=None if pretraining is None else pretraining[0],
            weights=weights,
            evaluator_weights=judges_weights,
        )


def _weights(
    name: str, architecture: Choice | None, resolution_px: int, place: str, data: _Datasets, problems: _Problems
) -> Choice | None:
    """Published weights that fit the network and are here; None where none are wanted, or after a problem was noted."""
    if not name or architecture is None:
        return None
    from midef.models.pretrained import misfits, weights_folder

    found = misfits(name, ARCHITECTURES.remake(architecture), resolution_px)
    problems += [f"{place}: {problem}" for problem in found]
    if found:
        return None
    choice = data.weights(name, architecture, weights_folder(), place)
    if choice is not None:
        data.place(published_recipe(choice, architecture, resolution_px), choice.name)
    return choice


def _lacking(component: Any) -> list[str]:
    """Files that the priors of an attack start from, and those of their priors, that are not here."""
    priors = [value for f in fields(component) if isinstance(value := getattr(component, f.name), Prior)]
    return [text for prior in priors for text in (*prior.lacking(), *_lacking(prior))]


def _word(label: str) -> str:
    return re.sub(r"[^\w.=-]+", "_", label).strip("_")


def _dataset(wanted: Wanted, place: str, data: _Datasets, problems: _Problems) -> tuple[Choice, Dataset] | None:
    if not wanted:
        problems.append(f"{place}: no data set given, and the profile has none; name one: image_folder with a path")
        return None
    return data.choose(wanted, place)


def _choose(registry: Any, wanted: Wanted, place: str, problems: _Problems) -> Choice | None:
    try:
        return cast(Choice, registry.choose(wanted))
    except SpecError as error:
        problems.take(place, error)
        return None


def _attack(wanted: Wanted, profile: Profile, place: str, problems: _Problems) -> Choice | None:
    """An attack with the profile's budget below what the person wrote, nested parameters merged."""
    try:
        name, preset, params = ATTACKS.parse(wanted)
        label = ATTACKS.choose({"name": name, **({"preset": preset} if preset else {}), **params}).label
        budget = {} if preset or profile.small is None else ATTACKS.get(name).small(profile.small)
        both = merged(budget, params)
        chosen = ATTACKS.choose({"name": name, **({"preset": preset} if preset else {}), **both})
        return Choice(chosen.name, chosen.params, chosen.version, label)
    except SpecError as error:
        problems.take(place, error)
        return None


def _check_private(dataset: Dataset, protocol: Protocol, place: str, problems: _Problems) -> None:
    if not dataset.is_labelled:
        problems.append(f"{place}: private data needs identities (labelled: true); this set has none")
        return
    count = dataset.n_identities()
    if protocol.identities > count:
        problems.append(
            f"{place}: the protocol attacks {protocol.identities} identities, the set has {count}; "
            f"set protocol.identities to at most {count}"
        )


def _check_pretraining(
    pretraining: tuple[Choice, Dataset], private: tuple[Choice, Dataset] | None, place: str, problems: _Problems
) -> None:
    """A backbone learns from labels, and not from private images."""
    if not pretraining[1].is_labelled:
        problems.append(f"{place}: pre-training needs identities (labelled: true); this set has none")
    if private is not None and pretraining[0] == private[0]:
        problems.append(f"{place}: pre-training and private data are the same set; give another one")
    elif private is not None and (shared := _shared(private[1], pretraining[1])):
        problems.append(f"{place}: {len(shared)} images or people are also private, for example {min(shared)}")


def _shared(one: Dataset, other: Dataset) -> frozenset[str]:
    """Images or people in both, as far as can be told without reading everything."""
    found = one.members() & other.members()
    if not found and type(one) is not type(other) and not (one.reads_content and other.reads_content):
        return one.file_ids() & other.file_ids()
    return found


def _check_disjoint(
    private: tuple[Choice, Dataset], public: tuple[Choice, Dataset], place: str, problems: _Problems
) -> None:
    """The attacker's public data must not hold private images."""
    shared = _shared(private[1], public[1])
    if private[0] == public[0]:
        problems.append(f"{place}: private and public data are the same set; the attacker must not have private images")
    elif shared:
        problems.append(
            f"{place}: {len(shared)} images or people are both private and public, for example {min(shared)}; "
            "remove them from the public set"
        )


def _check_networks(
    architecture: Choice, evaluator: Choice, resolution_px: int, protocol: Protocol, place: str, problems: _Problems
) -> None:
    target, judge = ARCHITECTURES.remake(architecture), ARCHITECTURES.remake(evaluator)
    # The papers judge IR targets at 64 px by an IR body at 112 px: another resolution, other weights, other features.
    if target.family == judge.family and protocol.evaluator_resolution_px == resolution_px:
        problems.append(
            f"{place}: the evaluator {evaluator.label} is of the target's family ({target.family}); an attack that "
            "overfits one network fools its sibling too: choose an evaluator of another family"
        )
    problems += [f"{place}.architecture: {p}" for p in target.problems(resolution_px)]
    problems += [f"{place}.evaluator: {p}" for p in judge.problems(protocol.evaluator_resolution_px)]


def _refusal(setup: Setup, defense: Choice, profile: Profile) -> str:
    """Why this defense cannot meet this setup, whatever the seed; "" if it can."""
    facts = ARCHITECTURES.remake(setup.architecture).facts()
    made = remake_defense(defense)
    pretrained = setup.pretraining is not None or setup.weights is not None
    reasons = made.problems(replace(facts, pretrained=pretrained))
    workers = profile.workers_for("target")
    if workers > 1 and any("training_state" in part.owned_slots() for part in made.parts()):
        reasons.append(f"it trains in one process, profile {profile.name} trains in {workers}")
    return "; ".join(reasons)


def _cell(entry: Entry, defense: Choice, seed: int, profile: Profile, refused: str, match: Match | None) -> PlannedCell:
    setup = entry.setup
    known: dict[str, Any] = {"setup": setup, "defense": defense, "seed": seed, "profile": profile.name, "match": match}
    if entry.refused:
        return PlannedCell(Cell(**known), None, refused)
    recipes = recipes_for_cell(
        setup,
        defense,
        seed,
        training=entry.training,
        evaluator_training=entry.evaluator_training,
        pretraining_training=entry.pretraining_training,
    )
    return PlannedCell(Cell(**known, scores=recipes.scores.key.digest), recipes, refused)
