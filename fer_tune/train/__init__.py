"""Training: configuration, inputs, augmentation, loss, step, loop. Its modules import torch."""
