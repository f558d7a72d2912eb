"""What every attention layer keeps to, whatever its equations: a new layer is a new entry in LAYERS."""

import keras
import numpy as np
import pytest

from zoo.layers import BahdanauAttention, LuongAttention

UNITS = 19
# A predicted window of 7 holds all keys: at an edge, finite differences and half precision see a jump.
LAYERS = {"bahdanau": lambda **k: BahdanauAttention(UNITS, **k)} | {
    f"luong-{score}-{alignment}": lambda score=score, alignment=alignment, window=window, **k: LuongAttention(
        UNITS, score, alignment, window, **k
    )
    for score in ("dot", "general", "concat")
    for alignment, window in (("global", None), ("local_monotonic", 2), ("local_predictive", 7))
}


@pytest.fixture(params=LAYERS)
def make(request):
    """A function that makes the layer."""
    return LAYERS[request.param]


@pytest.fixture
def draw(request, batch):
    """The inputs that fit the layer: "dot" wants one depth for queries and keys."""
    key_depth = 11 if "dot" in request.node.callspec.params["make"] else 13
    return lambda seed=0, masks="random": batch(seed, masks, key_depth)


def array(tensor):
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


def test_shapes(make, draw):
    """Output `(batch, queries, ·)`, scores `(batch, queries, keys)`, and no output changes by asking."""
    inputs, mask = draw()
    layer = make()
    output, scores = layer(inputs, mask=mask, return_attention_scores=True)
    assert (3, 5) == tuple(output.shape[:2])
    assert (3, 5, 7) == tuple(scores.shape)
    np.testing.assert_array_equal(array(layer(inputs, mask=mask)), array(output))


def test_masked_keys_get_exactly_nothing(make, draw):
    """Weights are zero at masked keys, and what stands there has no influence."""
    (query, value, key), (query_mask, value_mask) = draw()
    layer = make()
    output, scores = layer([query, value, key], mask=[query_mask, value_mask], return_attention_scores=True)
    np.testing.assert_array_equal(0, array(scores)[np.broadcast_to(~value_mask[:, None], scores.shape)])
    other = np.where(value_mask[:, :, None], 0, 1e3).astype("float32")
    changed = layer([query, value + other, key + other], mask=[query_mask, value_mask])
    np.testing.assert_array_equal(array(output), array(changed))


def test_masked_queries_are_zero(make, draw):
    """Output and weights of a masked query are zeros."""
    inputs, (query_mask, value_mask) = draw()
    output, scores = make()(inputs, mask=[query_mask, value_mask], return_attention_scores=True)
    assert not query_mask.all()
    np.testing.assert_array_equal(0, array(output)[~query_mask])
    np.testing.assert_array_equal(0, array(scores)[~query_mask])


def test_no_valid_key_is_a_zero_row(make, draw, gradients):
    """A query all of whose keys are masked has zero weights, a finite output and finite gradients."""
    inputs, (_, value_mask) = draw()
    assert not value_mask[0].any()
    layer = make()
    output, scores = layer(inputs, mask=[None, value_mask], return_attention_scores=True)
    np.testing.assert_array_equal(0, array(scores)[0])
    assert np.isfinite(array(output)).all()
    nothing = [None, np.zeros_like(value_mask)]
    for mask in ([None, value_mask], nothing):
        found = gradients(lambda mask=mask: keras.ops.sum(layer(inputs, mask=mask) ** 2), layer)
        assert all(np.isfinite(g).all() for g in found)


def test_integer_masks_are_boolean_masks(make, draw):
    """Masks of zeros and ones mean the same as booleans."""
    inputs, mask = draw()
    layer = make()
    numbers = layer(inputs, mask=[m.astype("int32") for m in mask])
    np.testing.assert_array_equal(array(layer(inputs, mask=mask)), array(numbers))


def test_a_mask_of_the_key_counts(make, draw):
    """A third mask, the key's, hides positions as the value's does."""
    inputs, (query_mask, value_mask) = draw()
    layer = make()
    expected = layer(inputs, mask=[query_mask, value_mask])
    np.testing.assert_array_equal(array(expected), array(layer(inputs, mask=[query_mask, None, value_mask])))


def test_gradients_are_those_of_finite_differences(make, draw, gradients):
    """Every weight has the gradient that moving it a little along it shows, and it is not zero."""
    inputs, mask = draw(1, "prefix")
    layer = make(dtype="float64")
    inputs = [keras.ops.cast(x, "float64") for x in inputs]
    # Keras computes float64 in float32 on the other backends, which a small step would drown in.
    step, tolerance = (1e-6, 1e-6) if keras.backend.backend() == "tensorflow" else (3e-3, 1e-2)

    def loss():
        output, scores = layer(inputs, mask=mask, return_attention_scores=True)
        return keras.ops.sum(output**2) + keras.ops.sum(scores**2)

    loss()
    for weight, gradient in zip(layer.weights, gradients(loss, layer), strict=True):
        length = np.linalg.norm(gradient)
        assert length > 1e-3
        start = keras.ops.convert_to_numpy(weight.value).copy()
        either = []
        for sign in (1, -1):
            weight.assign(start + sign * step * gradient / length)
            either.append(float(keras.ops.convert_to_numpy(loss())))
        weight.assign(start)
        np.testing.assert_allclose((either[0] - either[1]) / (2 * step), length, rtol=tolerance)


@pytest.mark.parametrize("policy", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
def test_half_precision_is_near_float32(make, draw, policy):
    """Under a half precision policy the results are in it, and near those of float32."""
    inputs, mask = draw(2)
    full, half = make(), make(dtype=policy)
    expected = full(inputs, mask=mask, return_attention_scores=True)
    half(inputs)
    half.set_weights([keras.ops.convert_to_numpy(w.value) for w in full.weights])
    found = half(inputs, mask=mask, return_attention_scores=True)
    for one, other in zip(expected, found, strict=True):
        assert keras.DTypePolicy(policy).compute_dtype == keras.backend.standardize_dtype(other.dtype)
        np.testing.assert_allclose(array(one), array(other), atol=0.08 if "bfloat16" in policy else 0.01)


def test_compiled_equals_eager(make, draw, compiled):
    """The backend's compiler changes nothing."""
    inputs, mask = draw(3)
    layer = make()
    tensors = [keras.ops.convert_to_tensor(x) for x in (*inputs, *mask)]
    eager = layer(inputs, mask=mask, return_attention_scores=True)
    f = compiled(lambda q, v, k, m, n: layer([q, v, k], mask=[m, n], return_attention_scores=True))
    for one, other in zip(eager, f(*tensors), strict=True):
        np.testing.assert_allclose(array(one), array(other), atol=1e-6)


def model_with(layer, key_depth):
    """A functional model of unknown batch and lengths, whose inputs carry masks: where all features are 0."""
    tensors = [keras.Input((None, depth)) for depth in (11, 17, key_depth)]
    masked = [keras.layers.Masking()(x) for x in tensors]
    return keras.Model(tensors, layer(masked, return_attention_scores=True))


def test_masks_that_inputs_carry(make, draw):
    """In a functional model of dynamic lengths, masks made by Masking act as masks passed by hand."""
    layer = make()
    for seed, masks, length in [(0, "random", 5), (1, "prefix", 5), (2, "suffix", 2)]:
        (query, value, key), (query_mask, value_mask) = draw(seed, masks)
        query, query_mask = query[:, :length], query_mask[:, :length]
        hidden = [query * query_mask[:, :, None], *(x * value_mask[:, :, None] for x in (value, key))]
        model = model_with(layer, key.shape[2])
        by_hand = layer([query, value, key], mask=[query_mask, value_mask], return_attention_scores=True)
        for one, other in zip(by_hand, model.predict(hidden, verbose=0), strict=True):
            np.testing.assert_allclose(array(one), other, atol=1e-6)


def test_masks_stay_with_their_tensors(make, draw):
    """A second layer on the same inputs still sees the mask, and the output carries the query's."""
    inputs, (query_mask, value_mask) = draw()
    masking = keras.layers.Masking()
    hidden = [x * m[:, :, None] for x, m in zip(inputs, (query_mask, value_mask, value_mask), strict=True)]
    masked = [masking(x) for x in hidden]
    layer = make()
    first, second = layer(masked), layer(masked)
    np.testing.assert_array_equal(array(first), array(second))
    np.testing.assert_array_equal(array(layer(inputs, mask=[query_mask, value_mask])), array(first))
    np.testing.assert_array_equal(query_mask, keras.ops.convert_to_numpy(first._keras_mask))


def test_save_and_reload(make, draw, tmp_path):
    """A `.keras` file brings the model back with its masks, and a weights file its weights."""
    (query, value, key), (query_mask, value_mask) = draw()
    hidden = [query * query_mask[:, :, None], *(x * value_mask[:, :, None] for x in (value, key))]
    model = model_with(make(), key.shape[2])
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    fresh = model_with(make(), key.shape[2])
    fresh.load_weights(tmp_path / "model.weights.h5")
    expected = model.predict(hidden, verbose=0)
    for other in (reloaded, fresh):
        for one, two in zip(expected, other.predict(hidden, verbose=0), strict=True):
            np.testing.assert_array_equal(one, two)


def test_config_round_trip(make):
    """The config alone makes the same layer again, its initializer included."""
    layer = make(kernel_initializer=keras.initializers.HeNormal(seed=5), name="mine")
    again = type(layer).from_config(layer.get_config())
    assert layer.get_config() == again.get_config()
    assert "HeNormal" == type(again.kernel_initializer).__name__


def test_symbolic_shapes_are_the_real_ones(make, draw):
    """What a functional model says of the shapes is what comes out."""
    inputs, _ = draw()
    layer = make()
    symbolic = layer([keras.Input(batch_shape=x.shape) for x in inputs], return_attention_scores=True)
    real = layer(inputs, return_attention_scores=True)
    assert [tuple(x.shape) for x in real] == [tuple(x.shape) for x in symbolic]


ROOM = "pass [query, value] or [query, value, key], each of shape (batch, length, depth)."


@pytest.mark.parametrize(
    "shapes, sentence",
    [
        ([(2, 3, 5)], f" got inputs of shapes (2, 3, 5); {ROOM}"),
        ([(2, 3, 5)] * 4, f" got inputs of shapes {', '.join(['(2, 3, 5)'] * 4)}; {ROOM}"),
        ([(2, 5), (2, 7, 5)], f" got inputs of shapes (2, 5), (2, 7, 5); {ROOM}"),
        (
            [(2, 3, 5), (11, 7, 5)],
            " got a query of shape (2, 3, 5) and a value of shape (11, 7, 5); pass inputs of one batch size.",
        ),
        (
            [(2, 3, 5), (2, 7, 5), (2, 11, 5)],
            " got a value of shape (2, 7, 5) and a key of shape (2, 11, 5); pass as many keys as values.",
        ),
    ],
)
def test_bad_shapes(make, shapes, sentence):
    """One sentence says which shapes came and which are wanted; on a later call Keras frames it."""
    layer = make()
    sentence = type(layer).__name__ + sentence
    with pytest.raises(ValueError) as error:
        layer([np.zeros(shape, "float32") for shape in shapes])
    assert sentence == str(error.value)
    layer([np.zeros((2, 3, 5), "float32"), np.zeros((2, 7, 5), "float32")])
    with pytest.raises(ValueError) as error:
        layer([np.zeros(shape, "float32") for shape in shapes])
    assert sentence in str(error.value)


def test_one_tensor_is_refused(make):
    """Self-attention is asked for as [x, x]."""
    layer = make()
    sentence = f"{type(layer).__name__} got one tensor where it wants a list; {ROOM}"
    with pytest.raises(ValueError) as error:
        layer(np.zeros((2, 3, 5), "float32"))
    assert sentence == str(error.value)
    layer([np.zeros((2, 3, 5), "float32"), np.zeros((2, 7, 5), "float32")])
    with pytest.raises(ValueError) as error:
        layer(np.zeros((2, 3, 5), "float32"))
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    "mask, sentence",
    [
        (np.ones((2, 3), bool), " got a mask that is not a list of two; pass mask=[query_mask, value_mask]."),
        (
            [None, np.ones((2, 3), bool)],
            " got a value mask of shape (2, 3) for a value of shape (2, 7, 5); pass one of shape (2, 7).",
        ),
        (
            [np.ones((2, 3, 7), bool), None],
            " got a query mask of shape (2, 3, 7) for a query of shape (2, 3, 5); pass one of shape (2, 3).",
        ),
    ],
)
def test_bad_masks(make, mask, sentence):
    """One sentence says which mask came and which is wanted."""
    layer = make()
    with pytest.raises(ValueError, match="mask") as error:
        layer([np.zeros((2, 3, 5), "float32"), np.zeros((2, 7, 5), "float32")], mask=mask)
    assert type(layer).__name__ + sentence in str(error.value)
