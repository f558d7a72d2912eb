"""Judge: the model itself, whose numbers TensorFlow and ONNX Runtime give from the exported files."""

import keras
import numpy as np
import pytest

from zoo import layers

if keras.backend.backend() != "tensorflow":
    pytest.skip("export is promised on TensorFlow", allow_module_level=True)

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("tf2onnx")


@pytest.fixture
def exported(case, draw, built):
    """A model of the layer, with its scores where it gives any, its inputs, and its outputs."""
    inputs, _ = draw(case, 0, "none")
    tensors = [keras.Input(batch_shape=(None, *shape[1:])) for shape in case.shapes]
    arguments = {"return_attention_scores": True} if case.scores else {}
    model = keras.Model(tensors, case.call(built(case), tensors, **arguments))
    expected = model(inputs)
    expected = list(expected) if isinstance(expected, (list, tuple)) else [expected]
    return model, inputs, [keras.ops.convert_to_numpy(x) for x in expected]


def test_saved_model(exported, tmp_path):
    """A SavedModel, loaded without the layer's code, gives the model's numbers."""
    import tensorflow as tf

    model, inputs, expected = exported
    model.export(tmp_path / "model", format="tf_saved_model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "model")
    found = loaded.serve(inputs)
    found = found if isinstance(found, (list, tuple)) else [found]
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5, verbose=False)


def test_onnx(exported, tmp_path):
    """An ONNX file, run by ONNX Runtime, gives the model's numbers."""
    model, inputs, expected = exported
    model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    found = session.run(None, dict(zip(names, inputs, strict=True)))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5, verbose=False)


@pytest.mark.parametrize(
    "make, count, lengths",
    [
        (lambda: layers.SeqSelfAttention(32), 1, (3, 1500)),
        (lambda: layers.SeqSelfAttention(7, attention_width=6), 1, (3, 33, 100)),
        (
            lambda: layers.SeqSelfAttention(attention_type="multiplicative", attention_width=6),
            1,
            (3, 33, 100),
        ),
        (lambda: layers.MultiHeadAttention(2, 3, sliding_window=5), 2, (3, 33, 100)),
        (lambda: layers.TransformerEncoder(7, 5, sliding_window=5), 1, (3, 33, 100)),
    ],
    ids=["seq-self", "seq-self-band", "seq-self-blocks", "multi-head-window", "transformer-encoder"],
)
@pytest.mark.parametrize("file", ["onnx", "tf_saved_model"])
def test_one_file_for_series_of_any_length(make, count, lengths, file, tmp_path):
    """Loops over blocks and windows are as long as the data ask, not as the export's example was."""
    import tensorflow as tf

    x, layer, rng = keras.Input((None, 5)), make(), np.random.default_rng(3)
    model = keras.Model(x, layer(*[x] * count))
    model(np.zeros((1, 2, 5), "float32"))
    model.export(tmp_path / "model", format=file, verbose=False)
    if file == "onnx":
        session = onnxruntime.InferenceSession(tmp_path / "model", providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
    else:
        loaded = tf.saved_model.load(tmp_path / "model")
    for length in lengths:
        series = rng.normal(size=(2, length, 5)).astype("float32")
        found = session.run(None, {name: series})[0] if file == "onnx" else loaded.serve(series)
        np.testing.assert_allclose(model(series), found, atol=1e-5)
