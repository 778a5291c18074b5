"""Where the time of an epoch goes: build/bench/bin/python benchmarks/epoch.py.

Prints milliseconds for the parts of one training step of the notebook's Part III, each the median
of several repetitions, and how near the network's arithmetic comes to a large matrix product's.
"""

import contextlib
import time
from statistics import median

import numpy as np
from recipes import NOTEBOOK, training_code

STEPS = 20  # in each repetition


def milliseconds(functions, repetitions=7):
    """Return the median time of one of STEPS calls in a row of each of ``functions``, a dict.

    They take turns, so that a slower moment of the machine does not hit one of them alone.
    """
    times = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(repetitions):
        for name, function in functions.items():
            start = time.perf_counter()
            for _ in range(STEPS):
                function()
            times[name].append(1000 * (time.perf_counter() - start) / STEPS)
    return {name: median(durations) for name, durations in times.items()}


def train(**parameters):
    """Execute the notebook's cells up to Part III's training; return their names."""
    names = {}
    with contextlib.chdir(NOTEBOOK.parent):
        for tags, source in training_code("train-augmented"):
            exec(source, names)
            if "parameters" in tags:
                names.update(parameters)
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


def main(**parameters):
    names = train(EPOCHS=2, **parameters)
    import keras
    import tensorflow as tf

    model = names["robust"]
    data = tf.data.Dataset.from_tensor_slices((names["x_train"], names["y_train"]))
    data = data.shuffle(len(data)).batch(names["BATCH_SIZE"]).map(names["augment"]).prefetch(2)
    images, labels = next(iter(data))
    learn = tf.function(model.train_step)
    augment = tf.function(names["augment"])

    def learn_with(layers):
        """Return a training step of ``layers`` alone, the first of the network's."""
        part = keras.Sequential([keras.Input((28, 28, 1)), *layers])

        @tf.function
        def run():
            with tf.GradientTape() as tape:
                total = tf.reduce_sum(part(images, training=True))
            return tape.gradient(total, part.trainable_variables)

        return run

    square = tf.random.normal((2048, 2048))
    parts = milliseconds({
        "first": learn_with(model.layers[:2]),
        "second": learn_with(model.layers[:4]),
        "step": lambda: learn((images, labels)),
        "augmentation": lambda: augment(images, labels),
        "product": tf.function(lambda: tf.matmul(square, square)),
    })
    start = time.perf_counter()
    model.evaluate(names["x_val"], names["y_val"], verbose=0)
    validation = 1000 * (time.perf_counter() - start) / len(data)
    start = time.perf_counter()
    model.fit(data, epochs=1, shuffle=False, verbose=0)
    whole = 1000 * (time.perf_counter() - start) / len(data)
    for name, duration in {
        "first convolution and pooling": parts["first"],
        "second convolution and pooling": parts["second"] - parts["first"],
        "dense layers, loss and Adam": parts["step"] - parts["second"],
        "all of these": parts["step"],
        "augmentation, on its own": parts["augmentation"],
        "all of it in fit, per step": whole,
        "validation, spread over the steps": validation,
    }.items():
        print(f"{name:35} {duration:5.1f} ms")
    speed = 2 * len(images) * multiplications(model) / parts["step"] / 1e6
    print(
        f"{speed:.0f} GFLOP/s, and {2 * 2048**3 / parts['product'] / 1e6:.0f} in a matrix product"
    )


if __name__ == "__main__":
    main()
