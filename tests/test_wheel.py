"""What a user installs, in an empty environment outside the checkout."""

import json
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy: nothing is left in the checkout."""
    source = tmp_path_factory.mktemp("source") / "attention-zoo"
    left_out = shutil.ignore_patterns(".git", ".venv", "node_modules", "logs", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=left_out)
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, source)
    (path,) = folder.glob("attention_zoo-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The Python of an environment that holds the wheel and what it asks for."""
    environment = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", environment)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel)
    return python


def test_the_wheel_holds_zoo_and_the_plugin_and_nothing_else(wheel):
    """No `data` and no `training` that would shadow a user's own; the page and the licence are inside."""
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    assert {"zoo", "tb_plugin"} == {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert "tb_plugin/static/index.js" in names
    assert any(name.endswith("/LICENSE") for name in names)
    paths = [path.relative_to(ROOT) for room in ("zoo", "tb_plugin") for path in (ROOT / room).rglob("*.py")]
    sources = {path.as_posix() for path in paths if "node_modules" not in path.parts}
    assert sources == {name for name in names if name.endswith(".py")}


def test_zoo_is_imported_from_the_wheel_without_a_backend(installed, tmp_path):
    """No TensorFlow is installed there, and the map, the writer and the pictures work."""
    code = (
        "import zoo, numpy, sys\n"
        "seen = zoo.AttentionMap(numpy.ones((1, 1, 2, 3)) / 3)\n"
        "zoo.summary.attention('mine', seen, 0, logdir='logs', images=True)\n"
        "print(zoo.__file__, 'keras' in sys.modules)"
    )
    place, keras = run(installed, "-c", code, cwd=tmp_path).split()
    assert place.startswith(str(installed.parents[1]))
    assert "False" == keras
    assert "tensorflow" not in run(installed, "-m", "pip", "list").lower().split()


def test_tensorboard_there_lists_the_plugin_and_serves_its_page(installed, tmp_path, start_tensorboard):
    """The tab needs no Node and no TensorFlow."""
    with start_tensorboard(tmp_path, python=installed) as url:
        with urllib.request.urlopen(f"{url}/data/plugins_listing") as reply:
            listing = json.load(reply)["attention"]
        assert "Attention" == listing["tab_name"]
        path = listing["loading_mechanism"]["module_path"]
        with urllib.request.urlopen(f"{url}/data/plugin/attention/{path.rsplit('/', 1)[-1]}") as reply:
            page = reply.read()
    assert (ROOT / "tb_plugin" / "static" / "index.js").read_bytes() == page
