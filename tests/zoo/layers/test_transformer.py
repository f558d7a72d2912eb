"""Judges: keras-hub's TransformerEncoder and TransformerDecoder, and the paper's section 3.1 in NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from zoo.layers import MultiHeadAttention, TransformerDecoder, TransformerEncoder

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
X, MEMORY = (2, 5, 6), (2, 7, 6)


def array(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def draw(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype("float32") for shape in shapes]


def randomise(*layers):
    """Give these layers the same random weights: norms and biases too."""
    weights = draw(41, *(w.shape for w in layers[0].weights))
    for layer in layers:
        layer.set_weights(weights)
    return weights


def norm(x, gamma, beta):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * gamma + beta


def heads(x, memory, allowed, W_q, b_q, W_k, b_k, W_v, b_v, W_o, b_o):
    q, k, v = np.einsum("btm,mhd->bhtd", x, W_q), *(np.einsum("btm,mhd->bhtd", memory, W) for W in (W_k, W_v))
    q, k, v = q + b_q[:, None], k + b_k[:, None], v + b_v[:, None]
    e = np.where(allowed, q @ k.swapaxes(2, 3) / np.sqrt(q.shape[-1]), -np.inf)
    a = np.exp(e - e.max(-1, keepdims=True))
    a = a / a.sum(-1, keepdims=True)
    return np.einsum("bhtd,hdm->btm", a @ v, W_o) + b_o


@pytest.mark.parametrize("first", [False, True])
def test_the_paper(first):
    """A decoder with a memory is the three lines of section 3.1; normalised before, those of Xiong 2020."""
    x, memory = draw(0, X, (2, 7, 11))
    layer = TransformerDecoder(13, 2, normalize_first=first)
    layer(x, memory)
    w = [w.astype("float64") for w in randomise(layer)]
    mask = np.arange(7) < np.array([[5], [7]])

    def line(x, f, gamma, beta):
        return x + f(norm(x, gamma, beta)) if first else norm(x + f(x), gamma, beta)

    causal = np.tri(5, dtype=bool)
    y = line(x, lambda h: heads(h, h, causal, *w[:8]), *w[8:10])
    y = line(y, lambda h: heads(h, memory, mask[:, None, None], *w[10:18]), *w[18:20])
    y = line(y, lambda h: np.maximum(h @ w[20] + w[21], 0) @ w[22] + w[23], *w[24:])
    np.testing.assert_allclose(y, array(layer(x, memory, memory_mask=mask)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("first", [False, True])
def test_the_encoder_of_keras_hub(first):
    """With the weights of keras-hub's layer the outputs are its outputs, at every valid step."""
    hub = pytest.importorskip("keras_hub")
    (x,), mask = draw(1, X), np.arange(5) < np.array([[3], [5]])
    theirs = hub.layers.TransformerEncoder(11, 2, normalize_first=first, activation="gelu")
    ours = TransformerEncoder(11, 2, normalize_first=first, activation="gelu")
    theirs(x), ours(x)
    randomise(theirs, ours)
    expected = array(theirs(x, padding_mask=mask))[mask]
    np.testing.assert_allclose(expected, array(ours(x, mask=mask))[mask], **TOLERANCE)


@pytest.mark.parametrize("memory", [None, MEMORY])
@pytest.mark.parametrize("first", [False, True])
def test_the_decoder_of_keras_hub(first, memory):
    """With the weights of keras-hub's layer the outputs are its outputs, with and without a memory."""
    hub = pytest.importorskip("keras_hub")
    inputs = draw(2, *(shape for shape in (X, memory) if shape))
    theirs = hub.layers.TransformerDecoder(11, 2, normalize_first=first)
    ours = TransformerDecoder(11, 2, normalize_first=first)
    theirs(*inputs), ours(*inputs)
    randomise(theirs, ours)
    np.testing.assert_allclose(array(theirs(*inputs)), array(ours(*inputs)), **TOLERANCE)


@pytest.mark.parametrize("memory", [None, MEMORY])
@pytest.mark.parametrize(
    "kwargs", [{}, {"position": "rotary", "num_key_value_heads": 1, "sliding_window": 3}]
)
def test_decoding_step_by_step(memory, kwargs, compiled):
    """Steps through the cache give what one call of the whole sequence gives, also compiled."""
    x, *rest = draw(3, (2, 5, 8), *([MEMORY] if memory else []))
    layer = TransformerDecoder(11, 2, normalize_first=True, **kwargs)
    mask = np.arange(7) < np.array([[5], [7]])
    masks = {"memory_mask": mask} if memory else {}
    whole, *scores = layer(x, *rest, **masks, return_attention_scores=True)
    randomise(layer)
    whole, *scores = layer(x, *rest, **masks, return_attention_scores=True)
    assert [(2, 2, 5, 5), (2, 2, 5, 7)][: 1 + len(rest)] == [tuple(a.shape) for a in scores]
    cache = layer.empty_cache(2, 5, *rest, **masks)
    y, cache = layer(x[:, :2], cache=cache)
    found = [array(y)]

    def step(x, cache, t):
        return layer(x, cache=cache, cache_position=t, return_attention_scores=True)

    step = compiled(step) if keras.backend.backend() != "torch" else step  # minutes, there
    for t in range(2, 5):
        y, *a, cache = step(ops.convert_to_tensor(x[:, t : t + 1]), cache, ops.convert_to_tensor(t, "int32"))
        found.append(array(y))
        for one, other in zip(scores, a, strict=True):
            np.testing.assert_allclose(array(one)[:, :, t], array(other)[:, :, 0], **TOLERANCE)
    np.testing.assert_allclose(array(whole), np.concatenate(found, axis=1), **TOLERANCE)


def test_masks_of_the_inputs_are_read(tmp_path):
    """In a saved model of unknown lengths padding of either side has no weight; outputs carry the mask."""
    ids, memory_ids = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    embed = keras.layers.Embedding(11, 6, mask_zero=True)
    memory, encoded = TransformerEncoder(13, 2)(embed(memory_ids), return_attention_scores=True)
    y, a, c = TransformerDecoder(13, 2)(embed(ids), memory, return_attention_scores=True)
    model = keras.Model([ids, memory_ids], [y, encoded, a, c])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    inputs = [np.array([[1, 2, 0], [3, 4, 5]]), np.array([[7, 8, 0, 0, 0], [1, 2, 3, 4, 0]])]
    results = model.predict(inputs, verbose=0)
    for one, other in zip(results, again.predict(inputs, verbose=0), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    _, encoded, a, c = results
    np.testing.assert_array_equal(0, encoded[0, :, :, 2:])
    np.testing.assert_array_equal(0, encoded[0, :, 2:])
    np.testing.assert_array_equal(0, a[0, :, :, 2:])
    np.testing.assert_array_equal(0, c[0, :, :, 2:])
    np.testing.assert_allclose(1, c[1].sum(-1), rtol=1e-5)
    x = embed(inputs[0])
    np.testing.assert_array_equal(
        [[True, True, False], [True] * 3], ops.convert_to_numpy(TransformerEncoder(13, 2)(x)._keras_mask)
    )


@pytest.mark.parametrize("make", [TransformerEncoder, TransformerDecoder])
def test_config_and_sublayers(make):
    """The config alone makes the same block again, and its attention is found under its name."""
    kwargs = {"dropout": 0.1, "activation": "gelu", "position": "relative", "attention_dropout": 0.2}
    layer = make(11, 4, num_key_value_heads=2, normalize_first=True, sliding_window=3, **kwargs)
    again = make.from_config(layer.get_config())
    assert layer.get_config() == again.get_config()
    again.build((None, None, 8))
    assert isinstance(again.self_attention, MultiHeadAttention)
    found = again.self_attention
    assert (4, 2, 2, 0.2, "relative", 3) == (
        found.num_heads,
        found.num_key_value_heads,
        found.key_dim,
        found.dropout,
        found.position,
        found.sliding_window,
    )


def test_dropout_acts_in_training_alone():
    """Outputs differ between training steps and not in inference."""
    (x,) = draw(4, X)
    layer = TransformerEncoder(11, 2, dropout=0.5)
    np.testing.assert_array_equal(array(layer(x)), array(layer(x)))
    assert np.abs(array(layer(x, training=True)) - array(layer(x, training=True))).max() > 0.1


@pytest.mark.parametrize("make", [TransformerEncoder, TransformerDecoder])
def test_every_weight_has_a_gradient(make, gradients):
    """Also with a step that sees no key, where all gradients are finite."""
    x, memory = draw(5, X, MEMORY)
    inputs = (x, memory) if make is TransformerDecoder else (x,)
    layer = make(11, 2)
    layer(*inputs)
    randomise(layer)
    mask = np.arange(5) < np.array([[0], [4]])
    found = gradients(lambda: ops.sum(ops.abs(layer(*inputs, mask=mask))), layer)
    assert all(np.isfinite(g).all() for g in found)
    still = [w.path for w, g in zip(layer.weights, found, strict=True) if not np.abs(g).max() > 1e-6]
    assert all("key_bias" in path for path in still)  # which the softmax cancels


@pytest.mark.parametrize("policy", ["bfloat16", "mixed_float16"])
def test_half_precision_is_near_float32(policy):
    """Under a half precision policy the output is in it, and near that of float32."""
    x, memory = draw(6, X, MEMORY)
    full, half = TransformerDecoder(11, 2), TransformerDecoder(11, 2, dtype=policy)
    full(x, memory), half(x, memory)
    half.set_weights(full.get_weights())
    y = half(x, memory)
    assert keras.DTypePolicy(policy).compute_dtype == keras.backend.standardize_dtype(y.dtype)
    np.testing.assert_allclose(array(full(x, memory)), array(y), atol=0.1)


DIVIDES = "pass (batch, length, depth) with a depth that num_heads divides."
ANOTHER = "make another decoder for that."


def decoder(memory):
    layer = TransformerDecoder(11, 2)
    layer.build(X, memory)
    return layer


@pytest.mark.parametrize(
    "call, sentence",
    [
        (
            lambda x, m: TransformerEncoder(0, 2),
            "TransformerEncoder got intermediate_dim=0; pass a whole number",
        ),
        (
            lambda x, m: TransformerEncoder(11, 5)(x),
            f"TransformerEncoder got inputs of shape (2, 5, 6) with num_heads=5; {DIVIDES}",
        ),
        (
            lambda x, m: TransformerDecoder(11, 2)(x[0]),
            f"TransformerDecoder got inputs of shape (5, 6) with num_heads=2; {DIVIDES}",
        ),
        (
            lambda x, m: TransformerDecoder(11, 2)(x, m[0]),
            f"TransformerDecoder got a memory of shape {MEMORY[1:]}; pass one of shape (batch, keys, depth).",
        ),
        (
            lambda x, m: decoder(None)(x, m),
            f"TransformerDecoder was built without a memory and got called with one; {ANOTHER}",
        ),
        (
            lambda x, m: decoder(MEMORY)(x),
            f"TransformerDecoder was built with a memory and got called without one; {ANOTHER}",
        ),
        (
            lambda x, m: decoder(MEMORY)(x, m, cache=decoder(MEMORY).empty_cache(2, 5, m)),
            "TransformerDecoder got a memory beside a cache; pass it once, to "
            "empty_cache(batch, length, memory).",
        ),
        (
            lambda x, m: TransformerDecoder(11, 2).empty_cache(2, 5),
            "TransformerDecoder got asked for a cache before it was built; call it first, or build(x_shape, "
            "memory_shape).",
        ),
    ],
)
def test_one_sentence(call, sentence):
    """One sentence says what came and what is wanted."""
    with pytest.raises(ValueError) as error:
        call(*draw(7, X, MEMORY))
    assert sentence in str(error.value)
