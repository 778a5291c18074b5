"""Where an epoch of the notebook's training goes: build/bench/bin/python benchmarks/epoch.py.

Prints a table of milliseconds for each part of a training step, each the median of several
repetitions, and compares them with what the processor does in a large matrix product.
"""

import time
from statistics import median

import pandas as pd
from recipes import NOTEBOOK, training_code

STEPS = 20  # in each repetition


def milliseconds(function, repetitions=5):
    """Return the median time of one of STEPS calls of ``function`` in a row, in milliseconds."""
    function()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        for _ in range(STEPS):
            function()
        times.append(1000 * (time.perf_counter() - start) / STEPS)
    return median(times)


def lesson():
    """Execute the notebook's cells up to Part II's training, for two epochs; return their names."""
    names = {}
    for tags, source in training_code("train"):
        exec(source, names)
        if "parameters" in tags:
            names["EPOCHS"] = 2
    return names


def main():
    import os

    os.chdir(NOTEBOOK.parent)
    names = lesson()
    import keras
    import tensorflow as tf

    model, x_val, y_val = names["robust"], names["x_val"], names["y_val"]
    batches = iter(names["train_data"].repeat())
    images, labels = next(batches)
    step = tf.function(model.train_step)
    learn = milliseconds(lambda: step((images, labels)))

    def up_to(n):
        """Return the time that the first ``n`` layers take, forwards and backwards."""
        part = keras.Sequential([keras.Input((28, 28, 1)), *model.layers[:n]])

        @tf.function
        def run():
            with tf.GradientTape() as tape:
                total = tf.reduce_sum(part(images, training=True))
            return tape.gradient(total, part.trainable_variables)

        return milliseconds(run)

    first, second = up_to(2), up_to(4)
    augment = tf.function(names["augment"])
    start = time.perf_counter()
    model.fit(names["train_data"], epochs=1, verbose=0)
    epoch = 1000 * (time.perf_counter() - start) / len(names["train_data"])
    start = time.perf_counter()
    model.evaluate(x_val, y_val, verbose=0)
    validation = 1000 * (time.perf_counter() - start) / len(names["train_data"])
    parts = {
        "first convolution and pooling": first,
        "second convolution and pooling": second - first,
        "dense layers, loss and Adam": learn - second,
        "augmentation, beside the training": milliseconds(lambda: augment(images, labels)),
        "a whole training step in `fit`": epoch,
        "validation, spread over the steps": validation,
    }
    print(pd.Series(parts, name="ms").round(1).to_string())

    square = tf.random.normal((2048, 2048))
    product = tf.function(lambda: tf.matmul(square, square))
    peak = 2 * 2048**3 / milliseconds(product, 3) / 1e6
    work = 0
    for layer in model.layers:
        if layer.weights:
            places = layer.output.shape[1:3] if "conv" in layer.name else (1, 1)
            work += 2 * 3 * layer.kernel.shape.num_elements() * places[0] * places[1]
    print(f"{len(images) * work / learn / 1e6:.0f} of {peak:.0f} GFLOP/s")


if __name__ == "__main__":
    main()
