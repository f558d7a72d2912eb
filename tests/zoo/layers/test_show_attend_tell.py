"""Judge: the equations of Xu 2015, section 4.2, in NumPy."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.layers import AttentionDecoder, AttentionDecoderCell, ShowAttendTell, doubly_stochastic_penalty


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def reference(h, features, mask, W, U, v, f_beta=None):
    """Equations 4, 5 and 13, one number at a time; `mask` says which positions there are."""
    rows, columns, depth = features.shape[1:]
    z, alpha = np.zeros((*h.shape[:2], depth)), np.zeros((*h.shape[:2], rows * columns))
    for b, t in np.ndindex(*h.shape[:2]):
        exponentials = {
            (i, j): np.exp(v @ np.tanh(h[b, t] @ W + features[b, i, j] @ U))
            for i, j in np.ndindex(rows, columns)
            if mask[b, i, j]
        }
        for (i, j), one in exponentials.items():
            alpha[b, t, i * columns + j] = one / sum(exponentials.values())
            z[b, t] += alpha[b, t, i * columns + j] * features[b, i, j]
        if f_beta is not None:
            z[b, t] /= 1 + np.exp(-(h[b, t] @ f_beta[:, 0]))
    return z, alpha


@given(st.data(), st.booleans(), st.booleans())
def test_equals_the_reference(data, gate, masked):
    """Context and weights are those of the paper, with and without the gate and a mask of the positions."""
    batch, queries, rows, columns = (data.draw(st.integers(1, 4)) for _ in range(4))
    query_depth, depth, units = (data.draw(st.integers(1, 7)) for _ in range(3))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    h, features = (
        rng.normal(size=(batch, queries, query_depth)),
        rng.normal(size=(batch, rows, columns, depth)),
    )
    mask = rng.random((batch, rows, columns)) < 0.5 if masked else np.ones((batch, rows, columns), bool)
    layer = ShowAttendTell(units, gate=gate)
    found = layer(
        [h.astype("float32"), features.astype("float32")],
        mask=[None, mask] if masked else None,
        return_attention_scores=True,
    )
    for expected, one in zip(
        reference(h, features, mask, *(numpy(w.value) for w in layer.weights)), found, strict=True
    ):
        np.testing.assert_allclose(expected, numpy(one), atol=1e-5)


def test_its_axes():
    """Steps look at the positions of a feature map."""
    axes = ShowAttendTell(7).attention_axes([(2, 3, 5), (2, 11, 13, 17)])
    assert ({"kind": "step"}, {"kind": "patch", "grid": (11, 13)}) == axes


def test_the_penalty_by_hand():
    """Two queries on one of two keys: (1 - 2)² + (1 - 0)² = 2; one on each: 0; their mean is 1."""
    scores = np.array([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])
    np.testing.assert_allclose(1.0, numpy(doubly_stochastic_penalty(scores)))


def test_training_adds_the_penalty(batch):
    """λ times the penalty of the weights is the layer's loss in training, and there is none in inference."""
    (query, _, _), _ = batch(0, "none")
    features = np.random.default_rng(1).normal(size=(3, 2, 5, 7)).astype("float32")
    layer = ShowAttendTell(11, doubly_stochastic=0.5)
    layer([query, features])
    assert [] == layer.losses
    _, alpha = layer([query, features], return_attention_scores=True, training=True)
    (loss,) = layer.losses
    expected = 0.5 * ((1 - numpy(alpha).sum(axis=1)) ** 2).sum(axis=1).mean()
    np.testing.assert_allclose(expected, numpy(loss), rtol=1e-5)


def test_in_a_decoder_the_penalty_runs_over_all_steps(batch):
    """A recurrent decoder attends over the feature map, and its loss is that of its steps together."""
    (x, _, _), _ = batch(0, "none")
    features = np.random.default_rng(1).normal(size=(3, 2, 5, 7)).astype("float32")
    attention = ShowAttendTell(11, doubly_stochastic=0.5)
    decoder = AttentionDecoder(AttentionDecoderCell(keras.layers.LSTMCell(13), attention))
    y = decoder(x, features)
    assert (3, 5, 13 + 7) == tuple(y.shape)
    assert [] == decoder.losses
    assert ({"kind": "step"}, {"kind": "patch", "grid": (2, 5)}) == decoder.attention_axes(
        x.shape, features.shape
    )
    _, alpha = decoder(x, features, return_attention_scores=True, training=True)
    (loss,) = decoder.losses
    expected = 0.5 * ((1 - numpy(alpha).sum(axis=1)) ** 2).sum(axis=1).mean()
    np.testing.assert_allclose(expected, numpy(loss), rtol=1e-5)


def test_a_features_mask_has_the_features_grid():
    """The sentence says which shape came and which is wanted."""
    with pytest.raises(
        ValueError, match=r"ShowAttendTell got a features mask of shape \(2, 55\) for features of"
    ):
        ShowAttendTell(7)([np.ones((2, 3, 5)), np.ones((2, 5, 11, 7))], mask=[None, np.ones((2, 55), bool)])


def test_a_negative_penalty_is_refused():
    """The sentence names the argument and its value."""
    with pytest.raises(ValueError, match=r"^ShowAttendTell got doubly_stochastic=-1; pass 0 or more\.$"):
        ShowAttendTell(7, doubly_stochastic=-1)


BATCH = "pass inputs of one batch size, their last sizes known."


@pytest.mark.parametrize(
    "sentence, call",
    [
        ("doubly_stochastic='x'; pass 0 or more.", lambda: ShowAttendTell(7, doubly_stochastic="x")),
        (
            f"a query of shape (2, 3, 5) and features of shape (3, 5, 6, 7); {BATCH}",
            lambda: ShowAttendTell(7)([np.ones((2, 3, 5)), np.ones((3, 5, 6, 7))]),
        ),
        (
            f"a query of shape (None, 3, 5) and features of shape (None, 5, 6, None); {BATCH}",
            lambda: ShowAttendTell(7)([keras.Input((3, 5)), keras.Input((5, 6, None))]),
        ),
    ],
)
def test_one_sentence(sentence, call):
    """One sentence says what came, as it came, and what is wanted."""
    with pytest.raises(ValueError) as error:
        call()
    assert f"ShowAttendTell got {sentence}" in str(error.value)
