"""What a process that serves many nodes imports, and what it does again after each of them."""

from __future__ import annotations

import subprocess
import sys

import pytest


def answer(program: str) -> str:
    """What a fresh process prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


STAGES = """
import pkgutil, sys
from importlib import import_module
import midef.stages
from midef.sweep.execution.trial import run_node
for stage in pkgutil.iter_modules(midef.stages.__path__):
    import_module(f'midef.stages.{stage.name}')
"""
HEAVY = "{'ray', 'torchvision', 'torch._dynamo', 'scipy', 'pandas', 'PIL', 'optuna', 'plotly'}"


def test_stages_import_only_what_every_node_needs() -> None:
    """torchvision loads torch._dynamo, a second of processor time, as the first optimizer of torch does."""
    assert answer(f"{STAGES}print(sorted({HEAVY} & set(sys.modules)), 'torch' in sys.modules)") == "[] True"


@pytest.mark.parametrize("network", ["vgg16_tiny", "ir152_tiny", "facenet64_tiny"])
def test_a_network_without_blocks_of_torchvision_does_not_import_it(network: str) -> None:
    made = f"from midef.models import ARCHITECTURES\nARCHITECTURES.make('{network}').build(4, 32)\n"
    assert answer(f"{STAGES}{made}print(sorted({HEAVY} & set(sys.modules)))") == "[]"


COLLECTOR = """
import gc, sys, types, weakref
from midef.sweep.execution.trial import give_back_memory

class Loop:
    def __init__(self):
        self.itself = self

def imported(name):
    sys.modules[name] = types.ModuleType(name)

import torch
before = len(gc.get_objects())
give_back_memory()
print(before > 10 * len(gc.get_objects()))   # what is imported is passed over

garbage = weakref.ref(Loop())
give_back_memory()
print(garbage() is None)

kept = Loop()                                # alive when something is imported, so passed over from then on
later = weakref.ref(kept)
imported('first')
give_back_memory()
del kept
give_back_memory()
print(later() is None)
imported('second')
give_back_memory()
print(later() is None)
"""


def test_the_collector_looks_at_imports_once_and_loses_nothing() -> None:
    looks_at_little, finds_new, passed_over, finds_old = answer(COLLECTOR).split()
    assert looks_at_little == finds_new == finds_old == "True"
    assert passed_over == "False", "the case that the last look is for did not come up"
