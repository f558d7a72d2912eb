"""Tell clothes apart with a small Vision Transformer: Fashion-MNIST, 28 × 28 pixels, ten classes.

    python -m training fashion

trains for two minutes on two cores, shows which patches attend to which in TensorBoard (`tensorboard --logdir
logs`), and prints its accuracy on the test part beside that of a logistic regression. The pictures are those
of the Debian package dataset-fashion-mnist (`sudo apt-get install dataset-fashion-mnist`), or the same four
files in a folder of yours.
"""

import gzip
import os

import numpy as np

from training import patch_transformer
from training.patch_transformer import Pictures
from zoo.errors import InputError

CLASSES = [
    "T-shirt",
    "trousers",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
]
SIDE = 28


def add_arguments(parser):
    """The command line of this recipe."""
    parser.add_argument(
        "--data",
        metavar="DIR",
        default="/usr/share/datasets/fashion-mnist",
        help="the folder of the four files (default %(default)s)",
    )
    parser.add_argument(
        "--images", type=int, default=20_000, help="of the 60,000 to learn from (default %(default)s)"
    )
    return patch_transformer.add_arguments(parser, epochs=8)


def main(arguments):
    """Read, train, print."""
    patch_transformer.check(arguments)
    if not 10 <= arguments.images <= 60_000:
        raise InputError(f"--images is {arguments.images}: a whole number from 10 to 60,000 is wanted.")
    training = read(arguments.data, "train", arguments.images)
    test = read(arguments.data, "t10k", 10_000)
    patch_transformer.train("fashion", arguments, training, test, CLASSES)


def read(folder, part, count) -> Pictures:
    """The first `count` pictures of a part and their classes, from the files' gzipped bytes."""
    pixels = _bytes(folder, f"{part}-images-idx3-ubyte.gz", 16, count * SIDE * SIDE)
    y = _bytes(folder, f"{part}-labels-idx1-ubyte.gz", 8, count)
    if y.max() >= len(CLASSES):
        raise InputError(f"The labels in {folder} go up to {y.max()}: files of Fashion-MNIST are wanted.")
    return Pictures(pixels.reshape(count, SIDE, SIDE).astype("float32") / 255, y.astype("int32"))


def _bytes(folder, name, head, size):
    path = os.path.join(folder, name)
    try:
        with gzip.open(path) as file:
            data = file.read(head + size)  # never more, whatever the file claims
    except FileNotFoundError:
        raise InputError(
            f"{path} was not found: type sudo apt-get install dataset-fashion-mnist, or name its folder with "
            "--data."
        ) from None
    except (OSError, EOFError) as error:
        raise InputError(f"{path} cannot be read ({error}): name another folder with --data.") from None
    if len(data) < head + size:
        raise InputError(f"{path} holds {len(data):,} bytes, {head + size:,} are wanted: is it whole?")
    return np.frombuffer(data, np.uint8, offset=head)
