"""An encoder-decoder LSTM that forecasts a series and attends to the past afresh at every step."""

from abc import abstractmethod

import keras
from keras import ops

from zoo.layers import BahdanauAttention, LuongAttention
from zoo.layers.arguments import one_of, positive_integer

# --- Encoder ---


def encode(days, units):
    """The states of an LSTM, `(batch, window, units)`, and its last h and c, `(batch, units)` each."""
    return keras.layers.LSTM(units, return_sequences=True, return_state=True, name="encoder")(days)


# --- Decoder ---


class Decoder(keras.layers.Layer):
    """Unrolls `horizon` steps, each from the forecast of the one before; its children say what a step is.

    Call: `decoder([y_0, memory, h, c])` with the last observed value `(batch, 1)`, the encoder's states
    `(batch, window, units)` and its final state; returns the forecast `(batch, horizon)`.
    """

    def __init__(self, horizon: int, units: int, dropout: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.horizon, self.units, self.rate = horizon, units, dropout
        self.cell = keras.layers.LSTMCell(units, dtype=self.dtype_policy, name="cell")
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="dropout")
        self.readout = keras.layers.Dense(1, dtype=self.dtype_policy, name="readout")

    @abstractmethod
    def step(self, t, y, state, memory):
        """What y_t is read from, the next state, and the weights `(batch, 1, window)`."""

    def unroll(self, y, state, memory, training):
        """The forecast `(batch, horizon)`, and the weights of every step."""
        forecast, scores = [], []
        for t in range(self.horizon):
            features, state, a = self.step(t, y, state, memory)
            y = self.readout(self.dropout(features, training=training))
            forecast.append(y)
            scores.append(a)
        return ops.concatenate(forecast, axis=1), scores

    def get_config(self):
        """Return the arguments that make this layer again."""
        return super().get_config() | {"horizon": self.horizon, "units": self.units, "dropout": self.rate}


@keras.saving.register_keras_serializable(package="attention_zoo")
class BahdanauDecoder(Decoder):
    """The decoder attends with the state before the step (Bahdanau 2014, section 3.1, appendix A.2.2).

        c_t = attention(s_(t-1), memory)
        s_t = LSTM(s_(t-1), [y_(t-1); c_t])
        y_t = readout([s_t; c_t])

    `decoder([...], return_attention_scores=True)` also returns a, `(batch, 1, horizon, window)`: one head.
    https://arxiv.org/abs/1409.0473
    """

    def __init__(self, horizon: int, units: int, dropout: float = 0.0, **kwargs):
        super().__init__(horizon, units, dropout, **kwargs)
        self.attention = BahdanauAttention(units, dtype=self.dtype_policy, name="attention")

    @property
    def normalised(self) -> bool:
        """Whether the weights of a step sum to 1."""
        return self.attention.normalised

    def build(self, input_shape):
        """Build the parts for `[y_0, memory, h, c]` of these shapes."""
        batch, window, depth = input_shape[1]
        self.attention.build([(batch, 1, self.units), (batch, window, depth)])
        self.cell.build((batch, 1 + depth))
        self.readout.build((batch, self.units + depth))

    def call(self, inputs, return_attention_scores=False, training=None):
        """Return the forecast, and the weights if asked for."""
        y, memory, s, cell = inputs
        forecast, scores = self.unroll(y, (s, cell), memory, training)
        return (forecast, ops.stack(scores, axis=2)) if return_attention_scores else forecast

    def step(self, t, y, state, memory):
        """Attend, then step."""
        s, _ = state
        c, a = self.attention([s[:, None], memory], return_attention_scores=True)
        c = c[:, 0]
        s, state = self.cell(ops.concatenate([y, c], axis=-1), state)
        return ops.concatenate([s, c], axis=-1), state, a


@keras.saving.register_keras_serializable(package="attention_zoo")
class LuongDecoder(Decoder):
    """The decoder attends with the state after the step, and is fed what it read (Luong 2015, section 3.3).

        h_t = LSTM(h_(t-1), [y_(t-1); h̃_(t-1)])      h̃_0 = 0
        h̃_t = attention(h_t, memory)
        y_t = readout(h̃_t)

    With "local_monotonic" step t of the forecast looks at day t of the window, counted from its oldest day,
    as the t-th word of a translation looks at the t-th word.

    `decoder([...], return_attention_scores=True)` also returns a, `(batch, 1, horizon, window)`: one head.
    https://arxiv.org/abs/1508.04025
    """

    def __init__(
        self,
        horizon: int,
        units: int,
        dropout: float = 0.0,
        score: str = "general",
        alignment: str = "global",
        window: int | None = None,
        **kwargs,
    ):
        super().__init__(horizon, units, dropout, **kwargs)
        self.attention = LuongAttention(
            units, score, alignment, window, dtype=self.dtype_policy, name="attention"
        )

    @property
    def normalised(self) -> bool:
        """Whether the weights of a step sum to 1."""
        return self.attention.normalised

    def build(self, input_shape):
        """Build the parts for `[y_0, memory, h, c]` of these shapes."""
        batch, window, depth = input_shape[1]
        self.cell.build((batch, 1 + self.units))
        self.attention.build([(batch, 1, self.units), (batch, window, depth)])
        self.readout.build((batch, self.units))

    def call(self, inputs, return_attention_scores=False, training=None):
        """Return the forecast, and the weights if asked for."""
        y, memory, h, cell = inputs
        forecast, scores = self.unroll(y, ((h, cell), ops.zeros_like(h)), memory, training)
        return (forecast, ops.stack(scores, axis=2)) if return_attention_scores else forecast

    def step(self, t, y, state, memory):
        """Step, then attend."""
        lstm_state, attended = state
        h, lstm_state = self.cell(ops.concatenate([y, attended], axis=-1), lstm_state)
        attended, a = self.attention([h[:, None], memory], return_attention_scores=True, position=t)
        attended = attended[:, 0]
        return attended, (lstm_state, attended), a

    def get_config(self):
        """Return the arguments that make this layer again."""
        attention = self.attention
        return super().get_config() | {
            "score": attention.score,
            "alignment": attention.alignment,
            "window": attention.window,
        }


@keras.saving.register_keras_serializable(package="attention_zoo")
class FixedContextDecoder(Decoder):
    """The decoder reads one summary of the past at every step, the encoder's last output: the control.

        c   = memory at the last day
        s_t = LSTM(s_(t-1), [y_(t-1); c])
        y_t = readout([s_t; c])

    The encoder-decoder of Cho 2014, https://arxiv.org/abs/1406.1078, with LSTM cells: `BahdanauDecoder` with
    its attention taken out, and nothing else changed.
    """

    def build(self, input_shape):
        """Build the parts for `[y_0, memory, h, c]` of these shapes."""
        batch, _, depth = input_shape[1]
        self.cell.build((batch, 1 + depth))
        self.readout.build((batch, self.units + depth))

    def call(self, inputs, training=None):
        """Return the forecast."""
        y, memory, s, cell = inputs
        return self.unroll(y, (s, cell), memory, training)[0]

    def step(self, t, y, state, memory):
        """Step with the summary."""
        c = memory[:, -1]
        s, state = self.cell(ops.concatenate([y, c], axis=-1), state)
        return ops.concatenate([s, c], axis=-1), state, None


# --- Model ---


def lstm_forecaster(
    window: int | None,
    features: int,
    horizon: int,
    *,
    attention: str | None = "bahdanau",
    units: int = 32,
    score: str = "general",
    alignment: str = "global",
    attention_window: int | None = None,
    dropout: float = 0.0,
    name: str = "lstm_forecaster",
) -> keras.Model:
    """A model from the past `(batch, window, features)` to the next `(batch, horizon)` of its first feature.

    An LSTM encodes the window; a decoder starts from its final state and from the last observed target,
    `x[:, -1, :1]`, and forecasts step by step, each step from its own forecast of the step before. Inputs and
    forecast are in one unit, that of the (scaled) target.

    The model's layer "decoder" returns its weights, `(batch, 1, horizon, window)`, when it is called with
    `return_attention_scores=True`; `zoo.attend(model, x)` reads them.

    Args:
        window: days the model sees; None for any number.
        features: features of a day, the target first.
        horizon: steps to forecast.
        attention: "bahdanau" (`BahdanauDecoder`), "luong" (`LuongDecoder`), or None for the same model
            without attention (`FixedContextDecoder`).
        units: size of encoder, decoder and attention.
        score: "dot", "general" or "concat"; of "luong" only.
        alignment: "global", "local_monotonic" or "local_predictive"; of "luong" only.
        attention_window: D, days to each side of p_t that a local alignment sees; of "luong" only.
        dropout: share of what the decoder reads its forecast from that is dropped in training.
        name: the model's name.

    Raises:
        ValueError: a size below 1, a dropout outside [0, 1), an unknown attention, score or alignment, or one
            of "luong"'s arguments without "luong".

    >>> model = lstm_forecaster(window=11, features=3, horizon=5, attention="luong", units=7)
    >>> model.output_shape
    (None, 5)
    """
    owner = "lstm_forecaster"
    window = None if window is None else positive_integer(owner, "window", window)
    features = positive_integer(owner, "features", features)
    horizon = positive_integer(owner, "horizon", horizon)
    units = positive_integer(owner, "units", units)
    one_of(owner, "attention", attention, ("bahdanau", "luong", None))
    if not 0 <= dropout < 1:
        raise ValueError(f"{owner} got dropout={dropout!r}; pass a share from 0 up to, but not including, 1.")
    if attention != "luong" and (score, alignment, attention_window) != ("general", "global", None):
        raise ValueError(
            f"{owner} got score={score!r}, alignment={alignment!r}, attention_window={attention_window!r} "
            f"with attention={attention!r}, which has none of them; omit them or pass attention='luong'."
        )
    if attention == "luong" and alignment in ("local_monotonic", "local_predictive"):
        attention_window = positive_integer(owner, "attention_window", attention_window)

    days = keras.Input((window, features), name="days")
    memory, h, c = encode(days, units)
    arguments = {"horizon": horizon, "units": units, "dropout": dropout, "name": "decoder"}
    if attention == "bahdanau":
        decoder = BahdanauDecoder(**arguments)
    elif attention == "luong":
        decoder = LuongDecoder(**arguments, score=score, alignment=alignment, window=attention_window)
    else:
        decoder = FixedContextDecoder(**arguments)
    last_target = days[:, -1, :1]
    return keras.Model(days, decoder([last_target, memory, h, c]), name=name)
