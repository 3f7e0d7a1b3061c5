"""Samples from a file of `python -m jaxgan.export --format safetensors`, with PyTorch.

python torch_reader.py export.safetensors samples.pt
"""

import json
import sys

import torch
from safetensors import safe_open
from torch.nn import functional


def generate(path, latents, labels=None):
    """Returns the samples of latents `[n, latent_size]`; labels `[n]` for a conditional GAN."""
    with safe_open(path, "pt") as file:
        layers = json.loads(file.metadata()["about"])["layers"]
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    x = latents
    for layer in layers:
        a = {k: arrays.get(v, v) for k, v in layer.items() if k != "shape"}
        match layer["op"]:
            case "append_class":
                x = torch.cat([x, a["table"][labels]], dim=1)
            case "dense":
                x = x @ a["kernel"]
            case "conv_transpose":
                kernel = a["kernel"].permute(3, 2, 0, 1)
                images = functional.conv_transpose2d(x.permute(0, 3, 1, 2), kernel, None, 2, 1)
                x = images.permute(0, 2, 3, 1)
            case "batch_norm":
                deviation = torch.sqrt(a["var"] + a["epsilon"])
                x = (x - a["mean"]) / deviation * a["scale"] + a["offset"]
            case "relu":
                x = functional.relu(x)
            case "tanh":
                x = torch.tanh(x)
            case "reshape":
                x = x.reshape(-1, *layer["shape"])
            case "scale":
                x = x * a["deviation"] + a["mean"]
        x = x if a.get("bias") is None else x + a["bias"]
    return x


if __name__ == "__main__":
    with safe_open(sys.argv[1], "pt") as file:
        about = json.loads(file.metadata()["about"])
    latents = torch.randn(64, about["latent_size"], generator=torch.Generator().manual_seed(0))
    torch.save(
        generate(sys.argv[1], latents, torch.arange(64) % (about["num_classes"] or 1)), sys.argv[2]
    )
