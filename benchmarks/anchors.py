"""The recipes that this project compares itself with, each written from its published description.

Each function trains on MNIST's 60,000 training images, given as uint8 arrays x (n, 28, 28) and y
(n,), with the int ``seed`` for ``epochs`` epochs, and returns a function that gives probabilities
(m, 10) for uint8 images (m, 28, 28), and the seconds that training took: from the arrays in memory
to trained weights, whatever the library does in between included.
"""

import time

import numpy as np


def keras_example(x, y, seed, epochs):
    """Train keras.io/examples/vision/mnist_convnet: 15 epochs of Adam, 10% held back."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    first = [layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D()]
    second = [layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D()]
    last = [layers.Flatten(), layers.Dropout(0.5), layers.Dense(10, activation="softmax")]
    model = keras.Sequential([keras.Input((28, 28, 1)), *first, *second, *last])
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    white = np.float32(255)
    images, labels = x[..., np.newaxis] / white, keras.utils.to_categorical(y, 10)
    start = time.perf_counter()
    model.fit(images, labels, batch_size=128, epochs=epochs, validation_split=0.1, verbose=0)
    seconds = time.perf_counter() - start
    return lambda x: model.predict(x[..., None] / white, batch_size=1_000, verbose=0), seconds


def pytorch_example(x, y, seed, epochs):
    """Train github.com/pytorch/examples, mnist: 14 epochs of Adadelta with a falling rate."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    first = [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)]
    last = [nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10)]
    model = nn.Sequential(*first, nn.Dropout(0.25), nn.Flatten(), *last)
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    steps = -(-len(x) // 64)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=steps, gamma=0.7)
    return fit_torch(model, optimizer, schedule, x, y, epochs, batch_size=64)


def train_mnist_fast(x, y, seed, epochs):
    """Train the last recipe of github.com/tuomaso/train_mnist_fast: one epoch, one-cycle Adam."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    first = [nn.Conv2d(1, 24, 5), nn.MaxPool2d(2), nn.ReLU()]
    second = [nn.Conv2d(24, 32, 3), nn.MaxPool2d(2), nn.ReLU()]
    last = [nn.Flatten(), nn.Linear(800, 256), nn.ReLU(), nn.Linear(256, 10)]
    model = nn.Sequential(*first, *second, *last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, betas=(0.7, 0.9))
    steps = epochs * -(-len(x) // 256)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1e-2, total_steps=steps, cycle_momentum=False
    )
    return fit_torch(model, optimizer, schedule, x, y, epochs, batch_size=256)


def fit_torch(model, optimizer, schedule, x, y, epochs, batch_size):
    """Train ``model`` on ``x`` and ``y`` with a step of ``schedule`` after each batch."""
    import torch
    from torch.nn.functional import cross_entropy

    def standardise(x):  # to mean 0 and deviation 1 on the training images; (n, 1, 28, 28)
        return (torch.from_numpy(x)[:, None].float() / 255 - 0.1307) / 0.3081

    start = time.perf_counter()
    images, labels = standardise(x), torch.from_numpy(y.astype("int64"))
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(batch_size):
            optimizer.zero_grad()
            cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    seconds = time.perf_counter() - start
    model.eval()

    def predict(x):
        with torch.no_grad():
            parts = [model(part).softmax(dim=1) for part in standardise(x).split(1_000)]
        return torch.cat(parts).numpy()

    return predict, seconds
