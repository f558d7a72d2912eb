"""Judges: keras-self-attention 0.51 on TensorFlow; on every backend its arithmetic, restated in NumPy."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from zoo.layers import SeqSelfAttention, SeqWeightedAttention, convert_keras_self_attention_weights
from zoo.layers.query_blocks import in_query_blocks

DEPTH, UNITS = 7, 5
on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="keras-self-attention runs on TensorFlow alone"
)


def reference(x, valid, weights, width, history_only, activation, legacy):
    """keras-self-attention's numbers; not `legacy`, the softmax over allowed keys, one row at a time."""
    T = x.shape[1]
    if "Add_Wt" in weights:
        hidden = np.tanh(
            (x @ weights["Add_Wt"])[:, :, None] + (x @ weights["Add_Wx"])[:, None] + weights.get("Add_bh", 0)
        )
        e = (hidden @ weights["Add_Wa"])[..., 0] + weights.get("Add_ba", 0)
    else:
        e = x @ weights["Mul_Wa"] @ x.swapaxes(1, 2) + weights.get("Mul_ba", 0)
    e = activation(e)
    i, j = np.arange(T)[:, None], np.arange(T)
    width = 10**9 if width is None and history_only else width
    low = i - (width - 1 if history_only else width // 2) if width else i - T
    inside = np.broadcast_to((low <= j) & (j < low + width) if width else True, (T, T))
    valid = np.ones(x.shape[:2], bool) if valid is None else valid
    if legacy:
        e = e - 10000.0 * ~inside - 10000.0 * (~valid[:, :, None] & ~valid[:, None])
        a = np.exp(e - e.max(axis=2, keepdims=True))
        a /= a.sum(axis=2, keepdims=True)
    else:
        a = np.zeros_like(e)
        for b, q in np.ndindex(x.shape[:2]):
            seen = inside[q] & valid[b] & valid[b, q]
            if seen.any():
                a[b, q, seen] = np.exp(e[b, q, seen] - e[b, q, seen].max())
                a[b, q] /= a[b, q].sum()
    return a @ x, a


def sigmoid(e):
    return 1 / (1 + np.exp(-e))


def draw(batch, length, seed, masked=True):
    rng = np.random.default_rng(seed)
    x = 0.5 * rng.normal(size=(batch, length, DEPTH)).astype("float32")
    return x, np.arange(length) < rng.integers(1, length + 1, size=(batch, 1)) if masked else None


def made(seed=0, **arguments):
    """A layer whose weights, biases included, are drawn anew; and these by name."""
    layer = SeqSelfAttention(units=UNITS, name="mine", **arguments)
    layer.build((None, None, DEPTH))
    rng = np.random.default_rng(seed)
    layer.set_weights([0.5 * rng.normal(size=w.shape) for w in layer.weights])
    return layer, {w.name.removeprefix("mine_"): array(w.value).astype("float64") for w in layer.weights}


def array(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


# A width of 70 is too wide to go offset by offset; 2 and 4 are lopsided; 211 steps are cut into blocks.
@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["additive", "multiplicative"]),
    st.sampled_from([None, 1, 2, 3, 4, 13, 70, 1000]),
    st.booleans(),
    st.sampled_from([(3, 1), (2, 5), (3, 11), (2, 211)]),
    st.sampled_from([None, "sigmoid"]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 99),
)
def test_equals_the_reference(kind, width, history_only, size, activation, masked, legacy, seed):
    """Outputs and weights of all types, windows, masks and both maskings, at random shapes."""
    layer, weights = made(
        seed,
        attention_type=kind,
        attention_width=width,
        history_only=history_only,
        attention_activation=activation,
        legacy_masking=legacy,
    )
    x, valid = draw(*size, seed, masked)
    found = layer(x, mask=valid, return_attention_scores=True)
    f = sigmoid if activation else lambda e: e
    # Penalties of 10000 round float32 scores to 0.001, which shows in rows that are hidden everywhere.
    exact = x.astype("float64")
    expected = reference(exact, valid, weights, width, history_only, f, legacy)
    tolerance = 2e-3 if legacy and masked and (width or history_only) else 1e-5
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, array(other), atol=tolerance)


@on_tensorflow
@pytest.mark.parametrize("kind", ["additive", "multiplicative"])
@pytest.mark.parametrize("width", [None, 1, 2, 3, 4, 7, 70])
@pytest.mark.parametrize("history_only", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_is_the_package(kind, width, history_only, masked):
    """With copied weights the package's numbers to 1e-5, with either masking where nothing is masked."""
    from keras_self_attention import SeqSelfAttention as Theirs

    for length, activation, bias in [(11, None, True), (211, "sigmoid", True), (11, "tanh", False)]:
        arguments = {
            "units": UNITS,
            "attention_type": kind,
            "attention_width": width,
            "history_only": history_only,
            "attention_activation": activation,
            "use_additive_bias": bias,
            "use_attention_bias": bias,
            "return_attention": True,
            "kernel_initializer": keras.initializers.RandomNormal(stddev=0.5, seed=5),
            "bias_initializer": keras.initializers.RandomNormal(stddev=0.5, seed=7),
        }
        x, valid = draw(3, length, length, masked)
        theirs = Theirs(**arguments)
        expected = theirs(x, mask=valid)
        for legacy in [True] if masked else [True, False]:
            ours = SeqSelfAttention(legacy_masking=legacy, **arguments)
            ours.build(x.shape)
            convert_keras_self_attention_weights(theirs, ours)
            for one, other in zip(expected, ours(x, mask=valid), strict=True):
                np.testing.assert_allclose(one, other, atol=1e-5)


@on_tensorflow
@pytest.mark.parametrize("width", [None, 3])
def test_the_regulariser_is_the_package_s(width):
    """The loss that `attention_regularizer_weight` adds is the package's, padded or not."""
    from keras_self_attention import SeqSelfAttention as Theirs

    for masked in (False, True):
        x, valid = draw(3, 11, 1, masked)
        theirs = Theirs(attention_width=width, attention_regularizer_weight=0.3)
        ours = SeqSelfAttention(
            attention_width=width, attention_regularizer_weight=0.3, legacy_masking=masked
        )
        theirs(x, mask=valid)
        ours.build(x.shape)
        convert_keras_self_attention_weights(theirs, ours)
        ours(x, mask=valid)
        np.testing.assert_allclose(float(theirs.losses[0]), float(ours.losses[0]), rtol=1e-5)


@on_tensorflow
def test_a_whole_model_is_converted():
    """A trained model of the package's layers gives its numbers with ours, and its configs are ours too."""
    import keras_self_attention

    def model(layers, **legacy):
        i = keras.Input((None,))
        x = keras.layers.Embedding(13, DEPTH, mask_zero=True)(i)
        x = layers.SeqSelfAttention(units=UNITS, attention_width=3, name="attention", **legacy)(x)
        x = layers.ScaledDotProductAttention(history_only=True, **legacy)(x)
        x = layers.SeqWeightedAttention(**legacy)(x)
        return keras.Model(i, keras.layers.Dense(3)(x))

    import zoo.layers

    theirs, ours = model(keras_self_attention), model(zoo.layers, legacy_masking=True)
    ids = np.random.default_rng(3).integers(0, 13, size=(5, 11))
    theirs.compile("adam", "mse")
    theirs.fit(ids, np.ones((5, 3)), epochs=2, verbose=0)
    convert_keras_self_attention_weights(theirs, ours)
    expected = theirs.predict(ids, verbose=0)
    np.testing.assert_allclose(expected, ours.predict(ids, verbose=0), atol=1e-5)
    config = theirs.get_layer("attention").get_config()
    again = SeqSelfAttention.from_config(config).get_config()
    assert again == again | config


@pytest.mark.parametrize("width", [None, 4, 70])
@pytest.mark.parametrize("kind", ["additive", "multiplicative"])
def test_padding_has_no_weight(kind, width, gradients):
    """Padding gets exactly 0, a padded or fully masked row is zeros, and gradients are finite."""
    layer, _ = made(attention_type=kind, attention_width=width)
    x, valid = draw(3, 151, 2)
    valid[0] = False
    v, a = layer(x, mask=valid, return_attention_scores=True)
    hidden = ~(valid[:, :, None] & valid[:, None])
    np.testing.assert_array_equal(0, array(a)[hidden])
    np.testing.assert_array_equal(0, array(v)[~valid])
    np.testing.assert_allclose(1, array(a).sum(axis=2)[valid], atol=1e-5)
    found = gradients(lambda: ops.sum(layer(x, mask=valid) ** 2), layer)
    assert all(np.isfinite(g).all() for g in found)
    assert np.abs(found[0]).max() > 1e-4


def test_blocks_give_the_same_gradients(gradients, monkeypatch):
    """Cut into blocks, batch and queries, outputs and gradients are those of one piece."""
    layer, _ = made()
    x, valid = draw(3, 53, 5)

    def loss():
        v, a = layer(x, mask=valid, return_attention_scores=True)
        return ops.sum(v**2) + ops.sum(a**2)

    expected = gradients(loss, layer)
    small = lambda f, q, k, w, floats: in_query_blocks(f, q, k, w, floats, budget=4 * 7 * floats)  # noqa: E731
    monkeypatch.setattr("zoo.layers.seq_self_attention.in_query_blocks", small)
    for one, other in zip(expected, gradients(loss, layer), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("width", [None, 4, 70])
@pytest.mark.parametrize("kind", ["additive", "multiplicative"])
def test_compiled_saved_and_of_unknown_length(kind, width, compiled, tmp_path):
    """The compiler, a `.keras` file and a model of unknown batch and length change nothing."""
    layer, _ = made(attention_type=kind, attention_width=width, return_attention=True)
    x, valid = draw(3, 151, 2)
    x[~valid] = 0
    expected = layer(x, mask=valid)
    tensors = ops.convert_to_tensor(x), ops.convert_to_tensor(valid)
    i = keras.Input((None, DEPTH))
    model = keras.Model(i, layer(keras.layers.Masking()(i)))
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    results = [compiled(lambda x, m: layer(x, mask=m))(*tensors)]
    results += [m.predict(x, verbose=0) for m in (model, reloaded)]
    for found in results:
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_allclose(array(one), array(other), atol=1e-5)


@pytest.mark.parametrize("policy", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "arguments", [{}, {"attention_width": 4}, {"legacy_masking": True, "attention_width": 70}]
)
def test_half_precision(policy, arguments):
    """Results are in the policy's type and near those of float32."""
    full, _ = made(**arguments)
    half = SeqSelfAttention(units=UNITS, dtype=policy, **arguments)
    x, valid = draw(3, 151, 2)
    half.build(x.shape)
    half.set_weights([array(w.value) for w in full.weights])
    expected = full(x, mask=valid, return_attention_scores=True)
    found = half(x, mask=valid, return_attention_scores=True)
    for one, other in zip(expected, found, strict=True):
        assert keras.DTypePolicy(policy).compute_dtype == keras.backend.standardize_dtype(other.dtype)
        np.testing.assert_allclose(array(one), array(other), atol=0.06 if "bfloat16" in policy else 0.01)


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"units": 0}, "SeqSelfAttention got units=0; pass a whole number of at least 1."),
        (
            {"attention_width": 0},
            "SeqSelfAttention got attention_width=0; pass a whole number of at least 1.",
        ),
        (
            {"attention_type": "dot"},
            "SeqSelfAttention got attention_type='dot'; pass one of 'additive', 'multiplicative'.",
        ),
        *(
            (
                {"attention_regularizer_weight": weight},
                f"SeqSelfAttention got attention_regularizer_weight={weight!r}; pass 0 or more.",
            )
            for weight in ("x", -1)
        ),
    ],
)
def test_bad_arguments(arguments, sentence):
    """One sentence names the argument, its value and what to pass."""
    with pytest.raises(ValueError) as error:
        SeqSelfAttention(**arguments)
    assert sentence == str(error.value)


def test_bad_inputs():
    """One sentence gives the shapes found and wanted."""
    with pytest.raises(
        ValueError, match=r"input of shape \(2, 3\); pass one tensor of shape \(batch, length, d"
    ):
        SeqSelfAttention()(np.zeros((2, 3), "float32"))
    with pytest.raises(
        ValueError, match=r"mask of shape \(2, 5\) for an input of shape \(2, 3, 7\); pass one of"
    ):
        SeqSelfAttention()(np.zeros((2, 3, 7), "float32"), mask=np.ones((2, 5), bool))


def test_weights_that_do_not_fit():
    """A layer of other arguments is refused by name and shape, and keeps what it had."""
    with pytest.raises(ValueError, match=r"^convert_keras_self_attention_weights got 3; pass two built la"):
        convert_keras_self_attention_weights(3, 4)
    one, other = SeqSelfAttention(units=3, name="one"), SeqSelfAttention(units=5, name="other")
    for layer in (one, other):
        with pytest.raises(ValueError, match=f"^{layer.name} has no weights yet; call it on a batch first.$"):
            convert_keras_self_attention_weights(layer, layer)
        layer.build((None, None, DEPTH))
    sentence = (
        r"^one has a weight Add_Wt of shape \(7, 3\) where other has Add_Wt of shape \(7, 5\); pass layers"
    )
    before = other.get_weights()
    with pytest.raises(ValueError, match=sentence):
        convert_keras_self_attention_weights(one, other)
    for a, b in zip(before, other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    bare = SeqSelfAttention(units=3, use_additive_bias=False, name="bare")
    bare.build((None, None, DEPTH))
    with pytest.raises(
        ValueError, match="^one has 5 weights and bare has 4; pass layers of the same arguments.$"
    ):
        convert_keras_self_attention_weights(one, bare)


@on_tensorflow
def test_a_model_of_the_package_is_loaded(tmp_path):
    """What it saved comes back with our layers in the place of its own, and the same numbers."""
    package = pytest.importorskip("keras_self_attention")
    x = keras.Input((5, DEPTH))
    theirs = keras.Model(x, package.SeqWeightedAttention()(package.SeqSelfAttention(units=UNITS)(x)))
    theirs.save(tmp_path / "model.keras")
    objects = SeqSelfAttention.get_custom_objects() | SeqWeightedAttention.get_custom_objects()
    ours = keras.saving.load_model(tmp_path / "model.keras", custom_objects=objects)
    assert [SeqSelfAttention, SeqWeightedAttention] == [type(layer) for layer in ours.layers[1:]]
    series = np.random.default_rng(3).normal(size=(2, 5, DEPTH)).astype("float32")
    np.testing.assert_allclose(array(theirs(series)), array(ours(series)), atol=1e-6)
