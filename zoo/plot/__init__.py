"""Pictures of attention maps: a page of their own to open in any browser, and figures with matplotlib.

Every figure is a matplotlib `Figure`, drawn without pyplot, in colours that no colour blindness confounds.
"""

import io

from zoo.plot.lags import lag_profile
from zoo.plot.maps import heads, heatmap, overlay
from zoo.plot.page import html
from zoo.plot.tokens import bipartite, text

__all__ = ["bipartite", "heads", "heatmap", "html", "lag_profile", "overlay", "png", "text"]


def png(figure) -> bytes:
    """The figure as the bytes of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()
