"""Judge: keras-hub, small and with random weights, as `benchmarks/small_backbones.py` makes its backbones."""

import runpy
from pathlib import Path

import keras
import numpy as np
import pytest

import zoo

SURVEY = runpy.run_path(str(Path(__file__).parents[3] / "benchmarks" / "small_backbones.py"))
MAPS = {"BertBackbone": 2, "GPT2Backbone": 2, "LlamaBackbone": 2, "T5Backbone": 6, "ViTBackbone": 2}


@pytest.fixture(params=MAPS)
def backbone(request):
    """`(number of maps, model, inputs)`."""
    found = SURVEY["hub_backbones"]([request.param])
    ((_, model, inputs),) = found
    return MAPS[request.param], model, inputs


def test_outputs_are_the_models_and_rows_sum_to_one(backbone):
    """Every attention layer has a map, nothing is missing, and the outputs are those of `predict`."""
    expected, model, inputs = backbone
    outputs, maps = zoo.attend(model, inputs)
    assert (expected, {}) == (len(maps), maps.missing)
    for one in maps.values():
        np.testing.assert_allclose(1, one.weights.sum(-1), atol=1e-5)
    for one, other in zip(
        *(keras.tree.flatten(y) for y in (model.predict(inputs, verbose=0), outputs)), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("name", ["GPT2Backbone", "LlamaBackbone"])
def test_decoders_do_not_look_ahead(name):
    """Nothing above the diagonal."""
    ((_, model, inputs),) = SURVEY["hub_backbones"]([name])
    _, maps = zoo.attend(model, inputs)
    for one in maps.values():
        assert not np.triu(one.weights, 1).any()


def test_padding_gets_nothing():
    """Keys that BERT's padding mask hides have no weight."""
    ((_, model, inputs),) = SURVEY["hub_backbones"](["BertBackbone"])
    inputs["padding_mask"] = np.arange(8)[None].repeat(2, 0) < [[5], [8]]
    _, maps = zoo.attend(model, inputs)
    for one in maps.values():
        assert not one.weights[0, :, :5, 5:].any()
        assert one.weights[1, :, :, 5:].all()


def test_a_sample_of_a_model_that_folds_windows_into_its_batch():
    """Swin's windows count as samples; one image keeps the maps of its own windows."""
    ((_, model, inputs),) = SURVEY["hub_backbones"](["SwinTransformerBackbone"])
    (_, every), (_, second) = zoo.attend(model, inputs), zoo.attend(model, inputs, samples=1)
    for path, one in every.items():
        windows = len(one.weights) // 2
        np.testing.assert_allclose(one.weights[windows:], second[path].weights, atol=1e-6)
