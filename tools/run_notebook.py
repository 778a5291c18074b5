"""Execute a notebook headless; say which cell runs, and print what it prints.

OUTPUT gets the executed notebook, or what there is of it when a cell fails. What the libraries say
about the machine goes into a file beside it with the suffix .log.
"""

import argparse
import ast
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError


def set_parameters(notebook, parameters):
    """Insert, after the cell tagged `parameters`, one that assigns ``parameters``, pairs of strings
    NAME, VALUE. Exit, and say why, if the tagged cell has no NAME or VALUE is none of Python's.
    """
    [index] = [
        index
        for index, cell in enumerate(notebook.cells)
        if "parameters" in cell.metadata.get("tags", [])
    ]
    known = re.findall(r"^(\w+) =", notebook.cells[index].source, re.M)
    for name, value in parameters:
        if name not in known:
            sys.exit(f"The notebook has no parameter {name}. It has {', '.join(known)}.")
        try:
            ast.literal_eval(value)
        except (SyntaxError, ValueError):
            sys.exit(f"{name} cannot be {value}: give a number, as in -p {name} 4.")
    source = "\n".join(f"{name} = {value}" for name, value in parameters)
    if source:
        notebook.cells.insert(index + 1, nbformat.v4.new_code_cell(source))


class PrintingClient(NotebookClient):
    """Executes a notebook, prints its progress and its text, and writes its error stream to
    ``log``, a file; that stream does not stay in it, nor does the state of widgets.
    """

    def __init__(self, notebook, log, **options):
        super().__init__(notebook, coalesce_streams=True, store_widget_state=False, **options)
        self.error_log = log
        self.on_cell_execute = self.print_progress
        self.count = sum(cell.cell_type == "code" for cell in notebook.cells)

    def print_progress(self, cell, cell_index):
        """Print which cell of how many runs now, and the heading above it."""
        above = [c.source for c in self.nb.cells[:cell_index] if c.cell_type == "markdown"]
        headings = re.findall("^#+ (.+)", "\n".join(above), re.M)
        print(f"[{self.code_cells_executed + 1}/{self.count}]", *headings[-1:], flush=True)

    def output(self, outs, msg, display_id, cell_index):
        """Handle an output: as the base class does, and as this one's docstring says."""
        content = msg["content"]
        if content.get("name") == "stderr":
            self.error_log.write(content["text"])
            return None
        data = content.get("data", {})
        if msg["msg_type"] == "stream":
            print(content["text"], end="", flush=True)
        elif data.get("text/plain") and "image/png" not in data:
            print(data["text/plain"], flush=True)
        return super().output(outs, msg, display_id, cell_index)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", type=Path, help="the notebook; it works in its own folder")
    parser.add_argument("output", type=Path)
    parser.add_argument(
        "-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="parameters"
    )
    options = parser.parse_args()
    notebook = nbformat.read(options.input, as_version=4)
    set_parameters(notebook, options.parameters)
    log_path = options.output.with_suffix(".log")
    started = time.monotonic()
    try:
        with open(log_path, "w") as log:
            PrintingClient(notebook, log).execute(cwd=options.input.parent, stdout=log, stderr=log)
    except CellExecutionError as error:
        sys.exit(str(error))
    except DeadKernelError:
        sys.exit(f"Python died in this cell, most often for want of memory; see {log_path}.")
    finally:
        nbformat.write(notebook, options.output)
    print(f"\ntime           {(time.monotonic() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
