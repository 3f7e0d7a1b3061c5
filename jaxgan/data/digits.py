"""The handwritten digits that are included in scikit-learn, without a download."""

import numpy as np


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Returns images, uint8 `[1797, 28, 28, 1]`, resized from 8x8, and labels, uint8 `[1797]`.

    They are the test split of the UCI data set "Optical recognition of handwritten digits".
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    bunch = load_digits()
    small = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    large = [np.asarray(Image.fromarray(image).resize((28, 28), Image.BICUBIC)) for image in small]
    return np.stack(large)[..., None], bunch.target.astype(np.uint8)
