"""A model of the user's own: it answers by the strongest of red, green and blue.

It does without torchvision, which takes seconds to import.
"""

import os
import time
from pathlib import Path

import numpy as np
import torch

NAMES = ["black swan", "flamingo", "ice bear"]  # of the animals of noise_photos, in ImageNet's order


def brightness():
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 3))
    with torch.no_grad():
        network[2].weight.copy_(torch.eye(3))
        network[2].bias.zero_()
    return network, pixels, NAMES


def slowly():
    """The same, and each photo takes a while; the file PIDS lists which process prepared each.

    As long as the file HOLD is there, if it is named, no photo is ready.
    """
    network, _, names = brightness()
    return network, _log_and_wait, names


def thousand():
    """The same among all classes of ImageNet."""
    from counterground.photos import find_imagenet_index, imagenet_wnids

    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 1000))
    with torch.no_grad():
        network[2].weight.zero_()
        network[2].bias.fill_(-1)
        for place, name in enumerate(NAMES):
            network[2].weight[find_imagenet_index(name), place] = 2
    return network, pixels, list(imagenet_wnids())


def _log_and_wait(image):
    with Path(os.environ["PIDS"]).open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(0.05)
    while "HOLD" in os.environ and Path(os.environ["HOLD"]).exists():
        time.sleep(0.01)
    return pixels(image)


def pixels(image):
    return torch.from_numpy(np.array(image.resize((8, 8)))).permute(2, 0, 1).float() / 255
