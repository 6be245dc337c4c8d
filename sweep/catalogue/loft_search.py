"""Is LoFt's protection a slow attack? The same target attacked for longer, from more starts, and before its tanh."""

from __future__ import annotations

from typing import Any

from midef.sweep.catalogue.smoke import SEARCH
from midef.sweep.spec.schema import ProtocolSpec, SetupSpec, SweepSpec

SEARCHES, RESTARTS = 3, 5
FACES: dict[str, Any] = {"name": "synthetic_faces", "identities": 40, "difficulty": 0.2}
PUBLIC: dict[str, Any] = {
    **{"name": "synthetic_faces", "population": "public", "identities": 200, "difficulty": 0.2},
    **{"train_images": 8, "select_images": 1, "report_images": 1},
}


def loft_search() -> SweepSpec:
    """Searches of 50 steps, of 500, the surest of 5 restarts, and on the code before the activation.

    The smoke setting with a third of its people and smaller batches; a target is trained once for all four. The long
    search is made once for each person, the first and the last three times. `midef analyse slow_search loft_search`
    compares what they find.
    """

    def setup(name: str, *, searches: int = SEARCHES, is_best: bool = False, **changes: Any) -> SetupSpec:
        protocol = ProtocolSpec(
            identities=FACES["identities"],
            images_per_identity=searches,
            counted="best_by_target" if is_best else "all",
        )
        return SetupSpec(id=name, attack=[{**SEARCH, **changes}], protocol=protocol)

    return SweepSpec(
        name="loft_search",
        profile="smoke",
        private=FACES,
        public=PUBLIC,
        setups=[
            setup("search"),
            setup("10 x steps", searches=1, iterations=10 * SEARCH["iterations"]),
            setup(f"surest of {RESTARTS}", searches=RESTARTS, is_best=True),
            setup("before activation", activation="skipped"),
        ],
        defenses=["none", "loft(rank=10)"],
        training={"epochs": 16, "batch_size": 32},
        evaluator_training={"epochs": 12, "batch_size": 32},
    )
