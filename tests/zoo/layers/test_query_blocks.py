"""Judge: the same function called once with everything."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from zoo import layers
from zoo.layers.masked_softmax import masked_softmax
from zoo.layers.query_blocks import in_query_blocks

ROOT = Path(__file__).parents[3]
UNITS = 5


def attend(query, allowed, key, valid, W):
    """Additive attention with every kind of tensor that blocks are cut from."""
    hidden = ops.tanh(query[:, :, None] + key[:, None])
    a = masked_softmax(ops.matmul(hidden, W), allowed[:, :, None] & valid[:, None])
    return ops.matmul(a, key), a


def draw(batch, queries, keys, seed=0):
    rng = np.random.default_rng(seed)
    query, key = (rng.normal(size=(batch, n, UNITS)).astype("float32") for n in (queries, keys))
    allowed, valid = (rng.random((batch, n)) < 0.7 for n in (queries, keys))
    return [query, allowed], [key, valid], [rng.normal(size=(UNITS,)).astype("float32")]


def tensors(lists):
    return [[ops.convert_to_tensor(x) for x in one] for one in lists]


def array(tensor):
    return ops.convert_to_numpy(tensor)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 5), st.integers(1, 11), st.integers(1, 7), st.sampled_from([1, 50, 300, 1000, 3000, 10**6])
)
def test_blocks_change_nothing(batch, queries, keys, budget):
    """However batch and queries are cut, the results are those of one call."""
    inputs = tensors(draw(batch, queries, keys, seed=budget % 97))
    expected = attend(*inputs[0], *inputs[1], *inputs[2])
    found = in_query_blocks(attend, *inputs, floats=keys * UNITS, budget=budget)
    for one, other in zip(expected, found, strict=True):
        assert tuple(one.shape) == tuple(other.shape)
        np.testing.assert_allclose(array(one), array(other), atol=1e-6)


@pytest.mark.parametrize("batch, queries", [(1, 37), (37, 2), (5, 11)])
def test_no_block_is_over_budget(batch, queries):
    """Samples · queries · floats of a block are at most a quarter of the budget."""
    sizes = []

    def note(query, key):
        sizes.append(int(np.prod(query.shape[:2])))
        return query

    query = ops.ones((batch, queries, 2))
    in_query_blocks(note, [query], [query], [], floats=23, budget=4 * 93)
    assert 4 >= max(sizes)
    if keras.backend.backend() != "jax":  # there a block is traced once
        assert {(1, 37): 10, (37, 2): 19, (5, 11): 15}[batch, queries] == len(sizes)


def test_what_fits_is_called_once_and_whole():
    """Short inputs take no loop: `f` gets the very tensors that were given."""
    query, key = ops.ones((2, 3, 5)), ops.ones((2, 7, 5))
    seen = []
    in_query_blocks(lambda *t: seen.extend(t) or t[0], [query], [key], [], floats=35, budget=210)
    assert [query, key] == [x for x in seen if x is query or x is key]


@pytest.mark.parametrize("budget", [1, 500, 2000])
def test_gradients_of_inputs_and_weights(budget, gradients):
    """Queries, keys and weights get the gradients of one call."""
    layer = keras.layers.Layer()
    inputs = draw(3, 7, 5)
    for name, values in (("query", inputs[0][0]), ("key", inputs[1][0]), ("W", inputs[2][0])):
        layer.add_weight(name=name, shape=values.shape, initializer="zeros").assign(values)
    layer.built = True
    allowed, valid = ops.convert_to_tensor(inputs[0][1]), ops.convert_to_tensor(inputs[1][1])

    def loss(budget):
        query, key, W = (ops.convert_to_tensor(w) for w in layer.weights)
        results = in_query_blocks(attend, [query, allowed], [key, valid], [W], 25, budget)
        return sum(ops.sum(x**2) for x in results)

    expected, found = gradients(lambda: loss(10**9), layer), gradients(lambda: loss(budget), layer)
    for one, other in zip(expected, found, strict=True):
        assert np.abs(one).max() > 1e-2
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("budget", [1, 1000])
def test_compiled(budget, compiled):
    """The backend's compiler changes nothing."""
    inputs = tensors(draw(3, 11, 7))
    expected = attend(*inputs[0], *inputs[1], *inputs[2])
    f = compiled(lambda q, m, k, n, W: in_query_blocks(attend, [q, m], [k, n], [W], 35, budget))
    for one, other in zip(expected, f(*inputs[0], *inputs[1], *inputs[2]), strict=True):
        np.testing.assert_allclose(array(one), array(other), atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow has unknown sizes")
@pytest.mark.parametrize("jit", [False, True])
def test_unknown_sizes(jit):
    """One trace for unknown sizes gives results and gradients of one call, with XLA too."""
    import tensorflow as tf

    any_float, any_bool = tf.TensorSpec((None, None, UNITS)), tf.TensorSpec((None, None), tf.bool)

    def with_gradient(call):
        def f(q, m, k, n, W):
            with tf.GradientTape() as tape:
                tape.watch([q, k, W])
                c, a = call(q, m, k, n, W)
                loss = tf.reduce_sum(c**2) + tf.reduce_sum(a**3)
            return c, a, *tape.gradient(loss, [q, k, W])

        return f

    def blocks(q, m, k, n, W):
        return in_query_blocks(attend, [q, m], [k, n], [W], tf.shape(k)[1] * UNITS, 300)

    traced = tf.function(
        with_gradient(blocks),
        input_signature=[any_float, any_bool, any_float, any_bool, tf.TensorSpec((UNITS,))],
        jit_compile=jit,
    )
    for batch, queries, keys in [(3, 11, 7), (1, 1, 1), (7, 2, 3), (1, 13, 5)]:
        inputs = [x for one in tensors(draw(batch, queries, keys)) for x in one]
        expected = with_gradient(lambda *t: attend(*t))(*inputs)
        for one, other in zip(expected, traced(*inputs), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="reads TensorFlow's graph")
@pytest.mark.parametrize(
    "layer, count",
    [
        (layers.BahdanauAttention(7), 2),
        (layers.LuongAttention(7, "concat"), 2),
        (layers.SeqSelfAttention(7), 1),
    ],
    ids=["bahdanau", "luong-concat", "seq-self"],
)
def test_no_layer_holds_all_pairs_units(layer, count):
    """No tensor of an additive layer's training step is as large as a quarter of queries · keys · units."""
    import tensorflow as tf

    length = 2048
    layer([tf.zeros((1, 2, 5))] * count if count > 1 else tf.zeros((1, 2, 5)))

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer([x] * count if count > 1 else x) ** 2)
        return tape.gradient(loss, layer.trainable_variables)

    graph = step.get_concrete_function(tf.TensorSpec((1, length, 5))).graph
    graphs = [graph, *(f.graph for f in graph._functions.values() if hasattr(f, "graph"))]
    sizes = [x.shape.num_elements() or 0 for one in graphs for op in one.get_operations() for x in op.outputs]
    assert length * 5 <= max(sizes) < length**2 * 7 // 4


STEP = """
import resource, sys
import tensorflow as tf
from keras import ops
from zoo.layers.query_blocks import in_query_blocks

def attend(q, k, W):
    return ops.matmul(ops.softmax(ops.matmul(ops.tanh(q[:, :, None] + k[:, None]), W)), k)

@tf.function
def step(q, k, W):
    with tf.GradientTape() as tape:
        tape.watch([q, k, W])
        c = in_query_blocks(attend, [q], [k], [W], 32 * tf.shape(k)[1])
    return tape.gradient(c, [q, k, W])

q, W = tf.random.normal((1, int(sys.argv[1]), 32)), tf.random.normal((32,))
step(q[:, :3], q[:, :3], W)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
step(q, q, W)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="measured where it is promised")
def test_training_holds_a_few_blocks():
    """With 2048 queries and keys a training step takes less than 1/10 of the 537 MB of all pairs' units."""
    command = [sys.executable, "-c", STEP, "2048"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    assert 53 > float(done.stdout)
