"""Keras, loaded without what TensorFlow says of the machine."""

import os
import sys
import tempfile


def keras_without_its_preamble():
    """Import Keras and its backend; what they print is shown only where the import fails.

    Without a GPU TensorFlow begins with six lines about it, which no setting of its log level silences, and
    which would stand before every one-line error.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            import keras

            keras.ops.zeros(1)  # the rest is said when the first number is made
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
