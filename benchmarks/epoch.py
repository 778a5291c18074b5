"""Where the time of an epoch goes: build/bench/bin/python benchmarks/epoch.py.

Prints milliseconds for the parts of one training step of the notebook's Part III, each the median
of several repetitions.
"""

from functools import partial
from statistics import median
from timeit import timeit

from recipes import run_cells


def main(**parameters):
    names = run_cells("train-augmented", EPOCHS=2, **parameters)
    import keras
    import tensorflow as tf

    model, data = names["robust"], names["make_batches"](1, names["augment"])
    images, labels = next(iter(data))

    def learn_with(part):  # a training step of some layers alone
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(part(images, training=True))
        return tape.gradient(total, part.trainable_variables)

    first, both = (keras.Sequential([*model.inputs, *model.layers[:n]]) for n in (2, 4))
    steps = [(learn_with, first), (learn_with, both), (model.train_step, (images, labels))]
    steps.append((lambda batch: names["augment"](*batch), (images, labels)))
    parts = [partial(tf.function(step), of) for step, of in steps]
    # They take turns, so that a slower moment of the machine does not hit one of them alone. The
    # first turn also compiles them, and is left out.
    turns = [[timeit(part, number=20) for part in parts] for _ in range(8)]
    first, second, step, changed = (1000 * median(times[1:]) / 20 for times in zip(*turns))
    validate = partial(model.evaluate, names["x_val"], names["y_val"], batch_size=1_000, verbose=0)
    fit = partial(model.fit, data, epochs=1, shuffle=False, verbose=0)
    print(f"{first:5.1f} ms  first convolution and pooling")
    print(f"{second - first:5.1f} ms  second convolution and pooling")
    print(f"{step - second:5.1f} ms  dense layers, loss and Adam")
    print(f"{step:5.1f} ms  all of these")
    print(f"{changed:5.1f} ms  augmentation, on its own")
    print(f"{1000 * timeit(fit, number=1) / len(data):5.1f} ms  all of it in fit, per step")
    print(
        f"{1000 * timeit(validate, number=1) / len(data):5.1f} ms  validation, in each step's share"
    )


if __name__ == "__main__":
    main()
