"""The one exception for input that a person can mend."""


class InputError(ValueError):
    """Input that cannot be used, in one sentence: what was found, what was wanted, what to type.

    The command lines print it as it stands and exit with status 2.
    """
