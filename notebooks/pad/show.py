"""Show the drawing pad below a cell: its page, its picture, and the networks' weights as text."""

import base64
import hashlib
import zlib
from pathlib import Path

import numpy as np
from IPython.display import display

FOLDER = Path(__file__).parent
NOTE = """<p>This is a still picture, because no script runs here. To draw, open the project's page,
<code>docs/index.html</code>. In Jupyter, run this cell, or trust the notebook.</p>"""


def pack(network):
    """Yield each of the arrays of weights of ``network``: a scale, and whole numbers as text."""
    for array in network.get_weights():
        bits = 8 if array.size > 100_000 else 16
        scale = float(np.abs(array).max()) / (2 ** (bits - 1) - 1) or 1.0
        whole = zlib.compress(np.rint(array / scale).astype(f"int{bits}"), 9)
        yield {"bits": bits, "scale": scale, "bytes": base64.b64encode(whole).decode()}


def show_pad(networks):
    """Display the pad for ``networks``, a dict by name; where scripts do not run, its picture."""
    files = ("pad.css", "pad.html", "network.js", "pad.js")
    css, html, network, pad = [(FOLDER / name).read_text() for name in files]
    picture = base64.b64encode((FOLDER / "pad.png").read_bytes()).decode()
    weights = {name: [*pack(each)] for name, each in networks.items()}  # its repr is JavaScript
    # The same networks get the same name in each run. Where their pad stands twice in a page, each
    # script takes the first place of this name that is left; makePad marks it as taken.
    place = f"pad-{hashlib.sha256(repr(weights).encode()).hexdigest()[:8]}"
    find = f"document.querySelector('#{place}:not([data-taken])')"
    make = f"makePad({find}, {f'<style>{css}</style>{html}'!r}, {weights})"
    alt = "A picture of the drawing pad: a digit, and what both networks read in it."
    text = f'<div id="{place}"><img alt="{alt}" src="data:image/png;base64,{picture}">{NOTE}</div>'
    text += f"<script>(() => {{{network}{pad}{make}}})()</script>"
    display({"text/html": text, "text/plain": alt}, raw=True)
