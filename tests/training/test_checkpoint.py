import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest

from training.checkpoint import Batches
from training.run_folder import run_file

# A small model with dropout and Adam, so that weights, optimizer and random seeds all matter.
TRAIN = """
import json, os, sys
import keras, numpy as np
from training.checkpoint import Batches, Checkpoint

path, die_in_epoch, epochs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = np.random.default_rng(0)
x = rng.normal(size=(97, 5)).astype("float32")
y = (x[:, :1] + rng.normal(size=(97, 1))).astype("float32")
keras.utils.set_random_seed(3)
layers = [keras.layers.Dense(7, "tanh"), keras.layers.Dropout(0.3), keras.layers.Dense(1)]
model = keras.Sequential([keras.Input((5,)), *layers])
model.compile(keras.optimizers.Adam(0.02), "mse")
checkpoint = Checkpoint(path, patience=4)
checkpoint.restore(model)

class Die(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if len(checkpoint.history) == die_in_epoch and batch == 2:
            os._exit(9)

if not checkpoint.done:
    batches = Batches(x[:80], y[:80], 16, 3, range(checkpoint.epoch, epochs))
    model.fit(batches, steps_per_epoch=batches.steps, shuffle=False, verbose=0,
              validation_data=(x[80:], y[80:]), initial_epoch=checkpoint.epoch, epochs=epochs,
              callbacks=[Die(), checkpoint])
print(json.dumps({"history": checkpoint.history, "forecast": model.predict(x[80:], verbose=0).tolist()}))
"""


def train(path, die_in_epoch=-1, epochs=40):
    return subprocess.run(
        [sys.executable, "-c", TRAIN, path, str(die_in_epoch), str(epochs)], capture_output=True, text=True
    )


def test_a_killed_training_goes_on_as_the_unbroken_one(tmp_path):
    """Losses of every epoch, the epoch it stops at, and the best weights survive two kills."""
    unbroken = train(tmp_path / "unbroken.npz")
    expected = json.loads(unbroken.stdout.splitlines()[-1])
    assert 40 > len(expected["history"]), "early stopping is part of what must be restored"
    for epoch in (1, len(expected["history"]) - 2):
        assert 9 == train(tmp_path / "killed.npz", die_in_epoch=epoch).returncode
    resumed = json.loads(train(tmp_path / "killed.npz").stdout.splitlines()[-1])
    assert [one["val_loss"] for one in expected["history"]] == pytest.approx(
        [one["val_loss"] for one in resumed["history"]], abs=1e-7
    )
    np.testing.assert_allclose(expected["forecast"], resumed["forecast"], atol=1e-6)
    again = json.loads(train(tmp_path / "killed.npz").stdout.splitlines()[-1])
    np.testing.assert_allclose(resumed["forecast"], again["forecast"], atol=1e-6)


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_alone():
    """An epoch reached by resuming draws what it would have drawn."""
    x = np.arange(13)
    through, resumed = Batches(x, x, 5, 7, range(3)), Batches(x, x, 5, 7, range(1, 3))
    assert (9, 6, 3) == (len(through), len(resumed), through.steps)
    epochs = np.array([np.concatenate([through[3 * e + i][0] for i in range(3)]) for e in range(3)])
    np.testing.assert_array_equal(epochs[1:].ravel(), np.concatenate([resumed[i][0] for i in range(6)]))
    np.testing.assert_array_equal([x] * 3, np.sort(epochs))
    assert np.any(epochs[0] != epochs[1])


def test_a_full_disk_leaves_the_earlier_file(tmp_path):
    """What stood there stays whole, no temporary file is left, and the sentence says what to do."""
    path = tmp_path / "state"
    with run_file(path) as file:
        file.write_bytes(b"earlier")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        expected = r"could not be written \(.*too large.*\): free space, then type"
        with pytest.raises(OSError, match=expected), run_file(path) as file:
            file.write_bytes(bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert b"earlier" == path.read_bytes()
    assert ["state"] == os.listdir(tmp_path)
