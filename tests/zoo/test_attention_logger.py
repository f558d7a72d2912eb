import os

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

import zoo
from tb_plugin import record

RNG = np.random.default_rng(0)
X = RNG.normal(size=(23, 7, 3)).astype("float32")
Y = RNG.normal(size=(23, 2)).astype("float32")


def forecaster():
    keras.utils.set_random_seed(0)
    model = zoo.models.lstm_forecaster(7, 3, 2, units=5)
    model.compile("adam", "mse")
    return model


def steps(logdir, tag="attention/sample/decoder"):
    """`[(step, blobs)]` of a tag, as TensorBoard's own reader finds them."""
    folder = logdir / "attention"
    events = [e for file in sorted(os.listdir(folder)) for e in EventFileLoader(str(folder / file)).Load()]
    return [(e.step, list(v.tensor.string_val)) for e in events for v in e.summary.value if v.tag == tag]


@pytest.mark.parametrize(
    ("every", "expected"),
    [("epoch", [0, 1, 2, 3]), ("2 epochs", [0, 2]), ("3 steps", [3, 6, 9, 12])],
)
def test_steps_are_those_that_were_asked_for(tmp_path, every, expected):
    """Epochs are counted as Keras' TensorBoard callback does, steps as the optimizer does."""
    logger = zoo.AttentionLogger(tmp_path, X[:2], every)
    forecaster().fit(X, Y, batch_size=8, epochs=4, verbose=0, callbacks=[logger])
    assert expected == [step for step, _ in steps(tmp_path)]


def test_last_map_is_that_of_the_trained_model(tmp_path):
    """What was logged last is what the model attends to after training, with the dates given to it."""
    days = [[f"2018-0{s + 1}-{d:02}" for d in range(1, 8)] for s in range(2)]
    logger = zoo.AttentionLogger(
        tmp_path,
        X[:2],
        keys=zoo.Axis("time", 7, labels=days),
        series={"price": X[:2, :, 0]},
        forecast=lambda outputs: 100 * outputs,
    )
    model = forecaster()
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[logger])
    outputs, maps = zoo.attend(model, X[:2])
    blobs = steps(tmp_path)[-1][1]
    header = record.decode_header(blobs[0])
    assert days == [list(labels) for labels in header["keys"]["labels"]]
    weights = maps["decoder"].weights[1, 0]
    back = record.decode_map(header, blobs, sample=1, head=0)
    np.testing.assert_allclose(weights, back, atol=weights.max() / 255 + 1e-6)
    inputs = record.decode_header(steps(tmp_path, "attention/sample/__inputs__")[-1][1][0])
    forecast = inputs["samples"][1]["series"][1]["values"]
    np.testing.assert_allclose(100 * outputs[1], forecast, rtol=1e-5)


def test_resolution_and_exact_reach_the_record(tmp_path):
    """Both are those of `zoo.summary.attention`."""
    logger = zoo.AttentionLogger(tmp_path, X[:2], resolution=5, exact=True)
    model = forecaster()
    model.fit(X, Y, epochs=1, verbose=0, callbacks=[logger])
    ((_, blobs),) = steps(tmp_path)
    header = record.decode_header(blobs[0])
    assert ([1, 2, 5], [2, 7], "exact") == (header["shape"], header["full"], header["scale"])
    expected = zoo.attend(model, X[:2])[1]["decoder"].pooled(5, 5).weights[1, 0]
    np.testing.assert_allclose(expected, record.decode_map(header, blobs, sample=1, head=0), rtol=1e-6)


def test_the_map_of_a_long_input_never_exists(tmp_path, monkeypatch):
    """What is captured is pooled already where an input is longer than the logger holds."""
    monkeypatch.setattr("zoo.attention_logger.WHOLE", 16)
    x = keras.Input((64, 3))
    model = keras.Model(x, keras.layers.MultiHeadAttention(1, 2, name="attend")(x, x))
    model.compile("sgd", "mse")
    data = RNG.normal(size=(2, 64, 3)).astype("float32")
    logger = zoo.AttentionLogger(tmp_path, data, resolution=8)
    assert (16, 16) == logger_maps(logger, model)["attend"].weights.shape[2:]
    model.fit(data, data, verbose=0, callbacks=[logger])
    header = record.decode_header(steps(tmp_path, "attention/sample/attend")[-1][1][0])
    assert ([1, 8, 8], [64, 64]) == (header["shape"], header["full"])


def logger_maps(logger, model):
    """What a logger sees of a model."""
    logger.set_model(model)
    return logger._seen()["maps"]


def test_a_resumed_training_goes_on_in_its_steps(tmp_path):
    """A second fit with `initial_epoch` adds the epochs that are left."""
    model = forecaster()
    for first, last in ((0, 2), (2, 4)):
        logger = zoo.AttentionLogger(tmp_path, X[:2])
        model.fit(X, Y, initial_epoch=first, epochs=last, verbose=0, callbacks=[logger])
    assert [0, 1, 2, 3] == sorted(step for step, _ in steps(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"every": "5 minutes"}, 'is "epoch", "5 epochs" or "200 steps"; found \'5 minutes\''),
        ({"keys": zoo.Axis("time", 6)}, r"The keys axis has the length 6; the maps' keys have \[7\]"),
        ({"series": {"price": X[:2, :5, 0]}}, r"'price' wants the shape \(2, 7\), found \(2, 5\)"),
        ({"layers": "encoder"}, "no attention at encoder, only at decoder"),
        ({"titles": ["one"]}, "2 samples want as many titles, found 1"),
        ({"forecast": lambda outputs: outputs[:1]}, r"'forecast' wants the shape \(2, 2\), found \(1, 2\)"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, arguments, sentence):
    """The mistake is named before anything is trained or written."""
    trained = []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: trained.append(batch))
    with pytest.raises(ValueError, match=sentence):
        forecaster().fit(
            X, Y, verbose=0, callbacks=[zoo.AttentionLogger(tmp_path, X[:2], **arguments), count]
        )
    assert not trained
    assert not (tmp_path / "attention").exists()


def test_a_subclassed_model_is_logged_from_its_first_epoch(tmp_path):
    """A model that has never been called, as most subclassed ones are when training begins."""

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.heads = keras.layers.MultiHeadAttention(2, 3, name="heads")
            self.readout = keras.layers.Dense(2)

        def call(self, x):
            return self.readout(self.heads(x, x)[:, -1])

    model = Model()
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0, callbacks=[zoo.AttentionLogger(tmp_path, X[:2])])
    assert [0] == [step for step, _ in steps(tmp_path, "attention/sample/heads")]


def test_a_log_directory_that_cannot_be_is_refused_before_training(tmp_path):
    """A file in the way is named before the first epoch."""
    (tmp_path / "file").write_text("")
    model, trained = forecaster(), []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: trained.append(batch))
    with pytest.raises(OSError, match="cannot be logged in .*file/logs .*choose a `logdir`"):
        model.fit(X, Y, verbose=0, callbacks=[zoo.AttentionLogger(tmp_path / "file" / "logs", X[:2]), count])
    assert not trained


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give up its rights"
)
def test_a_log_directory_without_rights_is_refused_before_training(tmp_path):
    """The folder, the cause and what to do are in one sentence."""
    os.chmod(tmp_path, 0o555)
    model = forecaster()
    os.seteuid(65534)
    try:
        with pytest.raises(OSError, match="cannot be logged in .*Permission denied.*choose a `logdir`"):
            model.fit(X, Y, verbose=0, callbacks=[zoo.AttentionLogger(tmp_path / "logs", X[:2])])
    finally:
        os.seteuid(0)
