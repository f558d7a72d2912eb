import keras
import numpy as np
import pytest

from zoo.models import lstm_forecaster

WINDOW, FEATURES, HORIZON, UNITS, BATCH = 11, 3, 5, 7, 2
MODELS = {
    "bahdanau": {"attention": "bahdanau"},
    "luong-general-global": {"attention": "luong"},
    "luong-dot-local_monotonic": {
        "attention": "luong",
        "score": "dot",
        "alignment": "local_monotonic",
        "attention_window": 2,
    },
    "luong-concat-local_predictive": {
        "attention": "luong",
        "score": "concat",
        "alignment": "local_predictive",
        "attention_window": 3,
    },
    "none": {"attention": None},
}
ATTENTIVE = {name: arguments for name, arguments in MODELS.items() if arguments["attention"]}
each_model = pytest.mark.parametrize("arguments", MODELS.values(), ids=MODELS)
each_attentive = pytest.mark.parametrize("arguments", ATTENTIVE.values(), ids=ATTENTIVE)


@pytest.fixture(autouse=True)
def seed():
    """The same weights in every run."""
    keras.utils.set_random_seed(29)


@pytest.fixture
def days():
    return np.random.default_rng(0).normal(size=(BATCH, WINDOW, FEATURES)).astype("float32")


def forecast_and_scores(model, x):
    """What the decoder gives when it is asked for its weights."""
    decoder = model.get_layer("decoder")
    inputs = keras.Model(model.input, decoder.input)(x)
    return map(keras.ops.convert_to_numpy, decoder(inputs, return_attention_scores=True))


# --- The reference: one window at a time, in float64 ---


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, h, c, kernel, recurrent, bias):
    """One step of Hochreiter and Schmidhuber's cell with a forget gate; gates in Keras' order."""
    i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def softmax(e):
    return np.exp(e) / np.exp(e).sum()


def bahdanau(s, memory, w):
    a = softmax(np.array([w["v"] @ np.tanh(s @ w["W"] + m @ w["U"]) for m in memory]))
    return a @ memory, a


def luong(h, memory, w, t, score="general", alignment="global", attention_window=None):
    scores = {
        "dot": lambda m: h @ m,
        "general": lambda m: h @ w["W_a"] @ m,
        "concat": lambda m: w["v_a"] @ np.tanh(np.concatenate([h, m]) @ w["W_a"]),
    }
    p = t if alignment == "local_monotonic" else None
    if alignment == "local_predictive":
        p = len(memory) * sigmoid(w["v_p"] @ np.tanh(h @ w["W_p"]))
    seen = [s for s in range(len(memory)) if p is None or abs(s - p) <= attention_window]
    a = np.zeros(len(memory))
    a[seen] = softmax(np.array([scores[score](memory[s]) for s in seen]))
    if alignment == "local_predictive":
        a *= np.exp(-((np.arange(len(memory)) - p) ** 2) / (2 * (attention_window / 2) ** 2))
    return np.tanh(np.concatenate([a @ memory, h]) @ w["W_c"]), a


def exact(layer):
    return [w.astype("float64") for w in layer.get_weights()]


def reference(model, x, attention, **arguments):
    """The forecast and the weights `(horizon, window)` of one window."""
    decoder = model.get_layer("decoder")
    encoder_weights, cell_weights = exact(model.get_layer("encoder")), exact(decoder.cell)
    kernel, bias = exact(decoder.readout)
    h = c = np.zeros(UNITS)
    memory = []
    for day in x.astype("float64"):
        h, c = lstm(day, h, c, *encoder_weights)
        memory.append(h)
    memory = np.array(memory)
    y, attended = x[-1, :1].astype("float64"), np.zeros(UNITS)
    forecast, maps = [], []
    if attention:
        names = [w.name for w in decoder.attention.weights]
        w = dict(zip(names, exact(decoder.attention), strict=True))
    for t in range(HORIZON):
        a = None
        if attention == "luong":
            h, c = lstm(np.concatenate([y, attended]), h, c, *cell_weights)
            attended, a = luong(h, memory, w, t, **arguments)
            y = attended @ kernel + bias
        else:
            context, a = bahdanau(h, memory, w) if attention else (memory[-1], None)
            h, c = lstm(np.concatenate([y, context]), h, c, *cell_weights)
            y = np.concatenate([h, context]) @ kernel + bias
        forecast.append(y[0])
        maps.append(a)
    return forecast, maps


@each_model
def test_equals_the_reference(arguments, days):
    """The whole model, encoder to readout, is the papers' equations in NumPy."""
    model = lstm_forecaster(WINDOW, FEATURES, HORIZON, units=UNITS, **arguments)
    model.set_weights([np.random.default_rng(1).normal(scale=0.5, size=w.shape) for w in model.weights])
    forecast = model.predict(days, verbose=0)
    assert (BATCH, HORIZON) == forecast.shape
    for x, found in zip(days, forecast, strict=True):
        np.testing.assert_allclose(reference(model, x, **arguments)[0], found, atol=1e-5)


@each_attentive
def test_the_weights_equal_the_reference(arguments, days):
    """Asked for its weights, the decoder gives the same forecast and one map `(horizon, window)` a sample."""
    model = lstm_forecaster(WINDOW, FEATURES, HORIZON, units=UNITS, **arguments)
    model.set_weights([np.random.default_rng(2).normal(scale=0.5, size=w.shape) for w in model.weights])
    forecast, scores = forecast_and_scores(model, days)
    np.testing.assert_allclose(model.predict(days, verbose=0), forecast, atol=1e-6)
    assert (BATCH, 1, HORIZON, WINDOW) == scores.shape
    for x, found in zip(days, scores[:, 0], strict=True):
        np.testing.assert_allclose(reference(model, x, **arguments)[1], found, atol=1e-5)


@each_attentive
def test_normalised_rows_sum_to_one(arguments, days):
    """The decoder says whether its weights sum to 1 at every step, as its attention does."""
    model = lstm_forecaster(WINDOW, FEATURES, HORIZON, units=UNITS, **arguments)
    _, scores = forecast_and_scores(model, days)
    normalised = model.get_layer("decoder").normalised
    assert (arguments.get("alignment") != "local_predictive") == normalised
    assert normalised == np.allclose(1, scores.sum(axis=3), atol=1e-6)


def test_the_control_has_no_weights_to_give(days):
    """Without attention the decoder does not take `return_attention_scores`: nothing can be read from it."""
    model = lstm_forecaster(WINDOW, FEATURES, HORIZON, attention=None, units=UNITS)
    with pytest.raises(TypeError, match="return_attention_scores"):
        list(forecast_and_scores(model, days))


def test_attention_finds_a_planted_truth():
    """Step t of the target is feature 1 of day t: attention looks near it, the control falls behind."""
    x = np.random.default_rng(0).normal(size=(4099, WINDOW, 2)).astype("float32")
    y = x[:, :HORIZON, 1]
    losses = {}
    for attention in ("bahdanau", None):
        model = lstm_forecaster(WINDOW, 2, HORIZON, attention=attention, units=17)
        model.compile(keras.optimizers.Adam(1e-2), "mse")
        losses[attention] = model.fit(x, y, batch_size=127, epochs=17, verbose=0).history["loss"][-1]
        if attention:
            _, scores = forecast_and_scores(model, x[:257])
    # Over ten seeds the control's loss was 4 to 93 times the other, and 0.53 to 0.92 of the weight lay within
    # a day of day t (uniform weights: 0.25); not on it, as the encoder carries a value along for a while.
    assert losses["bahdanau"] < losses[None] / 2
    near = abs(np.arange(WINDOW) - np.arange(HORIZON)[:, None]) <= 1
    assert (scores[:, 0] * near).sum(axis=2).mean() > 0.4


@each_model
def test_any_number_of_days(arguments, days):
    """With `window=None` one model reads windows of any length, as the model of that length does."""
    fixed = lstm_forecaster(WINDOW, FEATURES, HORIZON, units=UNITS, **arguments)
    free = lstm_forecaster(None, FEATURES, HORIZON, units=UNITS, **arguments)
    free.set_weights(fixed.get_weights())
    np.testing.assert_allclose(fixed.predict(days, verbose=0), free.predict(days, verbose=0), atol=1e-6)
    assert (BATCH, HORIZON) == free.predict(days[:, :5], verbose=0).shape


@each_model
def test_save_and_reload(arguments, days, tmp_path):
    """A `.keras` file brings the model back, and a weights file its weights."""
    model = lstm_forecaster(WINDOW, FEATURES, HORIZON, units=UNITS, **arguments)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    fresh = lstm_forecaster(WINDOW, FEATURES, HORIZON, units=UNITS, **arguments)
    fresh.load_weights(tmp_path / "model.weights.h5")
    for other in (keras.saving.load_model(tmp_path / "model.keras"), fresh):
        np.testing.assert_array_equal(model.predict(days, verbose=0), other.predict(days, verbose=0))
    assert model.get_layer("decoder").get_config() == fresh.get_layer("decoder").get_config()


@each_model
def test_jit_trains_as_without(arguments, days):
    """A training step under `jit_compile=True` gives the weights of a step without it."""
    start = None
    after = []
    for jit in (True, False):
        model = lstm_forecaster(WINDOW, FEATURES, HORIZON, units=UNITS, **arguments)
        start = start or model.get_weights()
        model.set_weights(start)
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit)
        model.train_on_batch(days, np.ones((BATCH, HORIZON), "float32"))
        after.append(model.get_weights())
    for before, compiled, plain in zip(start, *after, strict=True):
        assert np.abs(plain - before).max() > 0
        np.testing.assert_allclose(compiled, plain, atol=1e-5)


def test_dropout_acts_in_training_only(days):
    """Dropout scatters the forecast in training and leaves inference alone."""
    model = lstm_forecaster(WINDOW, FEATURES, HORIZON, units=UNITS, dropout=0.5)
    plain = lstm_forecaster(WINDOW, FEATURES, HORIZON, units=UNITS)
    plain.set_weights(model.get_weights())
    numbers = keras.ops.convert_to_numpy
    np.testing.assert_array_equal(numbers(plain(days)), numbers(model(days)))
    assert np.abs(numbers(model(days, training=True)) - numbers(model(days))).max() > 1e-3


@each_model
def test_mixed_precision_is_near_float32(arguments, days):
    """The forecast under a half precision policy is near that of float32."""
    model = lstm_forecaster(WINDOW, FEATURES, HORIZON, units=UNITS, **arguments)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = lstm_forecaster(WINDOW, FEATURES, HORIZON, units=UNITS, **arguments)
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(model.get_weights())
    found = half.predict(days, verbose=0)
    assert "float16" == found.dtype
    np.testing.assert_allclose(model.predict(days, verbose=0), found, atol=0.01)


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"horizon": 0}, "lstm_forecaster got horizon=0; pass a whole number of at least 1."),
        ({"units": 0}, "lstm_forecaster got units=0; pass a whole number of at least 1."),
        ({"window": 0}, "lstm_forecaster got window=0; pass a whole number of at least 1."),
        ({"features": 2.5}, "lstm_forecaster got features=2.5; pass a whole number of at least 1."),
        (
            {"attention": "bert"},
            "lstm_forecaster got attention='bert'; pass one of 'bahdanau', 'luong', None.",
        ),
        (
            {"dropout": 1.0},
            "lstm_forecaster got dropout=1.0; pass a share from 0 up to, but not including, 1.",
        ),
        (
            {"score": "dot"},
            "lstm_forecaster got score='dot', alignment='global', attention_window=None with "
            "attention='bahdanau', which has none of them; omit them or pass attention='luong'.",
        ),
        (
            {"attention": "luong", "alignment": "local_monotonic"},
            "lstm_forecaster got attention_window=None; pass a whole number of at least 1.",
        ),
    ],
)
def test_bad_arguments(arguments, sentence):
    """Each mistake gets one sentence that names the value and what to pass."""
    with pytest.raises(ValueError) as error:
        lstm_forecaster(**({"window": WINDOW, "features": FEATURES, "horizon": HORIZON} | arguments))
    assert sentence == str(error.value)
