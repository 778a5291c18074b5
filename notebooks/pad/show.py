"""Show the drawing pad below a cell: its page, its picture, and the networks' weights as text."""

import base64
import zlib
from pathlib import Path

import numpy as np
from IPython.display import display

FOLDER = Path(__file__).parent


def pack(network):
    """Yield each of the arrays of weights of ``network``: a scale, and whole numbers as text."""
    for array in network.get_weights():
        bits = 8 if array.size > 100_000 else 16
        scale = float(np.abs(array).max()) / (2 ** (bits - 1) - 1) or 1.0
        whole = zlib.compress(np.rint(array / scale).astype(f"int{bits}"), 9)
        yield {"bits": bits, "scale": scale, "bytes": base64.b64encode(whole).decode()}


def show_pad(networks):
    """Display the pad for ``networks``, a dict by name; where scripts do not run, its picture."""
    files = [FOLDER / name for name in ("pad.css", "network.js", "pad.js")]
    css, network, pad = [file.read_text() for file in files]
    picture = base64.b64encode((FOLDER / "pad.png").read_bytes()).decode()
    weights = {name: [*pack(each)] for name, each in networks.items()}  # its repr is JavaScript
    make = f"makePad(document.currentScript.parentElement.firstElementChild, {css!r}, {weights})"
    alt = "A drawing pad with a digit moved by four pixels, and what both networks read in it."
    html = f'<div><img alt="{alt}" src="data:image/png;base64,{picture}"></div>'
    html += f"<script>(() => {{{network}{pad}{make}}})()</script>"
    display({"text/html": html, "text/plain": alt}, raw=True)
