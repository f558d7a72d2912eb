"""The scripts that train the zoo's models: `python -m training --help`."""
