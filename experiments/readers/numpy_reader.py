"""Samples from a file of `python -m jaxgan.export --format safetensors`, without JAX.

python numpy_reader.py export.safetensors samples.npy
"""

import json
import sys

import numpy as np
from safetensors import safe_open


def conv_transpose(x, kernel):
    """Returns images twice as high and wide: 4x4 kernels with stride 2, a pixel cut off around."""
    n, h, w, _ = x.shape
    whole = np.zeros((n, 2 * h + 2, 2 * w + 2, kernel.shape[2]), x.dtype)
    for i in range(4):
        for j in range(4):
            whole[:, i : i + 2 * h : 2, j : j + 2 * w : 2] += x @ kernel[i, j].T
    return whole[:, 1:-1, 1:-1]


def generate(path, latents, labels=None):
    """Returns the samples of latents `[n, latent_size]`; labels `[n]` for a conditional GAN."""
    with safe_open(path, "numpy") as file:
        layers = json.loads(file.metadata()["about"])["layers"]
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    x = latents
    for layer in layers:
        a = {k: arrays.get(v, v) for k, v in layer.items() if k != "shape"}
        match layer["op"]:
            case "append_class":
                x = np.concatenate([x, a["table"][labels]], axis=1)
            case "dense":
                x = x @ a["kernel"]
            case "conv_transpose":
                x = conv_transpose(x, a["kernel"])
            case "batch_norm":
                x = (x - a["mean"]) / np.sqrt(a["var"] + a["epsilon"]) * a["scale"] + a["offset"]
            case "relu":
                x = np.maximum(x, 0)
            case "tanh":
                x = np.tanh(x)
            case "reshape":
                x = x.reshape(-1, *layer["shape"])
            case "scale":
                x = x * a["deviation"] + a["mean"]
        x = x if a.get("bias") is None else x + a["bias"]
    return x


if __name__ == "__main__":
    with safe_open(sys.argv[1], "numpy") as file:
        about = json.loads(file.metadata()["about"])
    latents = np.random.default_rng(0).standard_normal((64, about["latent_size"]), np.float32)
    labels = np.arange(64) % (about["num_classes"] or 1)
    np.save(sys.argv[2], generate(sys.argv[1], latents, labels))
