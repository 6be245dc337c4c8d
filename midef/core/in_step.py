"""Mark of functions that run in every step of a loop, and may not wait for the device there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Marked = TypeVar("Marked", bound=Callable[..., Any])


def in_step(function: Marked) -> Marked:
    """Mark a function, or a method with all that override it, as part of a step; it stays as it is.

    A step only launches work on the device. Whoever reads a number of it (`.item()`, `if` of a tensor, an index of a
    mask) or copies one there (`torch.tensor(...)`, `.to(device)`) stops the host until the device has caught up.
    `midef.testing.steps` finds such lines in marked functions and in what they call.
    """
    return function
