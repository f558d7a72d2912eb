"""How long imports take: best of five fresh processes, in turns with a Python that imports nothing.

python benchmarks/import_time.py
"""

import subprocess
import sys
import time

STATEMENTS = ("pass", "import numpy", "import zoo", "import zoo.summary", "import tb_plugin.plugin_loader")


def seconds(statement):
    """The wall time of a fresh process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - began


rounds = [[seconds(statement) for statement in STATEMENTS] for _ in range(5)]
best = [min(times) for times in zip(*rounds, strict=True)]
for statement, took in zip(STATEMENTS, best, strict=True):
    print(f"{statement:32} {took:6.3f} s   {took - best[0]:+6.3f} s over an idle Python")
