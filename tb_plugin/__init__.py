"""The Attention tab of TensorBoard: record format, event files, and the server of the page.

Nothing here imports a deep-learning framework: a record is made of NumPy arrays, and TensorBoard alone
reads it.
"""
