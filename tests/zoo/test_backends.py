"""Judge: the same tests, on Keras' other backends, each in a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest

HERE = Path(__file__).parent
LAYERS = sorted((HERE / "layers").glob("test_*.py"))
SHARED = [path for path in LAYERS if path.name == "test_conformance.py"]
OWN = [path for path in LAYERS if path.name not in ("test_conformance.py", "test_export.py")]
GROUPS = {
    "shared": SHARED,
    "layers-a": OWN[::3],
    "layers-b": OWN[1::3],
    "layers-c": OWN[2::3],
    "capture": sorted((HERE / "capture").glob("test_*.py")),
}
# Compiling takes most of JAX's time, and the programs here are small.
QUICK = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"}


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_layers_and_capture_on_another_backend(backend, group):
    """The same references hold on JAX and on PyTorch."""
    assert "tensorflow" == keras.backend.backend()
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, GROUPS[group])],
        env=os.environ | {"KERAS_BACKEND": backend} | QUICK,
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert 0 == run.returncode, run.stdout[-3000:] + run.stderr[-3000:]
    assert int(re.search(r"(\d+) passed", run.stdout)[1]) > 50
