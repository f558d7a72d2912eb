"""The README's Python, run as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("block", [block for block in BLOCKS if "load_model" not in block])
def test_a_block_runs_and_prints_what_it_says(block, tmp_path):
    """Each `print(...)  # expected` prints that."""
    done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True)
    assert 0 == done.returncode, done.stderr
    for expected in re.findall(r"print\(.*\) +# (.*)", block):
        assert expected in done.stdout
    if "logs/mine" in block:
        assert os.listdir(tmp_path / "logs" / "mine" / "attention")


def test_the_readme_has_python():
    """The blocks were found."""
    assert BLOCKS


def test_every_path_it_links_exists():
    """No dead link."""
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"(?:\]\(|src=\"|srcset=\")([^)\"#:]+)[)\"]", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
