"""Where the time of an epoch goes: build/bench/bin/python benchmarks/epoch.py.

Prints milliseconds for the parts of one training step of the notebook's Part II, each the median of
several repetitions, and how near the network's arithmetic comes to a large matrix product's.
"""

import os
import time
from statistics import median

import numpy as np
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


def train_two_epochs():
    """Execute the notebook's cells up to Part II's training, two epochs; return their names."""
    os.chdir(NOTEBOOK.parent)
    names = {}
    for tags, source in training_code("train"):
        exec(source, names)
        if "parameters" in tags:
            names["EPOCHS"] = 2
    return names


def multiplications(model):
    """Return how many multiplications ``model`` takes for one image, forwards and backwards."""
    count, passes = 0, 2  # the first layer needs no gradient of its input
    for layer in model.layers:
        if layer.weights:
            places = np.prod(layer.output.shape[1:-1])  # 1 in a dense layer
            count += passes * np.prod(layer.kernel.shape) * places
            passes = 3
    return count


def main():
    names = train_two_epochs()
    import keras
    import tensorflow as tf

    model, data = names["robust"], names["train_data"]
    images, labels = next(iter(data))
    learn = tf.function(model.train_step)
    augment = tf.function(names["augment"])

    def learn_with(layers):
        """Return the time for ``layers`` alone, the first of the network's."""
        part = keras.Sequential([keras.Input((28, 28, 1)), *layers])

        @tf.function
        def run():
            with tf.GradientTape() as tape:
                total = tf.reduce_sum(part(images, training=True))
            return tape.gradient(total, part.trainable_variables)

        return milliseconds(run)

    first, second = learn_with(model.layers[:2]), learn_with(model.layers[:4])
    step = milliseconds(lambda: learn((images, labels)))
    start = time.perf_counter()
    model.evaluate(names["x_val"], names["y_val"], verbose=0)
    validation = 1000 * (time.perf_counter() - start) / len(data)
    start = time.perf_counter()
    model.fit(data, epochs=1, shuffle=False, verbose=0)
    whole = 1000 * (time.perf_counter() - start) / len(data)
    for name, duration in {
        "first convolution and pooling": first,
        "second convolution and pooling": second - first,
        "dense layers, loss and Adam": step - second,
        "all of these": step,
        "augmentation, on its own": milliseconds(lambda: augment(images, labels)),
        "all of it in fit, per step": whole,
        "validation, spread over the steps": validation,
    }.items():
        print(f"{name:35} {duration:5.1f} ms")

    square = tf.random.normal((2048, 2048))
    product = milliseconds(tf.function(lambda: tf.matmul(square, square)), repetitions=3)
    speed = 2 * len(images) * multiplications(model) / step / 1e6
    print(f"{speed:.0f} GFLOP/s, and {2 * 2048**3 / product / 1e6:.0f} in a matrix product")


if __name__ == "__main__":
    main()
