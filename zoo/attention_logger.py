"""The Keras callback that shows in TensorBoard how attention changes while a model trains."""

import errno
import os
import re

import keras
import numpy as np

from zoo import summary
from zoo.attention_map import check_axis
from zoo.capture import attend

WHOLE = 4096  # queries or keys: of longer inputs no map exists but pooled to these


class AttentionLogger(keras.callbacks.Callback):
    """Write the attention of a fixed sample while the model trains.

    Steps are those of Keras' own `TensorBoard` callback (the first epoch is 0), or the optimizer's where
    `every` counts them; both go on after a resumed training.

    Args:
        logdir: the directory of the run; the maps go to `<logdir>/attention`.
        sample: a few inputs, as the model takes them `(batch, ...)`.
        every: "epoch", "5 epochs" or "200 steps".
        name: what the tab calls the sample.
        layers: the paths to log, as `zoo.attend` names them; all by default.
        queries, keys: the axes of the maps (`zoo.Axis`), with their labels, for the maps they fit.
        series: what the keys saw, `{name: (batch, keys)}`, drawn above the map on the keys' labels.
        target: what came, `(batch, queries)`, in the units of `series`.
        forecast: a function from the model's outputs to `(batch, queries)` in the units of `series`.
        pictures: what patches were cut from, images or `{"spectrogram": …}`, as `zoo.summary.attention` takes
            them.
        titles: what to call each input of the sample.
        resolution: longer maps are pooled to so many queries and keys before they are written; the statistics
            beside them are of the whole map, or of one pooled to 4,096 where the input is longer than that.
        exact: keep float32, where a byte on a square-root scale would do.
        images: also write plain image summaries, for readers without the plugin.

    Raises:
        ValueError: `every` is not understood, or, when training begins, the axes, series, pictures, titles or
            forecast do not fit the maps, or inputs × heads are more than 256.
        OSError: the log could not be written; the sentence says why, and nothing half-written is left.

    >>> import tempfile, keras, numpy as np, zoo
    >>> x = keras.Input((5, 3))
    >>> model = keras.Model(x, keras.layers.MultiHeadAttention(2, 7)(x, x))
    >>> model.compile("sgd", "mse")
    >>> data = np.ones((4, 5, 3), "float32")
    >>> with tempfile.TemporaryDirectory() as logs:
    ...     _ = model.fit(data, data, verbose=0, callbacks=[zoo.AttentionLogger(logs, data[:2])])
    """

    def __init__(
        self,
        logdir,
        sample,
        every="epoch",
        *,
        name="sample",
        layers=None,
        queries=None,
        keys=None,
        series=None,
        target=None,
        forecast=None,
        pictures=None,
        titles=None,
        resolution=512,
        exact=False,
        images=False,
    ):
        super().__init__()
        for side, axis in (("queries", queries), ("keys", keys)):
            if axis is not None:
                check_axis(side, axis)
        self.logdir, self.sample, self.name, self.layers = logdir, sample, name, layers
        self.queries, self.keys, self.forecast = queries, keys, forecast
        self.beside = {"series": series, "target": target, "pictures": pictures, "titles": titles}
        self.beside |= {"resolution": resolution, "exact": exact, "images": images}
        self.count, self.unit = _parsed(every)

    def on_train_begin(self, logs=None):
        """Fail before the first epoch and not after it, where the sample cannot be logged."""
        summary.encode(**self._seen())
        try:
            os.makedirs(self.logdir, exist_ok=True)
            if not os.access(self.logdir, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise OSError(
                f"Attention cannot be logged in {self.logdir} ({error.strerror}): choose a `logdir` that you "
                "may write to."
            ) from None

    def on_epoch_end(self, epoch, logs=None):
        """Log an epoch that is due."""
        if self.unit == "epoch" and epoch % self.count == 0:
            self._log(epoch)

    def on_train_batch_end(self, batch, logs=None):
        """Log a step that is due."""
        if self.unit == "step":
            step = int(self.model.optimizer.iterations)
            if step % self.count == 0:
                self._log(step)

    def on_train_end(self, logs=None):
        """Close the file."""
        summary.close(self.logdir)

    def _maps(self):
        if not self.model.built:  # a subclassed one, which training's first batch would build
            self.model(self.sample, training=False)
        outputs, maps = attend(self.model, self.sample, layers=self.layers, resolution=WHOLE)
        fitted = {
            layer: one.with_axes(
                queries=self.queries if self.queries and self.queries.length == one.queries.length else None,
                keys=self.keys if self.keys and self.keys.length == one.keys.length else None,
            )
            for layer, one in maps.items()
        }
        for side in ("queries", "keys"):
            axis = getattr(self, side)
            if axis and not any(getattr(one, side) is axis for one in fitted.values()):
                lengths = sorted({getattr(one, side).length for one in maps.values()})
                raise ValueError(
                    f"The {side} axis has the length {axis.length}; the maps' {side} have {lengths}."
                )
        return outputs, fitted

    def _seen(self):
        outputs, maps = self._maps()
        forecast = np.asarray(self.forecast(outputs)) if self.forecast else None
        return {"name": self.name, "maps": maps, "forecast": forecast, **self.beside}

    def _log(self, step):
        summary.attention(step=step, logdir=self.logdir, **self._seen())


def _parsed(every):
    """`(count, unit)` of "epoch", "5 epochs" or "200 steps"."""
    match = re.fullmatch(r"(?:([1-9]\d*) )?(epoch|step)s?", str(every))
    if not match:
        raise ValueError(f'`every` is "epoch", "5 epochs" or "200 steps"; found {every!r}.')
    return int(match[1] or 1), match[2]
