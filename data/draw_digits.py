"""Draw the pictures in data/digits/ again, from a seed, as data/README.md describes: digits in many
hands, pens and lights.
"""

import re
import sys
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.interpolate import make_interp_spline

# Digits in several hands, split by ";", and letters and doodles. Strokes are split by "|" and go
# through points x,y in a square of 100, y downwards. "-" starts straight lines, "~" a smooth curve.
TEXT = """
0: ~55,2 25,12 12,50 25,90 52,98 80,85 88,48 75,12 50,2; ~30,8 12,40 20,85 50,98 82,80 86,40 62,4
  34,6; ~70,10 48,2 24,20 14,55 26,92 55,97 80,72 84,36 66,8 56,14
1: -50,0 50,100; -28,25 52,2 52,98; -30,22 52,2 52,98 -30,98 76,98; -58,0 42,100
2: ~15,25 30,5 60,2 82,22 70,52 40,78 15,97 -15,97 88,97; ~18,22 45,2 78,12 78,40 48,72 22,92 14,84
  30,78 55,92 90,94; ~20,20 50,3 78,20 70,48 18,96 -18,96 86,90
3: ~16,12 48,2 78,16 70,40 40,48 -40,48 41,48 ~40,48 76,56 84,80 55,98 14,90; -16,4 82,4 42,42
  ~42,42 76,50 86,74 62,96 16,92; ~18,14 50,1 76,20 62,42 44,47 72,55 80,78 56,98 16,86
4: -60,0 12,66 92,66 |-68,30 68,100; -22,2 18,55 84,55 |-72,5 72,100; -66,100 66,0 10,70 90,70;
  ~20,5 16,48 40,58 78,50 |-80,2 74,100
5: -82,3 28,3 24,44 ~24,44 56,36 84,56 80,84 48,98 14,88; -26,4 22,46 ~22,46 55,38 84,60 74,90 44,98
  14,86 |-30,4 84,2; ~80,4 34,4 24,42 60,42 82,64 66,94 16,92
6: ~72,4 40,18 18,58 26,92 58,97 80,76 64,54 36,58 20,76; ~62,0 28,40 18,76 40,98 72,90 78,66 54,52
  28,66 22,80; ~84,14 60,2 32,20 16,60 30,94 64,96 82,70 60,50 30,60 20,72
7: -12,4 86,4 42,100; -12,4 86,4 42,100 |-34,50 78,50; -12,18 14,4 86,4 ~86,4 58,46 46,100; ~10,10
  34,4 84,6 62,40 40,100 |~38,54 54,48 74,52
8: ~72,14 44,2 22,20 40,44 72,64 78,88 48,98 22,84 34,60 66,40 76,18 62,5; ~50,2 24,16 30,42 50,48
  72,40 76,16 50,2 |~50,48 20,62 22,90 50,98 80,88 78,60 50,48; ~80,12 50,1 24,18 46,44 76,70 60,96
  28,92 22,70 50,46 84,10
9: ~78,22 50,3 22,20 26,46 54,52 76,30 -78,16 76,100; ~76,28 56,2 24,14 24,44 52,54 76,30 ~76,30
  74,64 44,98 18,90; ~80,10 48,4 20,28 34,52 66,44 80,12 ~80,12 72,60 54,100
A: -10,100 50,0 90,100 |-26,62 76,62
E: -80,2 16,2 16,98 84,98 |-16,50 70,50
H: -14,0 14,100 |-86,0 86,100 |-14,50 86,50
K: -16,0 16,100 |-84,0 16,54 86,100
M: -8,100 20,0 50,70 80,0 92,100
N: -14,100 14,0 86,100 86,0
R: -16,100 16,0 ~16,0 76,6 78,40 16,50 -16,50 86,100
T: -6,3 94,3 |-50,3 50,100
W: -4,0 26,100 50,30 74,100 96,0
X: -10,0 90,100 |-90,0 10,100
star: -50,0 78,98 4,36 96,36 22,98 50,0
house: -12,98 12,42 50,2 88,42 88,98 12,98 |-40,98 40,64 62,64 62,98
face: ~50,0 8,20 2,56 24,92 50,98 78,90 97,56 90,18 50,0 |-32,32 36,42 |-66,32 62,42 |~26,66 50,80
  76,66
waves: ~0,20 20,6 36,34 54,8 72,34 96,12 |~0,56 20,42 36,70 54,44 72,70 96,50 |~2,90 20,78 36,99
  54,80 72,99 96,86
spiral: ~50,50 58,44 62,54 50,64 36,54 40,34 62,28 80,48 74,76 44,86 16,66 18,26 52,4 92,20 99,60
arrow: -2,50 98,50 |-64,18 98,50 64,84
hash: -34,0 28,100 |-70,0 64,100 |-6,32 96,32 |-4,68 92,68
"""
ENTRIES = [entry.split(": ") for entry in re.split(r"\n(?! )", TEXT.strip())]
HANDS = {int(name): text.split(";") for name, text in ENTRIES if name.isdigit()}
OTHERS = {name: text for name, text in ENTRIES if not name.isdigit()}


def write(rng, text, tremble=3.5):
    """Return strokes, arrays (n, 2) centred on 0 and of extent 1, as written by a hand that
    trembles, leans and turns. Equal points stay equal.
    """
    names = list(dict.fromkeys(re.findall(r"\d+,\d+", text)))
    exact = np.array([name.split(",") for name in names], float)
    place = dict(zip(names, exact + rng.normal(0, tremble, exact.shape)))
    strokes = []
    for stroke in text.split("|"):
        pieces = [
            trace(kind, np.array([place[name] for name in points.split()]))
            for kind, points in re.findall("([-~])([^-~]+)", stroke)
        ]
        strokes.append(np.concatenate(pieces) - 50)
    turn, lean, width = rng.normal(0, 0.1), rng.normal(0.1, 0.15), rng.uniform(0.55, 0.95)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    strokes = [stroke @ (rotation @ [[width, -lean], [0, 1]]).T for stroke in strokes]
    points = np.concatenate(strokes)
    low, high = points.min(axis=0), points.max(axis=0)
    return [(stroke - (low + high) / 2) / max(high - low) for stroke in strokes]


def trace(kind, points):
    """Return close points through ``points`` (n, 2): straight ("-") or as a spline ("~")."""
    length = np.r_[0, np.cumsum(np.hypot(*np.diff(points, axis=0).T))]
    curve = make_interp_spline(length, points, k=1 if kind == "-" else min(3, len(points) - 1))
    return curve(np.linspace(0, length[-1], 60))


def ink(rng, text, size, height, pen):
    """Return the ink, 0 to 1, of ``text`` written into an array of ``size`` (rows, columns).

    ``height`` of the digit and width of the ``pen`` are shares of the smaller side.
    """
    rows, columns = size
    fine = 4 if max(size) < 1_000 else 1
    side = min(size) * fine
    room = np.maximum(np.array([columns, rows]) * fine - (height + pen) * side - 2 * fine, 0) / 2
    centre = np.array([columns, rows]) * fine / 2 + rng.uniform(-0.8, 0.8, 2) * room
    picture = Image.new("L", (columns * fine, rows * fine))
    draw, radius = ImageDraw.Draw(picture), pen * side / 2
    for stroke in write(rng, text):
        stroke = stroke * height * side + centre
        draw.line([tuple(point) for point in stroke], fill=255, width=max(1, round(2 * radius)))
        for x, y in stroke:
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=255)
    return np.asarray(picture.resize((columns, rows), Image.Resampling.BOX)) / 255


def grey(values):
    """Return ``values``, 0 to 1, as a picture."""
    return Image.fromarray(np.uint8(255 * np.clip(values, 0, 1)))


def pencil(rng, text, side=28):
    """The smallest canvas and a pencil of one pixel, without anti-aliasing; black on white or the
    other way round.
    """
    height = rng.uniform(12, 26)
    centre = 13.5 + rng.uniform(-1, 1, 2) * (27 - height) / 2
    picture = Image.new("L", (side, side))
    for stroke in write(rng, text):
        stroke = np.round(stroke * height + centre)[:: rng.integers(1, 4)]
        ImageDraw.Draw(picture).line([tuple(point) for point in stroke], fill=255)
    return grey(np.asarray(picture) / 255 if rng.random() < 0.5 else 1 - np.asarray(picture) / 255)


def paint(rng, text):
    """A paint program: any canvas, pen and place, and any two tones. Equal tones stand for ink on a
    transparent canvas, where the file says black.
    """
    height = rng.uniform(0.25, 0.85)
    layer = ink(rng, text, rng.integers(64, 400, 2), height, height * rng.uniform(0.02, 0.15))
    tones = [(1, 0), (0, 1), (1, 0.3), (0.9, 0.45), (0.2, 0.9), (0.5, 1), (0.5, 0), (0, 0), (1, 1)]
    paper, pen = tones[rng.integers(9)]
    if paper == pen:
        return Image.merge("LA", [grey(pen * (layer > 0)), grey(layer)])
    return grey(paper + (pen - paper) * layer)


def towards(turn, x, y):
    """Return how far the points ``x``, ``y`` are in the direction ``turn``, in radians."""
    return x * np.cos(turn) + y * np.sin(turn)


def photo(rng, text, kind, size=None):
    """A photo, blurred and noisy. A shadow with an edge lies on a pen's "paper", on a board with
    "chalk", and, mild, on a thin pencil's "squares". Or the light is a "flash", a bright spot, or
    falls off to the corners, a "vignette"; or the paper ends at a dark "table".
    """
    rows, columns = size or rng.integers(160, 420, 2)
    side, height = min(rows, columns), rng.uniform(0.4, 0.8)
    y, x = np.mgrid[:rows, :columns] / side
    picture = np.ones((rows, columns, 3)) * rng.uniform(0.88, 0.98, 3)
    pens = [[0.1, 0.12, 0.4], [0.1, 0.1, 0.1], [0.35, 0.35, 0.37], [0.6, 0.1, 0.1]]
    pen, width = pens[rng.integers(4)], height * rng.uniform(0.04, 0.12)
    if kind == "chalk":
        wiped = ndimage.zoom(rng.random((4, 4)), (rows / 4, columns / 4), order=1)[:rows, :columns]
        picture, pen = [0.13, 0.2, 0.16] + 0.2 * wiped[..., None], [0.9, 0.9, 0.85]
    if kind == "squares":  # of 5 mm, with lines of 0.2 mm; the pencil is 0.6 mm wide
        pen, width, turn = pens[2], 0.012, rng.normal(0, 0.05)
        cells = np.array([towards(turn, x, y), towards(turn + np.pi / 2, x, y)]) / 0.1
        line = np.clip((0.02 - np.abs(cells % 1 - 0.5).min(axis=0)) * 0.1 * side + 0.5, 0, 1)
        tones = np.array([[0.6, 0.72, 0.9], [0.65, 0.65, 0.7], [0.55, 0.75, 0.75]])
        picture += line[..., None] * rng.uniform(0.4, 1) * (tones[rng.integers(3)] - picture)
    layer = ink(rng, text, (rows, columns), height, width)
    picture += layer[..., None] * rng.uniform(0.85, 1) * (pen - picture)
    if kind == "table":
        place = towards(rng.integers(4) * np.pi / 2 + rng.normal(0, 0.05), x, y)
        written = place[layer > 0].max()
        edge = written + rng.uniform(0.2, 0.6) * (place.max() - written)
        picture[place > edge] = rng.uniform([0.2, 0.12, 0.05], [0.45, 0.3, 0.2])
    right, down = rng.uniform(-0.25, 0.25, 2) * (kind == "flash")
    distance = (x - x.mean() - right) ** 2 + (y - y.mean() - down) ** 2
    if kind == "flash":
        around, wide = rng.uniform(0.5, 0.75), rng.uniform(0.2, 0.4)
        light = around + (1.1 - around) * np.exp(-distance / (2 * wide**2))
    elif kind == "vignette":
        light = 1 - rng.uniform(0.4, 0.75) * distance / distance.max()
    else:
        place = towards(rng.uniform(0, 2 * np.pi), x, y)
        edge, soft = np.quantile(place, rng.uniform(0.2, 0.8)), rng.uniform(0.02, 0.2)
        dark = rng.uniform(0.1, 0.25 if kind == "squares" else 0.5)
        light = 1 - dark / (1 + np.exp((edge - place) / soft)) - rng.uniform(0, 0.5) * distance
    picture = ndimage.gaussian_filter(picture * light[..., None], (0.002 * side, 0.002 * side, 0))
    return grey(picture + rng.normal(0, rng.uniform(0.005, 0.025), (rows, columns, 1)))


PHOTOS = ("chalk", "paper", "squares", "flash", "vignette", "table")
STYLES = {"pencil": pencil, "paint": paint}
STYLES |= {kind: partial(photo, kind=kind) for kind in PHOTOS}


def draw_all(folder, seed=20):
    """Write one picture of each digit in each style to ``folder``, named digit_style, two of 12
    megapixels, and no_...: letters and doodles.
    """
    rng = np.random.default_rng(seed)
    for style, draw in STYLES.items():
        for digit, hands in HANDS.items():
            picture = draw(rng, hands[rng.integers(len(hands))])
            ending = "jpg" if style in PHOTOS else "png"
            options = {"quality": 70} if ending == "jpg" else {"optimize": True}
            picture.save(folder / f"{digit}_{style}.{ending}", **options)
    for digit in (3, 8):
        small = photo(rng, HANDS[digit][0], "squares", (600, 800))
        large = small.resize((4_000, 3_000), Image.Resampling.BICUBIC)
        large.save(folder / f"{digit}_large.jpg", quality=40)
    for name, text in OTHERS.items():
        paint(rng, text).save(folder / f"no_{name}.png", optimize=True)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("digits")
    target.mkdir(exist_ok=True)
    draw_all(target)
