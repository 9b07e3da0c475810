"""A cell of a grid that tells its GPU; other processes import this module by its name."""

import os
import time


def gpu_of(_cell, _checkpoint):
    time.sleep(0.5)
    return {"gpu": os.environ["CUDA_VISIBLE_DEVICES"]}
