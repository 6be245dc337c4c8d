"""What the questions of an audit cost, said before the first is asked."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from midef.attacks import ATTACKS, AccessLevel
from midef.audit.black_box import BlackBox
from midef.audit.budget import Asked, Cost, queries_of

if TYPE_CHECKING:
    from midef.audit.plan import Plan


def cost_of(plan: Plan, done: Collection[str] = ()) -> Cost | None:
    """Questions to the model, with their price and time; None of a model whose questions cost nothing.

    An image with a stored answer costs nothing, so this is the most.

    Args:
        done: digests of cells that are stored.
    """
    model = plan.model.network
    if not isinstance(model, BlackBox):
        return None
    public = 0 if plan.data.public_set is None else sum(plan.data.public_set.sizes().values())
    parts = {"accuracy on private images": Asked(plan.data.sizes[2])}
    shown = 0
    for planned in plan.cells:
        if planned.cell.digest in done:
            continue
        setup = planned.cell.setup
        attack, protocol = ATTACKS.remake(setup.attack), setup.protocol
        reconstructions = protocol.identities * protocol.images_per_identity
        parts[setup.attack.label] = queries_of(
            attack,
            reconstructions=reconstructions,
            identities=protocol.identities,
            n_classes=plan.model.given.classes,
            public_images=public,
        )
        if attack.access >= AccessLevel.SCORES:
            shown += reconstructions * (2 if attack.needs_observed_scores else 1)
    if shown:
        parts["scores of reconstructions"] = Asked(shown)
    return model.cost(parts)
