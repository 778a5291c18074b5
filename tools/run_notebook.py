"""Papermill, but a parameter that the notebook does not have is refused before anything runs."""

import sys

from papermill import cli, execute_notebook, inspect_notebook


def execute_known(input_path, parameters, **options):
    """Execute ``input_path`` unless one of ``parameters`` is not in its cell of parameters."""
    known = inspect_notebook(input_path)
    for name in parameters:
        if name not in known:
            sys.exit(f"The notebook has no parameter {name}. It has {', '.join(known)}.")
    return execute_notebook(input_path, parameters=parameters, **options)


cli.execute_notebook = execute_known  # papermill's command reads the arguments, and then calls this
cli.papermill()
