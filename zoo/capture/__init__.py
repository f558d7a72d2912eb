"""Reading the attention of Keras models without editing them.

`zoo.capture` is both this room and its context manager: `with zoo.capture(model) as seen: ...`.
"""

import sys
from types import ModuleType

from zoo.capture.attend import attend
from zoo.capture.context import Capture
from zoo.capture.families import register
from zoo.capture.maps import Maps

__all__ = ["Capture", "Maps", "attend", "register"]


class _Room(ModuleType):
    # `import zoo.capture` binds the module to `zoo.capture`, so the module itself answers the call.
    def __call__(self, model, **options):
        return Capture(model, **options)


sys.modules[__name__].__class__ = _Room
