"""A training that can be killed at any moment and goes on as if it had not been."""

import json
import math
import os
import zipfile
import zlib

import keras
import numpy as np

from training.run_folder import damaged, run_file
from zoo.errors import InputError


class Batches(keras.utils.PyDataset):
    """The batches of all epochs to come, in an order that depends on the seed and the epoch alone.

    Give `steps` to `fit` as `steps_per_epoch`, and `shuffle=False`. One long data set, because Keras fetches
    ahead across the end of an epoch: an order drawn anew in `on_epoch_end` would reach some batches of the
    next epoch and not others, and a resumed training would draw others than the unbroken one.
    """

    def __init__(self, x, y, batch_size, seed, epochs):
        super().__init__()
        self.x, self.y, self.batch_size, self.seed, self.epochs = x, y, batch_size, seed, epochs
        self.steps = -(-len(x) // batch_size)

    def __len__(self):
        return self.steps * len(self.epochs)

    def __getitem__(self, item):
        epoch, batch = divmod(item, self.steps)
        order = np.random.default_rng((self.seed, self.epochs[epoch])).permutation(len(self.x))
        chosen = np.sort(order[batch * self.batch_size : (batch + 1) * self.batch_size])
        return self.x[chosen], self.y[chosen]


class Checkpoint(keras.callbacks.Callback):
    """Early stopping, and everything a training needs to go on, in one file written after every epoch.

    Keras' `BackupAndRestore` keeps neither the patience spent nor the best weights, so a training resumed
    with it can stop at another epoch than the unbroken one. Here both are kept, with the optimizer, the
    random seeds and the history. Call `restore` once the model is compiled, and give `epoch` to `fit` as
    its `initial_epoch`. When training ends the model has its best weights.
    """

    def __init__(self, path, patience):
        super().__init__()
        self.path, self.patience = path, patience
        self.epoch, self.wait, self.done = 0, 0, False
        self.best, self.best_epoch, self.best_weights, self.history = np.inf, 0, None, []

    def restore(self, model):
        """Put the saved state, if there is one, into `model` and this callback.

        Raises InputError where the file is damaged.
        """
        if os.path.exists(self.path):
            try:
                self._restore(model)
            except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError) as error:
                raise damaged(self.path, error) from None

    def _restore(self, model):
        model.optimizer.build(model.trainable_variables)
        with np.load(self.path, allow_pickle=False) as file:
            for group, variables in _groups(model).items():
                for i, variable in enumerate(variables):
                    variable.assign(file[f"{group}{i}"])
            self.best_weights = [file[f"best{i}"] for i in range(len(model.weights))]
            about = json.loads(str(file["about"]))
        self.epoch, self.wait, self.done = about["epoch"], about["wait"], about["done"]
        self.best, self.best_epoch, self.history = about["best"], about["best_epoch"], about["history"]
        if self.done:
            model.set_weights(self.best_weights)

    def on_epoch_end(self, epoch, logs=None):
        """Judge the epoch and save."""
        if not math.isfinite(logs["val_loss"]):
            raise InputError(
                f"The validation loss of epoch {epoch + 1} is {logs['val_loss']}: begin anew with a lower "
                "--learning-rate and --restart."
            )
        self.epoch = epoch + 1
        self.history.append({name: float(value) for name, value in logs.items()})
        if logs["val_loss"] < self.best:
            self.best, self.best_epoch, self.wait = float(logs["val_loss"]), epoch, 0
            self.best_weights = self.model.get_weights()
        else:
            self.wait += 1
        self.done = self.wait >= self.patience or self.epoch == self.params["epochs"]
        self.model.stop_training = self.done
        self._save()

    def on_train_end(self, logs=None):
        """Leave the best weights in the model."""
        self.model.set_weights(self.best_weights)

    def _save(self):
        arrays = {
            f"{group}{i}": keras.ops.convert_to_numpy(variable)
            for group, variables in _groups(self.model).items()
            for i, variable in enumerate(variables)
        }
        arrays |= {f"best{i}": weights for i, weights in enumerate(self.best_weights)}
        names = ("epoch", "wait", "done", "best", "best_epoch", "history")
        about = json.dumps({name: getattr(self, name) for name in names})
        with run_file(self.path) as file:
            np.savez(file, about=np.array(about), **arrays)


def _groups(model):
    """All that training changes; `model.variables` includes the states of the random seeds."""
    metrics = {id(variable) for variable in model.metrics_variables}
    return {
        "model": [variable for variable in model.variables if id(variable) not in metrics],
        "optimizer": model.optimizer.variables,
    }
