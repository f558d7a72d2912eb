"""What every layer keeps to, whatever its equations. Judge: what Keras itself asks of a layer."""

import inspect
import re

import keras
import numpy as np
import pytest

from zoo import layers

HALF = ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"]
if keras.backend.backend() == "jax":
    HALF = HALF[2:]  # it compiles every layer anew for each


def run(case, layer, inputs, masks=(None, None), **arguments):
    """All that the layer returns, its scores included, as a list."""
    if case.scores:
        arguments["return_attention_scores"] = True
    found = case.call(layer, inputs, masks, **arguments)
    return list(found) if isinstance(found, (list, tuple)) else [found]


def symbolic(case, dynamic):
    """Inputs of a functional model, of unknown batch and lengths if `dynamic`; the same, masked."""
    shapes = [(None,) * (len(shape) - 1) + shape[-1:] if dynamic else shape for shape in case.shapes]
    tensors = [keras.Input(batch_shape=shape) for shape in shapes]
    masked = [
        mask and len(shape) == 3 for mask, shape in zip(case.masked or (None,) * 9, shapes, strict=False)
    ]
    return tensors, [keras.layers.Masking()(x) if is_ else x for x, is_ in zip(tensors, masked, strict=True)]


def functional(case, layer, dynamic=True):
    tensors, hidden = symbolic(case, dynamic and not case.fixed)
    return keras.Model(tensors, run(case, layer, hidden))


def hide(case, inputs, masks):
    """Inputs that are zero where the masks say so."""
    by_name = dict(zip(("queries", "keys", None), (*masks, None), strict=True))
    found = [by_name[name] for name in case.masked or (None,) * len(inputs)]
    return [x if m is None else x * m[:, :, None] for x, m in zip(inputs, found, strict=True)]


def test_every_layer_is_in_the_table(cases):
    """Nothing public goes unchecked."""
    public = {one for one in map(layers.__dict__.get, layers.__all__) if isinstance(one, type)}
    parts = {layers.AttentionDecoderCell, layers.RelativePositionBias}  # not called with steps by themselves
    assert public - parts == {type(case.make()) for case in cases.values()}


def test_shapes(case, draw, built, array):
    """A functional model says the shapes that come out, and no output changes by asking for the scores."""
    inputs, masks = draw(case)
    layer = built(case)
    found = run(case, layer, inputs, masks)
    symbols = run(case, layer, symbolic(case, False)[0])
    assert [tuple(x.shape) for x in found] == [tuple(x.shape) for x in symbols]
    np.testing.assert_allclose(array(case.call(layer, inputs, masks)), array(found[0]), atol=1e-6)


def test_the_layer_says_whether_its_rows_sum_to_one(case, draw, built, array):
    """`normalised` is what the weights are."""
    inputs, _ = draw(case)
    layer = built(case)
    if not case.scores:
        return
    for scores in run(case, layer, inputs)[1:]:
        total = array(scores).sum(axis=-1)
        assert layer.normalised == np.allclose(1, total, atol=1e-5)


def test_its_axes_fit_its_scores(case, draw, built):
    """`attention_axes`, where there is one, says what the last two axes of the scores are."""
    inputs, _ = draw(case)
    layer = built(case)
    if not case.scores or not hasattr(layer, "attention_axes"):
        return
    shapes = [x.shape for x in inputs]
    axes = layer.attention_axes(*[shapes] if case.call.__name__ == "listed" else shapes)
    for axis, length in zip(axes, run(case, layer, inputs)[1].shape[-2:], strict=True):
        assert axis["kind"] in ("step", "patch", "channel")
        assert ("grid" in axis) == (axis["kind"] == "patch")
        if "grid" in axis:
            assert np.prod(axis["grid"]) == length


def test_masked_keys_get_exactly_nothing(case, draw, built, array):
    """Weights are zero at masked keys, and what stands there has no influence on the other steps."""
    if "keys" not in case.masked:
        return
    inputs, masks = draw(case)
    layer = built(case)
    output, *scores = run(case, layer, inputs, masks)
    for one in scores[-1:]:
        mask = masks[1].reshape(len(masks[1]), *[1] * (len(one.shape) - 2), -1)
        np.testing.assert_array_equal(0, array(one)[np.broadcast_to(~mask, one.shape)])
    changed = [
        x + 1e3 * ~masks[1][:, :, None] if name == "keys" else x
        for x, name in zip(inputs, case.masked, strict=True)
    ]
    found = run(case, layer, [x.astype("float32") for x in changed], masks)[0]
    rows = masks[1] if case.one_mask and len(output.shape) == 3 else slice(None)
    np.testing.assert_array_equal(array(output)[rows], array(found)[rows])


def test_masked_queries_are_zero(case, draw, built, array):
    """Weights of a masked query are zeros, and so is the output where nothing is added to it."""
    inputs, masks = draw(case)
    if masks[0] is None:
        return
    output, *scores = run(case, built(case), inputs, masks)
    assert not masks[0].all()
    for one in scores:
        if len(one.shape) > 2:
            np.testing.assert_array_equal(0, np.moveaxis(array(one), -2, 1)[~masks[0]])
    if case.zeros:
        np.testing.assert_array_equal(0, array(output)[~masks[0]])


def test_no_valid_key_is_a_zero_row(case, draw, built, array, gradients):
    """A query all of whose keys are masked has zero weights, a finite output and finite gradients."""
    if "keys" not in case.masked:
        return
    inputs, (_, mask) = draw(case)
    assert not mask[0].any()
    layer = built(case)
    output, *scores = run(case, layer, inputs, (mask if case.one_mask else None, mask))
    for one in scores[-1:]:
        np.testing.assert_array_equal(0, array(one)[0])
    assert np.isfinite(array(output)).all()
    if not layer.weights:
        return
    for keys in (mask, np.zeros_like(mask)):
        masks = (keys if case.one_mask else None, keys)
        found = gradients(
            lambda masks=masks: keras.ops.sum(case.call(layer, inputs, masks, training=True) ** 2), layer
        )
        assert all(np.isfinite(g).all() for g in found)


def test_gradients_are_those_of_finite_differences(case, draw, built, gradients):
    """Every weight has the gradient that moving it a little along it shows, and it is not zero."""
    inputs, masks = draw(case, 1, "prefix")
    # In float32, which the other backends compute in, a small step would drown.
    exact = keras.backend.backend() == "tensorflow"
    dtype, step, tolerance = ("float64", 1e-6, 1e-5) if exact else ("float32", 3e-3, 2e-2)
    layer = built(case, dtype=dtype)
    inputs = [keras.ops.cast(x, dtype) for x in inputs]
    arguments = {"training": True} if case.draws else {}

    def loss():
        return sum(keras.ops.sum(x**2) for x in run(case, layer, inputs, masks, **arguments))

    if not layer.weights:
        return
    loss()
    for weight, gradient in zip(layer.weights, gradients(loss, layer), strict=True):
        length = np.linalg.norm(gradient)
        if weight.path.endswith(case.flat or "nothing"):
            np.testing.assert_allclose(0, length, atol=1e-3)
            continue
        assert length > 1e-3, weight.path
        if case.draws:
            continue
        start = keras.ops.convert_to_numpy(weight.value).copy()
        either = []
        for sign in (1, -1):
            weight.assign(start + sign * step * gradient / length)
            either.append(float(keras.ops.convert_to_numpy(loss())))
        weight.assign(start)
        np.testing.assert_allclose((either[0] - either[1]) / (2 * step), length, rtol=tolerance)


@pytest.mark.parametrize("policy", HALF)
def test_half_precision_is_near_float32(case, draw, built, array, policy):
    """Under a half precision policy the results are in it, and near those of float32."""
    inputs, masks = draw(case, 2)
    full, half = built(case), built(case, dtype=policy)
    expected = run(case, full, inputs, masks)
    half.set_weights([keras.ops.convert_to_numpy(w.value) for w in full.weights])
    found = run(case, half, inputs, masks)
    for one, other in zip(expected, found, strict=True):
        assert keras.DTypePolicy(policy).compute_dtype == keras.backend.standardize_dtype(other.dtype)
        scale = max(1, np.abs(array(one)).max())
        np.testing.assert_allclose(
            array(one), array(other), atol=scale * (0.08 if "bfloat16" in policy else 0.01)
        )


def test_compiled_equals_eager(case, draw, built, array, compiled):
    """The backend's compiler changes nothing."""
    inputs, masks = draw(case, 3)
    layer = built(case)
    given = [x for x in masks if x is not None]
    tensors = [keras.ops.convert_to_tensor(x) for x in (*inputs, *given)]

    def f(*tensors):
        rest = iter(tensors[len(inputs) :])
        return run(case, layer, list(tensors[: len(inputs)]), [m if m is None else next(rest) for m in masks])

    for one, other in zip(run(case, layer, inputs, masks), compiled(f)(*tensors), strict=True):
        np.testing.assert_allclose(array(one), array(other), atol=1e-5)


def test_masks_that_inputs_carry(case, draw, built, array):
    """In a functional model of dynamic lengths, masks made by Masking act as masks passed by hand."""
    layer = built(case)
    model = functional(case, layer)
    for seed, masks in [(0, "random"), (1, "prefix"), (2, "suffix")]:
        inputs, found = draw(case, seed, masks)
        if seed == 2 and len(inputs) > 1 and not case.fixed:
            inputs = [inputs[0][:, :2], *inputs[1:]]
            found = (found[0] if found[0] is None else found[0][:, :2], found[1])
        inputs = hide(case, inputs, found)
        by_hand = run(case, layer, inputs, found)
        for one, other in zip(by_hand, _list(model.predict(inputs, verbose=0)), strict=True):
            np.testing.assert_allclose(array(one), other, atol=1e-5)


def test_masks_stay_with_their_tensors(case, draw, built, array):
    """A second call on the same inputs still sees the mask, and the output carries the query's."""
    if not case.masked:
        return
    inputs, masks = draw(case)
    inputs = hide(case, inputs, masks)
    masked = [
        keras.layers.Masking()(x) if name and x.ndim == 3 else x
        for x, name in zip(inputs, case.masked, strict=True)
    ]
    layer = built(case)
    first, second = case.call(layer, masked), case.call(layer, masked)
    np.testing.assert_array_equal(array(first), array(second))
    np.testing.assert_array_equal(array(case.call(layer, inputs, masks)), array(first))
    if len(first.shape) == 3:
        np.testing.assert_array_equal(masks[0], keras.ops.convert_to_numpy(first._keras_mask))


def test_save_and_reload(case, draw, built, tmp_path):
    """A `.keras` file brings the model back with its masks, and a weights file its weights."""
    inputs, masks = draw(case)
    inputs = hide(case, inputs, masks)
    model = functional(case, built(case))
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    fresh = functional(case, case.make())
    fresh.load_weights(tmp_path / "model.weights.h5")
    expected = _list(model.predict(inputs, verbose=0))
    for other in (reloaded, fresh):
        for one, two in zip(expected, _list(other.predict(inputs, verbose=0)), strict=True):
            np.testing.assert_array_equal(one, two)


def test_config_round_trip(case):
    """The config alone makes the same layer again, its initializer included, and names every argument."""
    arguments = {"kernel_initializer": keras.initializers.HeNormal(seed=5)} if case.initializer else {}
    layer = case.make(name="mine", **arguments)
    config = layer.get_config()
    again = type(layer).from_config(config)
    assert config == again.get_config()
    assert set(inspect.signature(type(layer)).parameters) - {"kwargs"} <= set(config)
    if case.initializer:
        assert "HeNormal" == type(again.kernel_initializer).__name__


def test_a_seed_decides(case, draw, array):
    """Under one seed a layer starts with the same weights and computes the same in training, twice."""
    inputs, masks = draw(case)
    either = []
    for _ in range(2):
        keras.utils.set_random_seed(37)
        layer = case.make()
        trains = "training" in inspect.signature(layer.call).parameters
        either.append(run(case, layer, inputs, masks, **({"training": True} if trains else {})))
    for one, other in zip(*either, strict=True):
        np.testing.assert_array_equal(array(one), array(other))


def test_a_wrong_rank_is_one_sentence(case):
    """One sentence of the layer's says which shape came, and what to pass, at the first call and later."""
    layer = case.make()
    wrong = [np.zeros(shape[:2], "float32") for shape in case.shapes]
    for _ in range(2):
        with pytest.raises(ValueError) as error:
            case.call(layer, wrong)
        lines = re.sub(r"\x1b\[\d+m", "", str(error.value)).splitlines()  # Keras frames it, in bold
        (sentence,) = (line for line in lines if " got " in line)
        assert str(case.shapes[0][:2]) in sentence and "pass " in sentence and sentence.endswith(".")
        assert sentence.split(" got ")[0] in layers.__all__
        case.call(layer, [np.zeros(shape, "float32") for shape in case.shapes])


# --- Layers of [query, value, key] ---

ROOM = "pass [query, value] or [query, value, key], each of shape (batch, length, depth)."


def test_integer_masks_are_boolean_masks(triple, draw, built, array):
    """Masks of zeros and ones mean the same as booleans."""
    inputs, mask = draw(triple)
    layer = built(triple)
    numbers = layer(inputs, mask=[m.astype("int32") for m in mask])
    np.testing.assert_array_equal(array(layer(inputs, mask=list(mask))), array(numbers))


def test_a_mask_of_the_key_counts(triple, draw, built, array):
    """A third mask, the key's, hides positions as the value's does."""
    inputs, (query_mask, value_mask) = draw(triple)
    layer = built(triple)
    expected = layer(inputs, mask=[query_mask, value_mask])
    np.testing.assert_array_equal(array(expected), array(layer(inputs, mask=[query_mask, None, value_mask])))


@pytest.mark.parametrize(
    "shapes, sentence",
    [
        ([(2, 3, 5)], f" got inputs of shapes (2, 3, 5); {ROOM}"),
        ([(2, 3, 5)] * 4, f" got inputs of shapes {', '.join(['(2, 3, 5)'] * 4)}; {ROOM}"),
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
def test_bad_shapes(triple, shapes, sentence):
    """One sentence says which shapes came and which are wanted; on a later call Keras frames it."""
    layer = triple.make()
    sentence = type(layer).__name__ + sentence
    with pytest.raises(ValueError) as error:
        layer([np.zeros(shape, "float32") for shape in shapes])
    assert sentence == str(error.value)
    layer([np.zeros((2, 3, 5), "float32"), np.zeros((2, 7, 5), "float32")])
    with pytest.raises(ValueError) as error:
        layer([np.zeros(shape, "float32") for shape in shapes])
    assert sentence in str(error.value)


def test_one_tensor_is_refused(triple):
    """Self-attention is asked for as [x, x]."""
    layer = triple.make()
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
def test_bad_masks(triple, mask, sentence):
    """One sentence says which mask came and which is wanted."""
    layer = triple.make()
    with pytest.raises(ValueError, match="mask") as error:
        layer([np.zeros((2, 3, 5), "float32"), np.zeros((2, 7, 5), "float32")], mask=mask)
    assert type(layer).__name__ + sentence in str(error.value)


def _list(found):
    return list(found) if isinstance(found, (list, tuple)) else [found]
