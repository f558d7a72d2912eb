"""The table of rooms in docs/architecture.md, kept true."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BACKENDS = {"tensorflow", "jax", "torch"}

# What each room may import beside the standard library and itself: the longest matching room counts.
ROOMS = {
    "zoo": {"zoo", "keras", "numpy"},
    "zoo/plot": {"zoo", "numpy", "matplotlib"},
    "zoo/analysis": {"numpy"},
    "zoo/summary.py": {"zoo", "numpy", "tb_plugin"},
    "zoo/preprocess": {"zoo.errors", "numpy", "pandas"},
    "zoo/layers": {"zoo.layers", "keras"},
    "zoo/layers/query_blocks.py": {"zoo.layers", "keras", "tensorflow"},  # only its own map bounds memory
    "zoo/models": {"zoo.models", "zoo.layers", "keras"},
    "zoo/whole_file.py": set(),
    "zoo/capture": {"zoo.capture", "zoo.attention_map", "zoo.layers.query_blocks", "keras", "numpy"},
    "tb_plugin": {"tensorboard", "numpy", "google_crc32c", "werkzeug"},
    "data": {
        "zoo.errors",
        "zoo.whole_file",
        "zoo.preprocess",
        "numpy",
        "pandas",
        "matplotlib",
        "yfinance",
        "pyarrow",
    },
    "training": {"training", "data", "zoo", "numpy", "keras"},
}


def imported(path):
    """Names of the modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module
            if node.module in ("zoo", "data", "training", "tb_plugin"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(path):
    name = path.relative_to(ROOT).as_posix()
    return max((room for room in ROOMS if name == room or name.startswith(room + "/")), key=len)


SOURCES = sorted(
    path
    for top in ("zoo", "tb_plugin", "data", "training")
    for path in (ROOT / top).rglob("*.py")
    if "node_modules" not in path.parts
)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_imports_what_its_room_may(path):
    """Imports go one way."""
    room = room_of(path)
    allowed = ROOMS[room] | {room.split("/")[0] if room in ("tb_plugin", "data") else room.replace("/", ".")}
    for name in imported(path):
        if name.split(".")[0] in sys.stdlib_module_names or (name == "zoo" and room not in ("tb_plugin",)):
            continue
        assert any(name == one or name.startswith(one + ".") for one in allowed), f"{room} imports {name}"


@pytest.mark.parametrize("path", [*SOURCES, *sorted((ROOT / "tests").rglob("*.py"))], ids=str)
def test_no_file_is_long(path):
    """A file of more than 400 lines has two subjects."""
    assert 400 >= len(path.read_text().splitlines())


@pytest.mark.parametrize("module", ["zoo", "zoo.summary", "zoo.preprocess", "tb_plugin.plugin_loader"])
def test_importing_loads_no_backend(module):
    """`import zoo` is instant for everybody: no Keras, no backend, no pandas, no matplotlib."""
    code = f"import sys, {module}; print(sorted(set(sys.modules) & {BACKENDS | {'keras', 'matplotlib'}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "[]" == done.stdout.strip()


def test_the_root_module_names_what_it_has():
    """Every public name of `zoo` can be reached, and an unknown one is an error that lists them."""
    import zoo

    for name in zoo.__all__:
        assert getattr(zoo, name) is not None
    with pytest.raises(AttributeError, match="zoo has no 'nothing'; it has AttentionLogger"):
        zoo.nothing  # noqa: B018
