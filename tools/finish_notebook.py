"""Finish the notebook that `make notebook` has executed: put the picture of its predictions on top and tidy up.

The figure that the cell tagged `picture` drew becomes the picture in the first cell, as an attachment, so that it
travels with the notebook, and docs/predictions.png, for the README.
"""
import base64
import sys
from pathlib import Path

import nbformat


def find_picture(notebook):
    """Return the base64 PNG that the notebook's cell tagged `picture` drew; LookupError if there is none."""
    for cell in notebook.cells:
        if "picture" in cell.metadata.get("tags", []):
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    return output.data["image/png"].strip()
    raise LookupError("no cell tagged `picture` with a figure in its output: execute the notebook first")


if __name__ == "__main__":
    path = Path(sys.argv[1])
    notebook = nbformat.read(path, as_version=4)
    picture = find_picture(notebook)
    notebook.cells[0]["attachments"] = {"predictions.png": {"image/png": picture}}
    Path("docs/predictions.png").write_bytes(base64.b64decode(picture))
    notebook.metadata.language_info.pop("version", None)  # or each developer's Python would show up as a change
    nbformat.write(notebook, path)
