"""`python -m training NAME`: train a model of the zoo, or write the tables of what was trained."""

import argparse
import sys

from training import digits, fashion, forecast, minilm, table
from zoo.errors import InputError

RECIPES = {"forecast": forecast, "fashion": fashion, "digits": digits, "minilm": minilm, "tables": table}


def main():
    """Parse, run, and turn a user's mistake into one line."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    recipes = parser.add_subparsers(dest="recipe", required=True, metavar="NAME")
    for name, module in RECIPES.items():
        about = module.__doc__.split("\n\n")[0].replace("\n", " ")
        one = recipes.add_parser(
            name, help=about, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(one).set_defaults(main=module.main)
    arguments = parser.parse_args()
    try:
        arguments.main(arguments)
    except (InputError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit("\nStopped; the same command goes on from the last whole epoch.")


if __name__ == "__main__":
    main()
