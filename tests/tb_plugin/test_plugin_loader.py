import argparse
import logging
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from tb_plugin import plugin_loader

HEAVY = ("tensorflow", "keras", "torch", "jax", "zoo", "pandas", "matplotlib")


def modules_after(statement):
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["record", "event_file", "plugin_loader", "server"])
def test_no_module_imports_a_framework(module):
    """A fresh process that imported one of our modules has no backend, and nothing of the zoo."""
    assert set() == modules_after(f"import tb_plugin.{module}").intersection(HEAVY)


def test_entry_point_module_imports_nothing_but_the_base_class():
    """What could fail to import is imported by `load`, where TensorBoard survives it."""
    base = modules_after("import tensorboard.plugins.base_plugin, logging")
    assert {"tb_plugin", "tb_plugin.plugin_loader"} == modules_after("import tb_plugin.plugin_loader") - base


def test_installation_registers_the_loader():
    """TensorBoard finds the loader by its entry point."""
    [registered] = entry_points(group="tensorboard_plugins", name="attention")
    assert registered.load() is plugin_loader.AttentionLoader


def test_all_steps_are_kept_unless_the_user_says_otherwise():
    """0 keeps every step; a number given on the command line stands."""
    silent = argparse.Namespace(samples_per_plugin={"images": 3})
    spoken = argparse.Namespace(samples_per_plugin={"attention": 7})
    plugin_loader.AttentionLoader().fix_flags(silent)
    plugin_loader.AttentionLoader().fix_flags(spoken)
    assert {"images": 3, "attention": 0} == silent.samples_per_plugin
    assert {"attention": 7} == spoken.samples_per_plugin


@pytest.mark.parametrize("missing", ["tb_plugin.server", "tensorboard.data.provider"])
def test_broken_dependency_is_logged_and_survived(missing, monkeypatch, caplog):
    """Where our server cannot be imported, TensorBoard starts without the tab and says why."""
    monkeypatch.delitem(sys.modules, "tb_plugin.server", raising=False)
    monkeypatch.delattr("tb_plugin.server", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with caplog.at_level(logging.WARNING, logger="tensorboard"):
        assert plugin_loader.AttentionLoader().load(None) is None
    assert "The Attention tab could not be loaded" in caplog.text
