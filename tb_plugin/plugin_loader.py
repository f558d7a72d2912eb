"""What TensorBoard imports at its start.

An error in importing this module would end TensorBoard itself, so it imports nothing but the base class.
"""

import logging

from tensorboard.plugins import base_plugin


class AttentionLoader(base_plugin.TBLoader):
    """Loads the Attention tab, or logs why it cannot and leaves the other tabs alone."""

    def fix_flags(self, flags) -> None:
        """Keep every logged step unless the user says otherwise.

        TensorBoard would keep ten steps of each tag, chosen at random, and two tags not always the same.
        What is written is bounded by the writer, who knows how large it is.
        """
        flags.samples_per_plugin.setdefault("attention", 0)

    def load(self, context: base_plugin.TBContext) -> base_plugin.TBPlugin | None:
        """The plugin, None where it cannot be loaded."""
        try:
            from tb_plugin.server import AttentionPlugin

            return AttentionPlugin(context)
        except Exception as error:
            logging.getLogger("tensorboard").warning(
                "The Attention tab could not be loaded (%s: %s): type `pip install --force-reinstall "
                "attention-zoo`.",
                type(error).__name__,
                error,
            )
            return None
