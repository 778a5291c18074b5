"""The lesson in a project of its own, to be executed there: python tests/lesson.py FOLDER [IMAGES]

Its kernel takes notes of what each cell shows (record.py), and checks all that after the last one
(checks.py): `checks.json` in FOLDER says what the checks have found.
"""

import shutil
import sys
from pathlib import Path

import nbformat
import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
NOTEBOOK = ROOT / "notebooks" / "mnist_cnn.ipynb"


def in_kernel(code):
    """Return a cell that executes ``code`` with this folder's modules, and leaves no name."""
    code = f"import sys\nsys.path.append({str(HERE)!r})\n{code}\nsys.path.remove({str(HERE)!r})"
    return nbformat.v4.new_code_cell(f"exec({code!r}, {{}})")


def copy_project(folder, images=None, mistakes=(), checked=True):
    """Copy to ``folder`` what the notebook needs; return the path of its copy there.

    ``images`` is how many of MNIST's to take, for speed: a tenth of that to test with. ``mistakes``
    are pairs of strings, of which the first, which only one cell holds, gives place to the second.
    Where not ``checked``, the notebook stays without the cells that take notes and check.
    """
    for part in ["notebooks", "data"]:
        hidden = shutil.ignore_patterns(".*", "__pycache__")
        shutil.copytree(ROOT / part, folder / part, ignore=hidden, dirs_exist_ok=True)
    (folder / "models").mkdir(exist_ok=True)
    if images:
        mnist = np.load(ROOT / "data" / "mnist.npz")
        few = {name: mnist[name][: images if "train" in name else images // 10] for name in mnist}
        np.savez(folder / "data" / "mnist.npz", **few)
    path = folder / "notebooks" / NOTEBOOK.name
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for old, new in mistakes:
        [cell] = [cell for cell in notebook.cells if old in cell.source]
        assert cell.cell_type == "code" and cell.source.count(old) == 1, f"{old!r} is twice there"
        cell.source = cell.source.replace(old, new)
    if checked:
        main = f"import checks\nchecks.main({str(folder)!r}, {not mistakes})"
        notebook.cells.insert(0, in_kernel(f"import record\nrecord.install({str(path)!r})"))
        notebook.cells.append(in_kernel(main))
    nbformat.write(notebook, path)
    return path


if __name__ == "__main__":
    print(copy_project(Path(sys.argv[1]).resolve(), *map(int, sys.argv[2:])))
