"""Metadata is in setup.cfg; this builds the plugin's page into the wheel."""

import pathlib
import subprocess

from setuptools import setup
from setuptools.command.build_py import build_py

PLUGIN = pathlib.Path(__file__).parent / "tb_plugin"


class BuildWithPage(build_py):
    def run(self):
        if not self.editable_mode and not (PLUGIN / "static" / "index.js").exists():
            try:
                for command in (["npm", "ci"], ["npm", "run", "build"]):
                    subprocess.run(command, cwd=PLUGIN / "frontend", check=True)
            except (OSError, subprocess.CalledProcessError) as error:
                raise SystemExit(
                    f"The Attention tab's page is not built ({error}): install Node and type `make page`."
                ) from None
        super().run()


setup(cmdclass={"build_py": BuildWithPage})
