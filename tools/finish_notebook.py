"""Finish the notebook that `make notebook` has executed: pictures where they are shown, tidy
outputs.

The picture of the drawing pad is attached to the first cell, so that it travels with the notebook.
Figures of the cells with a tag of SHOWN go to docs/ for the README. Messages on the error stream
are dropped: they are about the machine. A digest of all outputs goes into the metadata: the tests
compare it, so that an output edited by hand shows.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
ATTACHED = {"pad.png": ROOT / "notebooks" / "pad" / "pad.png"}  # name in the first cell: file
SHOWN = {"picture": "docs/predictions.png", "others-figure": "docs/others.png"}


def find_picture(notebook, tag):
    """Return the base64 PNG that the cell tagged ``tag`` drew; LookupError if there is none."""
    for cell in notebook.cells:
        if tag in cell.metadata.get("tags", []):
            for output in cell.get("outputs", []):
                if "image/png" in output.get("data", {}):
                    return output.data["image/png"].strip()
    raise LookupError(f"no cell tagged {tag} has drawn a figure: execute the notebook first")


def digest_outputs(notebook):
    """Return the SHA-256 of all stored outputs of ``notebook``."""
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(outputs, sort_keys=True).encode()).hexdigest()


def finish(notebook):
    """Change ``notebook`` as the module's docstring says."""
    notebook.cells[0]["attachments"] = {
        name: {"image/png": base64.b64encode(path.read_bytes()).decode()}
        for name, path in ATTACHED.items()
    }
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata.language_info.pop("version", None)  # each developer's Python is another one
    notebook.metadata["outputs_sha256"] = digest_outputs(notebook)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    notebook = nbformat.read(path, as_version=4)
    finish(notebook)
    nbformat.write(notebook, path)
    for tag, name in SHOWN.items():
        Path(name).write_bytes(base64.b64decode(find_picture(notebook, tag)))
