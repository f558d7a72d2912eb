"""The table of all layers, and tools for their tests. Sizes are distinct primes: swapped axes cannot pass."""

from collections.abc import Callable
from typing import NamedTuple

import hypothesis
import keras
import numpy as np
import pytest

from zoo import layers

BATCH, QUERIES, KEYS = 3, 5, 7
QUERY_DEPTH, KEY_DEPTH, VALUE_DEPTH = 11, 13, 17
UNITS = 19

# JAX and PyTorch get fewer random shapes: JAX compiles every one.
on_tensorflow = keras.backend.backend() == "tensorflow"
hypothesis.settings.register_profile("layers", max_examples=20 if on_tensorflow else 5, deadline=None)
hypothesis.settings.load_profile("layers")


# --- How layers are called: call(layer, inputs, (query_mask, key_mask), **arguments) ---


def listed(layer, inputs, masks=(None, None), **arguments):
    """`layer([query, value, key], mask=[…])`."""
    given = any(mask is not None for mask in masks)
    return layer(inputs, mask=list(masks), **arguments) if given else layer(inputs, **arguments)


def apart(layer, inputs, masks=(None, None), **arguments):
    """`layer(query, value, query_mask=…, value_mask=…)`."""
    return layer(*inputs, query_mask=masks[0], value_mask=masks[1], **arguments)


def decoded(layer, inputs, masks=(None, None), **arguments):
    """`layer(sequences, memory, sequences_mask=…, memory_mask=…)`."""
    return layer(*inputs, sequences_mask=masks[0], memory_mask=masks[1], **arguments)


def remembering(layer, inputs, masks=(None, None), **arguments):
    """`layer(x, memory, mask=…, memory_mask=…)`."""
    return layer(*inputs, mask=masks[0], memory_mask=masks[1], **arguments)


def alone(layer, inputs, masks=(None, None), **arguments):
    """`layer(x, mask=…)`: every step of x is a query and a key."""
    return layer(inputs[0], **arguments) if masks[1] is None else layer(inputs[0], mask=masks[1], **arguments)


class Case(NamedTuple):
    """What the tests of all layers need to know of one."""

    make: Callable  # of the arguments that every layer has, and kernel_initializer where there is one
    call: Callable
    shapes: tuple  # of its inputs
    masked: tuple = ()  # for each input "queries" or "keys": which mask hides its steps; () for no masks
    scores: bool = True  # whether it takes return_attention_scores
    zeros: bool = True  # whether the output of a masked query is zero
    flat: tuple = ()  # ends of the paths of weights that change nothing: a bias that a softmax takes out
    draws: bool = False  # whether training draws at random; its gradient is no finite difference
    fixed: bool = False  # whether lengths must be known before the call
    initializer: bool = True  # whether it takes kernel_initializer
    compiled: bool = True

    @property
    def one_mask(self):
        """Whether queries and keys are the same steps, with one mask."""
        return self.masked == ("keys",)


QUERY, VALUE, KEY = (BATCH, QUERIES, QUERY_DEPTH), (BATCH, KEYS, VALUE_DEPTH), (BATCH, KEYS, KEY_DEPTH)
IMAGE = (BATCH, 5, 7, 6)
TRIPLE = {"call": listed, "shapes": (QUERY, VALUE, KEY), "masked": ("queries", "keys", "keys")}
DECODED = {"call": decoded, "shapes": (QUERY, VALUE), "masked": ("queries", "keys"), "initializer": False}
PLAIN = {"call": alone, "shapes": (IMAGE,)}


APART = {
    "shapes": (QUERY, VALUE),
    "masked": ("queries", "keys"),
    "zeros": False,
    "flat": ("key_bias", "key/bias"),
}
ALONE = {"call": alone, "shapes": ((BATCH, KEYS, 6),)}
SERIES = ALONE | {"masked": ("keys",)}


def luong(score, alignment, window):
    """A case of `LuongAttention`; "dot" wants one depth for queries and keys."""
    key = (BATCH, KEYS, QUERY_DEPTH) if score == "dot" else KEY
    return Case(
        lambda **k: layers.LuongAttention(UNITS, score, alignment, window, **k),
        **TRIPLE | {"shapes": (QUERY, VALUE, key)},
    )


def decoder(cell, attention, **arguments):
    """A case of `AttentionDecoder`, its parts all of one dtype."""

    def make(**k):
        dtype = {"dtype": k["dtype"]} if "dtype" in k else {}
        # TensorFlow draws no orthogonal matrix in bfloat16.
        parts = cell(UNITS, recurrent_initializer="glorot_uniform", **dtype), attention(UNITS, **dtype)
        return layers.AttentionDecoder(layers.AttentionDecoderCell(*parts, **arguments, **dtype), **k)

    return Case(make, **DECODED)


LUONG_ELSEWHERE = (("general", "global"), ("dot", "local_monotonic"), ("concat", "local_predictive"))
# A predicted window of 7 holds all keys: at an edge, finite differences and half precision see a jump.
CASES = {
    "bahdanau": Case(lambda **k: layers.BahdanauAttention(UNITS, **k), **TRIPLE),
    "hard": Case(lambda **k: layers.HardAttention(UNITS, seed=29, **k), **TRIPLE, draws=True),
    **{
        f"luong-{score}-{alignment}": luong(score, alignment, window)
        for score in ("general", "dot", "concat")
        for alignment, window in (("global", None), ("local_monotonic", 2), ("local_predictive", 7))
        if on_tensorflow or (score, alignment) in LUONG_ELSEWHERE
    },
    "decoder-before": decoder(keras.layers.LSTMCell, layers.BahdanauAttention),
    "decoder-after": decoder(keras.layers.GRUCell, layers.LuongAttention, attend="after"),
    "multi-head": Case(lambda **k: layers.MultiHeadAttention(2, 3, **k), apart, **APART),
    "multi-head-window": Case(
        lambda **k: layers.MultiHeadAttention(
            6, 4, num_key_value_heads=2, position="rotary", sliding_window=3, **k
        ),
        apart,
        **APART | {"flat": ()},
    ),
    "multi-head-relative": Case(
        lambda **k: layers.MultiHeadAttention(2, 3, position="relative", **k), apart, **APART
    ),
    "transformer-encoder": Case(
        lambda **k: layers.TransformerEncoder(UNITS, 2, activation="tanh", **k),
        **SERIES,
        zeros=False,
        flat=("key_bias", "key/bias"),
    ),
    "transformer-decoder": Case(
        lambda **k: layers.TransformerDecoder(UNITS, 2, activation="tanh", **k),
        remembering,
        **APART | {"shapes": ((BATCH, QUERIES, 6), VALUE)},
    ),
    "seq-self": Case(lambda **k: layers.SeqSelfAttention(UNITS, **k), **SERIES, flat=("_ba",)),
    "seq-self-window": Case(
        lambda **k: layers.SeqSelfAttention(UNITS, attention_width=3, **k), **SERIES, flat=("_ba",)
    ),
    "seq-self-multiplicative": Case(
        lambda **k: layers.SeqSelfAttention(attention_type="multiplicative", history_only=True, **k),
        **SERIES,
        flat=("_ba",),
    ),
    "seq-weighted": Case(
        lambda **k: layers.SeqWeightedAttention(**k), **SERIES, zeros=False, flat=("_b",), initializer=False
    ),
    "scaled-dot-product": Case(
        lambda **k: layers.ScaledDotProductAttention(**k), **SERIES, initializer=False
    ),
    "sinusoidal": Case(lambda **k: layers.SinusoidalPositions(**k), **ALONE, scores=False, initializer=False),
    "learned": Case(lambda **k: layers.LearnedPositions(11, **k), **ALONE, scores=False, initializer=False),
    "show-attend-tell": Case(
        lambda **k: layers.ShowAttendTell(UNITS, **k), listed, (QUERY, (BATCH, 2, 3, 13)), ("queries", None)
    ),
    "channel": Case(lambda **k: layers.ChannelAttention(2, **k), **PLAIN),
    "spatial": Case(lambda **k: layers.SpatialAttention(3, **k), **PLAIN),
    "cbam": Case(lambda **k: layers.CBAM(2, 3, **k), **PLAIN, scores=False),
    "squeeze-excite": Case(lambda **k: layers.SqueezeExcite(2, **k), **PLAIN),
    "non-local": Case(lambda **k: layers.NonLocalBlock(11, **k), **PLAIN),
    "non-local-dot": Case(lambda **k: layers.NonLocalBlock(11, "dot_product", **k), **PLAIN),
    "patches": Case(
        lambda **k: layers.PatchSelfAttention(14, 2, patch_size=2, **k),
        **PLAIN | {"shapes": ((BATCH, 4, 6, 5),)},
        flat=("key_bias", "key/bias"),
        fixed=True,
    ),
    "patches-anywhere": Case(
        lambda **k: layers.PatchSelfAttention(14, 2, positions=False, **k),
        **PLAIN,
        flat=("key_bias", "key/bias"),
    ),
}


def pytest_generate_tests(metafunc):
    """`case` is every layer; `triple`, every layer of [query, value, key]."""
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", CASES.values(), ids=CASES)
    if "triple" in metafunc.fixturenames:
        triples = {name: case for name, case in CASES.items() if case.masked == TRIPLE["masked"]}
        metafunc.parametrize("triple", triples.values(), ids=triples)


@pytest.fixture
def cases():
    """The table."""
    return CASES


# --- Inputs ---


@pytest.fixture(autouse=True)
def seed():
    """The same weights in every run: at the edge of a local window the smallest difference is a jump."""
    keras.utils.set_random_seed(23)


def some_masks(rng, masks, queries=QUERIES, keys=KEYS):
    """Masks of queries and keys; "random" ones hide all keys of the first sample."""
    if masks == "random":
        query_mask, value_mask = rng.random((BATCH, queries)) < 0.6, rng.random((BATCH, keys)) < 0.6
        value_mask[0] = False
        return query_mask, value_mask
    query_mask = np.arange(queries) < rng.integers(1, queries + 1, size=(BATCH, 1))
    value_mask = np.arange(keys) < rng.integers(1, keys + 1, size=(BATCH, 1))
    return (query_mask[:, ::-1], value_mask[:, ::-1]) if masks == "suffix" else (query_mask, value_mask)


@pytest.fixture
def batch():
    """`batch(seed, masks)` draws `([query, value, key], [query_mask, value_mask])`."""

    def draw(seed, masks="random", key_depth=KEY_DEPTH):
        rng = np.random.default_rng(seed)
        shapes = QUERY, VALUE, (BATCH, KEYS, key_depth)
        inputs = [rng.normal(size=shape).astype("float32") for shape in shapes]
        return inputs, [None, None] if masks == "none" else list(some_masks(rng, masks))

    return draw


@pytest.fixture
def draw():
    """`draw(case, seed, masks)`: `(inputs, (query_mask, key_mask))`; a mask that a layer lacks is None."""

    def draw_(case, seed=0, masks="random"):
        rng = np.random.default_rng(seed)
        inputs = [rng.normal(size=shape).astype("float32") for shape in case.shapes]
        if masks == "none" or not case.masked:
            return inputs, (None, None)
        keys = case.shapes[case.masked.index("keys")][1] if "keys" in case.masked else 1
        query_mask, key_mask = some_masks(rng, masks, case.shapes[0][1], keys)
        if case.one_mask:
            return inputs, (key_mask, key_mask)
        return inputs, tuple(
            mask if name in case.masked else None
            for name, mask in (("queries", query_mask), ("keys", key_mask))
        )

    return draw_


@pytest.fixture
def built():
    """`built(case, …)`: the layer, built, its weights moved a little: one of zeros would hide much."""

    def build(case, **arguments):
        layer = case.make(**arguments)
        case.call(layer, [np.zeros(shape, "float32") for shape in case.shapes])
        rng = np.random.default_rng(31)
        for weight in layer.weights:
            weight.assign(keras.ops.convert_to_numpy(weight.value) + 0.1 * rng.normal(size=weight.shape))
        return layer

    return build


@pytest.fixture
def array():
    """A tensor as a NumPy array of float32."""
    return lambda tensor: keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


# --- What each backend does in its own way ---


@pytest.fixture
def gradients():
    """`gradients(loss, layer)`: the gradient of `loss()` by each weight, by the backend's own means."""
    return {"tensorflow": _tensorflow, "torch": _torch, "jax": _jax}[keras.backend.backend()]


def _tensorflow(loss, layer):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        result = loss()
    found = tape.gradient(result, [w.value for w in layer.weights])
    return [tf.convert_to_tensor(g).numpy() for g in found]


def _torch(loss, layer):
    layer.zero_grad()
    loss().backward()
    return [w.value.grad.numpy() for w in layer.weights]


def _jax(loss, layer):
    import jax

    def of_weights(values):
        with keras.StatelessScope(state_mapping=zip(layer.weights, values, strict=True)):
            return loss()

    return [np.asarray(g) for g in jax.grad(of_weights)([w.value for w in layer.weights])]
