"""Judges: keras.layers.MultiHeadAttention and GroupQueryAttention, and the papers' equations in NumPy."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from zoo.layers import MultiHeadAttention

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def array(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def draw(rng, *shape):
    return rng.normal(size=shape).astype("float32")


def copied(ours, theirs, *inputs):
    """Both layers, built on these inputs, with the same random weights: biases too."""
    rng = np.random.default_rng(29)
    ours(*inputs), theirs(*inputs)
    weights = [draw(rng, *w.shape) / 2 for w in theirs.weights]
    ours.set_weights(weights), theirs.set_weights(weights)
    return ours, theirs


def softmax(e, allowed):
    """Rows that see nothing are zeros."""
    e = np.where(allowed, e, -np.inf)
    a = np.exp(e - np.maximum(e.max(-1, keepdims=True), -1e9))
    return a / np.maximum(a.sum(-1, keepdims=True), 1e-300)


def turned(x, positions):
    """RoFormer, equation 15: every pair of features is multiplied by its 2 x 2 rotation matrix."""
    x = x.copy()
    for m, p in enumerate(positions):
        for i in range(x.shape[-1] // 2):
            angle = p * 10000 ** (-2 * i / x.shape[-1])
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            x[:, m, :, 2 * i : 2 * i + 2] = x[:, m, :, 2 * i : 2 * i + 2] @ turn.T
    return x


def reference(layer, query, value, key, allowed):
    """Equation 1 of the paper for every head, in float64; `allowed` is `(batch, heads, queries, keys)`."""
    weights = [np.asarray(array(w.value), "float64") for w in layer.weights]
    (Wq, bq, Wk, bk, Wv, bv, Wo, bo), rest = weights[:8], weights[8:]
    q = np.einsum("btm,mhd->bthd", query, Wq) + bq
    k = np.einsum("bsm,mhd->bshd", key, Wk) + bk
    v = np.einsum("bsm,mhd->bshd", value, Wv) + bv
    if layer.position == "rotary":
        q, k = turned(q, range(q.shape[1])), turned(k, range(k.shape[1]))
    output = bo
    a = np.zeros((len(q), layer.num_heads, q.shape[1], k.shape[1]))
    for h in range(layer.num_heads):
        shared = h * layer.num_key_value_heads // layer.num_heads
        e = q[:, :, h] @ k[:, :, shared].transpose(0, 2, 1) / np.sqrt(layer.key_dim)
        if layer.position == "relative":
            # Nearer than 8 steps every distance has its own bucket: 0 to 7 before, 16 + 1 to 16 + 7 after.
            j, i = np.arange(k.shape[1]), np.arange(q.shape[1])[:, None]
            e = e + rest[0][np.where(j > i, 16 + j - i, i - j), h]
        a[:, h] = softmax(e, allowed[:, h])
        output = output + a[:, h] @ v[:, :, shared] @ Wo[h]
    return output, a


# JAX compiles every operation again for every shape.
EXAMPLES = 5 if keras.backend.backend() == "jax" else 40


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
@given(st.data())
def test_the_paper(data):
    """Output and weights of any shape, masks, groups, window and position are those of the equations."""
    small = st.integers(1, 4)
    batch, queries, keys = data.draw(small), data.draw(st.integers(1, 7)), data.draw(st.integers(1, 7))
    shared, groups, half, value_dim = (data.draw(small) for _ in range(4))
    window = data.draw(st.none() | st.integers(1, 7))
    causal = data.draw(st.booleans())
    position = data.draw(st.sampled_from([None, "relative", "rotary"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    query, value, key = draw(rng, batch, queries, 5), draw(rng, batch, keys, 3), draw(rng, batch, keys, 2)
    layer = MultiHeadAttention(
        shared * groups,
        2 * half,
        value_dim,
        num_key_value_heads=shared,
        position=position,
        sliding_window=window,
        bias_initializer="normal",
    )
    masks = {
        "query_mask": rng.random((batch, queries)) < 0.8,
        "value_mask": rng.random((batch, keys)) < 0.8,
        "key_mask": rng.random((batch, keys)) < 0.9,
        "attention_mask": rng.random((batch, shared * groups, queries, keys)) < 0.8,
    }
    masks = {name: mask for name, mask in masks.items() if data.draw(st.booleans())}
    allowed = masks.get("attention_mask", np.ones((batch, shared * groups, queries, keys), bool))
    if "query_mask" in masks:
        allowed = allowed & masks["query_mask"][:, None, :, None]
    for name in {"value_mask", "key_mask"} & set(masks):
        allowed = allowed & masks[name][:, None, None]
    i, j = np.arange(queries)[:, None], np.arange(keys)
    allowed = allowed & ((j <= i) | (not causal)) & (abs(i - j) < (window or 99))
    output, a = layer(query, value, key, **masks, use_causal_mask=causal, return_attention_scores=True)
    expected, weights = reference(layer, query, value, key, allowed)
    np.testing.assert_allclose(expected, array(output), **TOLERANCE)
    np.testing.assert_allclose(weights, array(a), **TOLERANCE)
    np.testing.assert_array_equal(0, array(a)[~allowed])
    alone = layer(query, value, key, **masks, use_causal_mask=causal)
    np.testing.assert_allclose(array(output), array(alone), atol=2e-6)


VARIANTS = [
    {},
    {"value_dim": 7},
    {"use_bias": False},
    {"output_shape": 11},
    {"output_shape": (2, 3)},
    {"dropout": 0.5},
    {"sliding_window": 2},
]


def call_variants(rng, batch, queries, keys):
    yield {}
    yield {"use_causal_mask": True}
    yield {"value_mask": np.arange(keys) < rng.integers(1, keys, (batch, 1))}
    for shape in ((batch, queries, keys), (batch, 1, queries, keys), (1, queries, keys), (queries, keys)):
        mask = rng.random(shape) < 0.6
        mask[..., 0] = (
            True  # where Keras' own numbers depend on whether scores are asked for, they are no judge
        )
        yield {"attention_mask": mask, "use_causal_mask": len(shape) == 3}


@pytest.mark.parametrize("kwargs", VARIANTS, ids=str)
def test_keras_multi_head_attention(kwargs):
    """With Keras' weights the numbers are Keras', output and weights."""
    if kwargs.get("value_dim") and keras.backend.backend() == "jax":
        pytest.skip("Keras fails there when value_dim differs from key_dim")
    rng = np.random.default_rng(1)
    query, value, key = draw(rng, 3, 5, 13), draw(rng, 3, 7, 17), draw(rng, 3, 7, 19)
    theirs = keras.layers.MultiHeadAttention(2, 3, **kwargs)
    ours, theirs = copied(MultiHeadAttention(2, 3, **kwargs), theirs, query, value, key)
    for call in call_variants(rng, 3, 5, 7):
        expected, weights = theirs(query, value, key, **call, return_attention_scores=True)
        output, a = ours(query, value, key, **call, return_attention_scores=True)
        np.testing.assert_allclose(array(expected), array(output), **TOLERANCE)
        np.testing.assert_allclose(array(weights), array(a), **TOLERANCE)
        if call.get("attention_mask", np.ones(1)).ndim != 2 and "sliding_window" not in kwargs:
            np.testing.assert_allclose(
                array(theirs(query, value, key, **call)), array(ours(query, value, key, **call)), **TOLERANCE
            )


@pytest.mark.parametrize("shared", [1, 2, 6])
def test_keras_grouped_query_attention(shared):
    """With the weights of Keras' GroupQueryAttention the numbers are its numbers."""
    rng = np.random.default_rng(2)
    query, value = draw(rng, 3, 5, 13), draw(rng, 3, 7, 13)
    theirs = keras.layers.GroupQueryAttention(5, 6, shared)
    ours, theirs = copied(MultiHeadAttention(6, 5, num_key_value_heads=shared), theirs, query, value)
    for call in call_variants(rng, 3, 5, 7):
        expected, weights = theirs(query, value, **call, return_attention_scores=True)
        output, a = ours(query, value, **call, return_attention_scores=True)
        np.testing.assert_allclose(array(expected), array(output), **TOLERANCE)
        np.testing.assert_allclose(array(weights), array(a), **TOLERANCE)


def test_a_query_without_keys(gradients):
    """Its weights are zeros, its output the bias asked for scores or not, its gradients finite."""
    rng = np.random.default_rng(7)
    x, mask = draw(rng, 2, 5, 7), rng.random((2, 5, 5)) < 0.5
    mask[0, 1], mask[1] = False, False
    layer = MultiHeadAttention(2, 3, bias_initializer="normal")
    output, a = layer(x, x, attention_mask=mask, return_attention_scores=True)
    bias = array(layer.weights[-1].value)
    for y in (output, layer(x, x, attention_mask=mask)):
        np.testing.assert_allclose(bias, array(y)[0, 1], atol=1e-7)
        np.testing.assert_allclose(np.broadcast_to(bias, (5, 7)), array(y)[1], atol=1e-7)
    np.testing.assert_array_equal(0, array(a)[1])
    for asked in (False, True):
        found = gradients(
            lambda asked=asked: ops.sum(
                ops.square(
                    layer(x, x, attention_mask=mask, return_attention_scores=asked)[0]
                    if asked
                    else layer(x, x, attention_mask=mask)
                )
            ),
            layer,
        )
        assert all(np.isfinite(g).all() for g in found)


def test_masks_of_the_inputs_are_read_and_left():
    """Two layers on one embedding both see its mask, eager and in a model, and the output carries it."""
    ids = np.array([[1, 2, 0, 0], [3, 1, 2, 5]])
    x = keras.layers.Embedding(7, 5, mask_zero=True)(ids)
    layer = MultiHeadAttention(2, 3)
    first, second = (layer(x, x, return_attention_scores=True) for _ in range(2))
    np.testing.assert_array_equal(array(first[1]), array(second[1]))
    np.testing.assert_array_equal(0, array(first[1])[0, :, :, 2:])
    np.testing.assert_array_equal(0, array(first[1])[0, :, 2:])
    np.testing.assert_array_equal(ids != 0, ops.convert_to_numpy(second[0]._keras_mask))
    inputs = keras.Input((None,), dtype="int32")
    embedded = keras.layers.Embedding(7, 5, mask_zero=True)(inputs)
    model = keras.Model(inputs, layer(embedded, embedded, return_attention_scores=True))
    a = model.predict(ids, verbose=0)[1]
    np.testing.assert_array_equal(0, a[0, :, :, 2:])
    np.testing.assert_array_equal(0, a[0, :, 2:])
    assert (a[0, :, :2, :2] > 0).all()


def test_an_explicit_query_mask_counts():
    """Keras overwrites it with the mask that the query carries; here it hides the query."""
    x = draw(np.random.default_rng(8), 2, 5, 7)
    mask = np.arange(5) < np.array([[3], [5]])
    _, a = MultiHeadAttention(2, 3)(x, x, query_mask=mask, return_attention_scores=True)
    np.testing.assert_array_equal(0, array(a)[0, :, 3:])
    np.testing.assert_allclose(1, array(a)[0, :, :3].sum(-1), rtol=1e-6)


@pytest.mark.parametrize("window", [None, 3])
def test_a_model_of_unknown_lengths(window, tmp_path):
    """Symbolic shapes tell queries from keys, and one saved model serves all lengths."""
    query, value = keras.Input((None, 5)), keras.Input((None, 7))
    layer = MultiHeadAttention(2, 4, position="rotary", sliding_window=window)
    output, a = layer(query, value, return_attention_scores=True)
    assert (None, None, 5) == tuple(output.shape)
    assert (None, 2, None, None) == tuple(a.shape)
    fixed = layer(keras.Input((3, 5)), keras.Input((11, 7)), return_attention_scores=True)[1]
    assert (None, 2, 3, 11) == tuple(fixed.shape)
    model = keras.Model([query, value], [output, a, layer(query, value)])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    rng = np.random.default_rng(9)
    for queries, keys in ((3, 5), (83, 79), (2, 101)):
        inputs = [draw(rng, 3, queries, 5), draw(rng, 3, keys, 7)]
        expected = layer(*inputs, return_attention_scores=True)
        found = again.predict(inputs, verbose=0)
        np.testing.assert_allclose(array(expected[1]), found[1], atol=1e-6)
        for one in (found[0], found[2]):
            np.testing.assert_allclose(array(expected[0]), one, atol=2e-6)


@pytest.mark.parametrize("window", [None, 3])
def test_compiled_equals_eager(window, compiled):
    """The backend's compiler changes nothing."""
    rng = np.random.default_rng(10)
    x, mask = ops.convert_to_tensor(draw(rng, 2, 79, 5)), ops.convert_to_tensor(rng.random((2, 79)) < 0.8)
    layer = MultiHeadAttention(2, 4, position="relative", sliding_window=window)
    expected = layer(x, x, value_mask=mask)
    f = compiled(lambda x, mask: layer(x, x, value_mask=mask))
    np.testing.assert_allclose(array(expected), array(f(x, mask)), atol=1e-6)


@pytest.mark.parametrize("policy", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "kwargs", [{}, {"position": "rotary"}, {"position": "relative"}, {"sliding_window": 3}]
)
def test_half_precision_is_near_float32(policy, kwargs):
    """Under a half precision policy the results are in it, and near those of float32."""
    rng = np.random.default_rng(11)
    x, mask = draw(rng, 2, 79, 5), rng.random((2, 79)) < 0.8
    full, half = MultiHeadAttention(2, 4, **kwargs), MultiHeadAttention(2, 4, **kwargs, dtype=policy)
    expected = full(x, x, value_mask=mask, return_attention_scores=True)
    half(x, x)
    half.set_weights(full.get_weights())
    found = half(x, x, value_mask=mask, return_attention_scores=True)
    for one, other in zip(expected, found, strict=True):
        assert keras.DTypePolicy(policy).compute_dtype == keras.backend.standardize_dtype(other.dtype)
        np.testing.assert_allclose(array(one), array(other), atol=0.08 if "bfloat16" in policy else 0.01)
    np.testing.assert_allclose(array(found[0]), array(half(x, x, value_mask=mask)), atol=0.03)


@pytest.mark.parametrize("window", [None, 3])
def test_dropout(window):
    """Weights are those before dropout; the output, in training alone, is made of what was left of them."""
    x = draw(np.random.default_rng(12), 2, 79, 5)
    layer = MultiHeadAttention(2, 4, dropout=0.5, seed=3, sliding_window=window)
    still, a = layer(x, x, return_attention_scores=True)
    moved, b = layer(x, x, return_attention_scores=True, training=True)
    np.testing.assert_array_equal(array(a), array(b))
    assert np.abs(array(still) - array(moved)).max() > 0.05
    twin = MultiHeadAttention(2, 4, dropout=0.5, seed=3, sliding_window=window)
    twin(x, x)
    twin.set_weights(layer.get_weights())
    np.testing.assert_array_equal(array(moved), array(twin(x, x, training=True)))
    many = np.mean([array(layer(x, x, training=True)) for _ in range(60)], axis=0)
    np.testing.assert_allclose(array(still), many, atol=0.5)


def test_regularisers_and_constraints_reach_the_projections():
    """Losses of the weights are Keras', and the constraint is on every kernel."""
    x = draw(np.random.default_rng(13), 2, 5, 7)
    kwargs = {"kernel_regularizer": "l2", "bias_regularizer": "l1", "kernel_constraint": "non_neg"}
    ours, theirs = copied(
        MultiHeadAttention(2, 3, **kwargs), keras.layers.MultiHeadAttention(2, 3, **kwargs), x, x
    )
    np.testing.assert_allclose([array(x) for x in theirs.losses], [array(x) for x in ours.losses], rtol=1e-6)
    assert 4 == sum(type(w.constraint).__name__ == "NonNeg" for w in ours.weights)


def test_config_round_trip():
    """The config alone makes the same layer again."""
    kwargs = {"output_shape": 5, "position": "rotary", "sliding_window": 3, "dropout": 0.1, "seed": 7}
    layer = MultiHeadAttention(4, 6, 2, num_key_value_heads=2, kernel_regularizer="l2", **kwargs)
    again = MultiHeadAttention.from_config(layer.get_config())
    assert layer.get_config() == again.get_config()
    assert (2, 2, 3, "rotary") == (
        again.value_dim,
        again.num_key_value_heads,
        again.sliding_window,
        again.position,
    )


@pytest.mark.parametrize(
    "kwargs, sentence",
    [
        ({"num_heads": 0}, "num_heads=0; pass a whole number of at least 1."),
        ({"key_dim": 0}, "key_dim=0; pass a whole number of at least 1."),
        ({"value_dim": 0}, "value_dim=0; pass a whole number of at least 1."),
        ({"sliding_window": 0}, "sliding_window=0; pass a whole number of at least 1."),
        ({"dropout": 1.5}, "dropout=1.5; pass a number from 0 to below 1."),
        ({"dropout": "x"}, "dropout='x'; pass a number from 0 to below 1."),
        ({"output_shape": 0}, "output_shape=0; pass a whole number of at least 1."),
        (
            {"num_key_value_heads": 2},
            "num_heads=3 and num_key_value_heads=2; pass a num_heads that is a multiple of "
            "num_key_value_heads.",
        ),
        ({"position": "learned"}, "position='learned'; pass one of None, 'relative', 'rotary'."),
        (
            {"position": "rotary"},
            "key_dim=5 with position='rotary', which turns pairs; pass an even key_dim.",
        ),
    ],
)
def test_bad_arguments(kwargs, sentence):
    """One sentence says which argument came and which is wanted."""
    with pytest.raises(ValueError) as error:
        MultiHeadAttention(**{"num_heads": 3, "key_dim": 5} | kwargs)
    assert f"MultiHeadAttention got {sentence}" == str(error.value)


ROOM = "pass query, value and key of shape (batch, length, depth)."


@pytest.mark.parametrize(
    "shapes, masks, sentence",
    [
        ([(2, 5), (2, 7, 5)], {}, f"inputs of shapes (2, 5), (2, 7, 5); {ROOM}"),
        ([(2, 3, 5, 7), (2, 7, 5)], {}, f"inputs of shapes (2, 3, 5, 7), (2, 7, 5); {ROOM}"),
        (
            [(2, 3, 5), (11, 7, 5)],
            {},
            "a query of shape (2, 3, 5) and a value of shape (11, 7, 5); pass inputs of one batch size.",
        ),
        (
            [(2, 3, 5), (2, 7, 5), (2, 11, 5)],
            {},
            "a value of shape (2, 7, 5) and a key of shape (2, 11, 5); pass as many keys as values.",
        ),
        (
            [(2, 3, 5), (2, 7, 5)],
            {"value_mask": (2, 3)},
            "a value_mask of shape (2, 3) for a value of shape (2, 7, 5); pass one of shape (2, 7).",
        ),
        (
            [(2, 3, 5), (2, 7, 5)],
            {"attention_mask": (2, 7, 3)},
            "an attention_mask of shape (2, 7, 3); pass one that fits (batch, queries, keys), (2, 3, 7), or "
            "with heads (2, 3, 3, 7).",
        ),
        (
            [(2, 3, 5), (2, 7, 5)],
            {"attention_mask": (7,)},
            "an attention_mask of shape (7,); pass one that fits (batch, queries, keys), (2, 3, 7), or "
            "with heads (2, 3, 3, 7).",
        ),
    ],
)
def test_bad_inputs(shapes, masks, sentence):
    """One sentence says which shapes came and which are wanted; in a call Keras frames it."""
    layer = MultiHeadAttention(3, 5)
    inputs = [np.zeros(shape, "float32") for shape in shapes]
    masks = {name: np.ones(shape, bool) for name, shape in masks.items()}
    with pytest.raises(ValueError) as error:
        layer(*inputs, **masks)
    assert f"MultiHeadAttention got {sentence}" in str(error.value)
