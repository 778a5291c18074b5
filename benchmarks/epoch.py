"""Where the time of an epoch goes: build/bench/bin/python benchmarks/epoch.py.

Prints milliseconds for the parts of one training step of the notebook's Part III, each the median
of several repetitions.
"""

import time
from statistics import median

from recipes import run_cells

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


def main(**parameters):
    names = run_cells("train-augmented", EPOCHS=2, **parameters)
    import keras
    import tensorflow as tf

    model = names["robust"]
    data = names["make_batches"](1, names["augment"])
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

    parts = milliseconds({
        "first": learn_with(model.layers[:2]),
        "second": learn_with(model.layers[:4]),
        "step": lambda: learn((images, labels)),
        "augmentation": lambda: augment(images, labels),
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


if __name__ == "__main__":
    main()
