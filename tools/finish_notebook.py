"""Finish the notebook that `make notebook` has executed: put the picture of its predictions on top and tidy up.

The figure that the cell tagged `picture` drew becomes the picture in the first cell, as an attachment, so that it
travels with the notebook, and docs/predictions.png, for the README, whose line of results is rewritten. The plot of the
benchmark's latest results is attached to the cell that shows it. The drawing pad, a widget, lives only as long as its
kernel: of its output the picture for pages without widgets stays. A digest of all outputs goes into the metadata: the
tests compare it, so that an output edited by hand shows.
"""
import base64
import hashlib
import json
import re
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


def digest_outputs(notebook):
    """Return the SHA-256 of all stored outputs of ``notebook``."""
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(outputs, sort_keys=True).encode()).hexdigest()


def describe_result(notebook):
    """Return the README's sentence on the run whose outputs ``notebook`` holds."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    printed = "".join(output.get("text", "") + output.get("data", {}).get("text/plain", "") + "\n" for output in outputs)
    machine = re.search(r"^machine +(.*)$", printed, re.M)[1]
    seconds = re.search(r"^trained in (\d+) s$", printed, re.M)[1]
    accuracy = re.search(r"^test accuracy (.*)$", printed, re.M)[1]
    calibration = re.search(r"^(expected calibration error .*)$", printed, re.M)[1]
    return f"The saved run ({machine}): trained in {seconds} s; test accuracy {accuracy}; {calibration}."


if __name__ == "__main__":
    path = Path(sys.argv[1])
    notebook = nbformat.read(path, as_version=4)
    picture = find_picture(notebook)
    notebook.cells[0]["attachments"] = {"predictions.png": {"image/png": picture}}
    [recap] = [cell for cell in notebook.cells if "(attachment:results.png)" in cell.source]
    plot = Path("benchmarks/results.png").read_bytes()
    recap["attachments"] = {"results.png": {"image/png": base64.b64encode(plot).decode()}}
    Path("docs/predictions.png").write_bytes(base64.b64decode(picture))
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    notebook.metadata.language_info.pop("version", None)  # or each developer's Python would show up as a change
    readme = Path("README.md")
    readme.write_text(re.sub("^The saved run .*$", describe_result(notebook), readme.read_text(), flags=re.M))
    notebook.metadata["outputs_sha256"] = digest_outputs(notebook)
    nbformat.write(notebook, path)
