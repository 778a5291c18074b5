"""Where the time of an epoch goes: build/bench/bin/python benchmarks/epoch.py.

Prints milliseconds for the parts of one training step of the notebook's Part III, each the median
of several repetitions.
"""

import time
from statistics import median

from recipes import run_cells

STEPS, REPETITIONS = 20, 7


def milliseconds(function, calls=1):
    """Return the time that ``function()`` takes, the mean of as many ``calls``."""
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return 1000 * (time.perf_counter() - start) / calls


def main(**parameters):
    names = run_cells("train-augmented", EPOCHS=2, **parameters)
    import keras
    import tensorflow as tf

    model, data = names["robust"], names["make_batches"](1, names["augment"])
    images, labels = next(iter(data))

    def learn_with(count):
        """Return a training step of the first ``count`` layers alone."""
        part = keras.Sequential([keras.Input((28, 28, 1)), *model.layers[:count]])

        @tf.function
        def step():
            with tf.GradientTape() as tape:
                total = tf.reduce_sum(part(images, training=True))
            return tape.gradient(total, part.trainable_variables)

        return step

    learn, augment = tf.function(model.train_step), tf.function(names["augment"])
    parts = [learn_with(2), learn_with(4), lambda: learn((images, labels))]
    parts += [lambda: augment(images, labels)]
    # They take turns, so that a slower moment of the machine does not hit one of them alone. The
    # first turn also compiles them, and is left out.
    turns = [[milliseconds(part, STEPS) for part in parts] for _ in range(1 + REPETITIONS)]
    first, second, step, changed = map(median, zip(*turns[1:]))
    validation = milliseconds(lambda: model.evaluate(names["x_val"], names["y_val"], verbose=0))
    whole = milliseconds(lambda: model.fit(data, epochs=1, shuffle=False, verbose=0))
    print(f"first convolution and pooling       {first:5.1f} ms")
    print(f"second convolution and pooling      {second - first:5.1f} ms")
    print(f"dense layers, loss and Adam         {step - second:5.1f} ms")
    print(f"all of these                        {step:5.1f} ms")
    print(f"augmentation, on its own            {changed:5.1f} ms")
    print(f"all of it in fit, per step          {whole / len(data):5.1f} ms")
    print(f"validation, spread over the steps   {validation / len(data):5.1f} ms")


if __name__ == "__main__":
    main()
