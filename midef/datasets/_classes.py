"""Sets of a few classes in training and test files: which positions of the files go into which split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from midef.core.errors import DataError
from midef.datasets._split import share, shuffled

Drawn = dict[str, tuple[list[int], list[int]]]


def draw_classes(
    labels: Mapping[str, Sequence[int]],
    *,
    classes: Sequence[int],
    words: Sequence[str],
    labelled: bool,
    images_per_class: int | None,
    select_fraction: float,
    seed: int,
) -> Drawn:
    """Positions in the files and labels of train, select (both from the training files) and report (the test files).

    Args:
        labels: the class of each image of the training (`train`) and test (`report`) files.
        classes: those that are used; labels are positions in this list, or -1 without `labelled`.
        images_per_class: at most so many of each class from the training files, and as many from the test files.

    Raises:
        DataError: naming every class with fewer than 2 training images or no test image.
    """
    splits: Drawn = {"train": ([], []), "select": ([], []), "report": ([], [])}
    problems = []
    for position, wanted in enumerate(classes):
        own = {part: [i for i, c in enumerate(all_) if c == wanted] for part, all_ in labels.items()}
        if len(own["train"]) < 2 or not own["report"]:
            problems.append(
                f"class {words[wanted]!r} has {len(own['train'])} training and {len(own['report'])} test "
                "images, 2 and 1 needed; leave it out of classes"
            )
            continue
        for part, indices in own.items():
            own[part] = shuffled(indices, seed, words[wanted], part)[:images_per_class]
        n_select = share(len(own["train"]), select_fraction, leave=1)
        chosen = {"train": own["train"][n_select:], "select": own["train"][:n_select], "report": own["report"]}
        for split, indices in chosen.items():
            splits[split][0].extend(sorted(indices))
            splits[split][1].extend([position if labelled else -1] * len(indices))
    if problems:
        raise DataError("\n".join(problems))
    return splits
