"""A model of the user's own: it answers by the strongest of red, green and blue."""

import torch
from torchvision.transforms.v2.functional import pil_to_tensor

NAMES = ["black swan", "flamingo", "ice bear"]  # of the animals of noise_photos, in ImageNet's order


def brightness():
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 3))
    with torch.no_grad():
        network[2].weight.copy_(torch.eye(3))
        network[2].bias.zero_()
    return network, lambda image: pil_to_tensor(image.resize((8, 8))).float() / 255, NAMES
