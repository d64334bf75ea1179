"""Training: configuration, batches, augmentation, the step, the loop. Torch is imported by its modules, not here."""
