"""Imperfect pictures: eighteen kinds of corruption, each in three severities, to measure robustness
with.

Fifteen kinds are those that MNIST-C chose (Mu and Gilmer 2019, https://arxiv.org/abs/1906.02337),
made here with NumPy and SciPy alone; low contrast, thin and thick strokes are added. Severity 2 is
meant to be about as hard as theirs. All functions take one float image (28, 28), 0 to 1, white ink
on black, a severity ``s`` of 0, 1 or 2 (one less than its name) and a NumPy random generator, and
return an image of the same kind.
"""

import numpy as np
from scipy import ndimage

ROWS, COLUMNS = np.mgrid[:28, :28]


def about_centre(image, matrix, shift=(0, 0)):
    """Return ``image`` read at ``matrix`` @ p + ``shift`` for each place p, from the centre."""
    matrix, centre = np.asarray(matrix, float), np.array([13.5, 13.5])
    return ndimage.affine_transform(image, matrix, centre - matrix @ centre + shift, order=1)


def stroke(image, points, gain=1.0):
    """Return ``image`` with a soft line through ``points`` (row, column), three pixels wide."""
    for start, end in zip(points, points[1:]):
        along = end - start
        part = ((ROWS - start[0]) * along[0] + (COLUMNS - start[1]) * along[1]) / (along @ along)
        part = np.clip(part, 0, 1)
        distance = np.hypot(ROWS - start[0] - part * along[0], COLUMNS - start[1] - part * along[1])
        image = np.maximum(image, gain * np.clip(1.2 - distance / 1.5, 0, 1))
    return image


def impulse_noise(image, s, rng):
    chance, dice = [0.08, 0.17, 0.22][s], rng.random(image.shape)
    return np.where(dice < chance / 2, 0, np.where(dice > 1 - chance / 2, 1, image))


def glass_blur(image, s, rng):
    image = ndimage.gaussian_filter(image, [0.6, 0.7, 0.8][s])
    for row, column in list(np.ndindex(26, 26))[::-1] * 2:
        if rng.random() < 0.5:
            here = row + 1, column + 1
            there = row + rng.integers(0, 2), column + rng.integers(0, 2)
            image[here], image[there] = image[there], image[here]
    return ndimage.gaussian_filter(image, [0.6, 0.7, 0.8][s])


def motion_blur(image, s, rng):
    steps, angle = np.linspace(0, [5, 7, 9][s], 12), rng.uniform(-np.pi / 4, np.pi / 4)
    moved = [ndimage.shift(image, (n * np.sin(angle), n * np.cos(angle)), order=1) for n in steps]
    return np.average(moved, axis=0, weights=np.exp(-(steps**2) / 18))


def rotate(image, s, rng):
    angle = rng.choice([-1, 1]) * np.deg2rad([15, 23, 30][s])
    return about_centre(image, [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def fog(image, s, rng):
    smooth = {"order": 1, "mode": "nearest", "grid_mode": True}
    grids = [ndimage.zoom(rng.random((n, n)), 28 / n, **smooth) / n for n in (2, 4, 7, 14)]
    cloud, thickness = sum(grids) - sum(grids).min(), [0.6, 1.0, 1.5][s]
    return (image + thickness * cloud / cloud.max()) / (1 + thickness / 2)


def spatter(image, s, rng):
    drops = ndimage.gaussian_filter(rng.normal(size=image.shape), 1.2)
    drops = drops > np.quantile(drops, [0.94, 0.9, 0.86][s])
    return np.maximum(image, ndimage.gaussian_filter(drops * 1.0, 0.5))


def dotted_line(image, s, rng):
    ends = np.array([[rng.uniform(0, 27), 0], [rng.uniform(0, 27), 27]])
    line = stroke(np.zeros_like(image), ends, [0.6, 1.0, 1.3][s])
    return np.maximum(image, np.where(COLUMNS // 2 % 2, line, 0))


def zigzag(image, s, rng):
    columns = np.arange(2, 27, 4)
    middle = rng.uniform(2, 25) + rng.uniform(-5, 5) * (columns - 2) / 23
    rows = middle + 2 * (-1) ** np.arange(len(columns))
    return stroke(image, np.column_stack([rows, columns]), [0.5, 0.8, 1.0][s])


def edges(image, s, rng):
    smooth = ndimage.gaussian_filter(image, [0.7, 1.0, 1.2][s])
    slope = np.hypot(ndimage.sobel(smooth, 0), ndimage.sobel(smooth, 1))
    along, across = (ndimage.maximum_filter(slope, size=size) for size in [(1, 3), (3, 1)])
    return (((slope >= along) | (slope >= across)) & (slope > 0.6)) * 1.0


def thin(image, s, rng):
    eroded = ndimage.grey_erosion(image, footprint=ndimage.generate_binary_structure(2, 1))
    return image + [0.5, 0.75, 1.0][s] * (eroded - image)


SHEAR, SHIFT, GAIN = [0.25, 0.4, 0.5], [2, 3, 4], [0.5, 1.0, 1.0]
KINDS = {  # their order gives each its own random numbers
    "shot noise": lambda x, s, rng: rng.poisson(x * [12, 3, 2][s]) / [12, 3, 2][s],
    "impulse noise": impulse_noise,
    "glass blur": glass_blur,
    "motion blur": motion_blur,
    "shear": lambda x, s, rng: about_centre(x, [[1, 0], [rng.choice([-1, 1]) * SHEAR[s], 1]]),
    "scale": lambda x, s, rng: about_centre(x, np.eye(2) * [1.25, 1.43, 1.6][s]),
    "rotate": rotate,
    "translate": lambda x, s, rng: about_centre(x, np.eye(2), rng.choice([-1, 1], 2) * SHIFT[s]),
    "brightness": lambda x, s, rng: x + [0.3, 0.5, 0.6][s],
    "low contrast": lambda x, s, rng: 0.5 + (x - 0.5) * [0.5, 0.3, 0.2][s],
    "stripe": lambda x, s, rng: np.where(abs(COLUMNS - 13.5) > [8.5, 6.5, 5.5][s], 1 - x, x),
    "fog": fog,
    "spatter": spatter,
    "dotted line": dotted_line,
    "zigzag": zigzag,
    "edges": edges,
    "thin": thin,
    "thick": lambda x, s, rng: x + GAIN[s] * (ndimage.grey_dilation(x, size=2 + s) - x),
}


def corrupt(images, kind, severity, seed=0):
    """Return float32 ``images`` (n, 28, 28, 1), 0 to 1, each corrupted by ``kind``, a name in
    KINDS, in its own way. KeyError if ``severity`` is not 1, 2 or 3.
    """
    s = {1: 0, 2: 1, 3: 2}[severity]
    rng = np.random.default_rng([seed, severity, list(KINDS).index(kind)])
    corrupted = [KINDS[kind](x.squeeze().astype(float), s, rng) for x in images]
    return np.clip(corrupted, 0, 1).astype("float32")[..., np.newaxis]
