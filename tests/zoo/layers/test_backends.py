import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest

HERE = Path(__file__).parent


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="this run is on PyTorch already")
def test_the_layers_pass_on_pytorch():
    """The same references hold on Keras' PyTorch backend, in a process of its own."""
    files = [HERE / "test_bahdanau.py", HERE / "test_luong.py", HERE / "test_conformance.py"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, files)],
        env=os.environ | {"KERAS_BACKEND": "torch"},
        cwd=HERE.parents[2],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert 0 == run.returncode, run.stdout[-3000:] + run.stderr[-3000:]
    assert int(re.search(r"(\d+) passed", run.stdout)[1]) > 100
