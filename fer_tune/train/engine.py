"""One network on one device, trained epoch by epoch; on a GPU its step is captured once and replayed.

Hyperparameters are data: learning rates, decay, momentum, smoothing, dropout, averaging, clipping and class
weights lie in tensors that the step reads. The next trial of the same shape writes new numbers and draws new
weights in place; nothing is captured, built or allocated again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fer_tune.models import Family, FamilyConfig
from fer_tune.models.layers import count_parameters, initialise, write_dropout
from fer_tune.train.config import TrainConfig
from fer_tune.train.cuda_graphs import captured
from fer_tune.train.flat_parameters import FlatModel
from fer_tune.train.inputs import Inputs, as_input
from fer_tune.train.memory import out_of_memory
from fer_tune.train.metrics import confusion_matrix
from fer_tune.train.optimizer import Hyperparameters, Optimizer
from fer_tune.train.sampling import frequency_weights
from fer_tune.train.schedules import dropout_factor, learning_rates

HELD_BATCH = 1024
"""Images evaluated at once: past this a GPU gains nothing, and a CPU's caches lose."""
MOST_PARTS = 8
"""That a batch is divided into: three halvings."""
PAST_DECAY = 0.7
"""Of the moving average of a face's past predictions (Laine & Aila 2017 have 0.6, Liu et al. 2020 have 0.7)."""


@dataclass(frozen=True)
class Plan:
    """What an engine is built from."""

    family: Family
    shape: FamilyConfig
    batch_size: int
    optimizer: str
    distils: bool
    inputs: Inputs

    @property
    def network(self) -> tuple[Any, ...]:
        """Equal where memory depends on nothing but the batch size."""
        return self.family.name, self.shape.shape(), self.optimizer, id(self.inputs)

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal where one engine serves both."""
        return *self.network, self.batch_size, self.distils

    def images(self, parts: int) -> int:
        """How many images a part has at most."""
        return -(-min(self.batch_size, len(self.inputs.faces.labels)) // parts)

    def divisions(self) -> list[int]:
        """The numbers of parts that may be tried; a part has two images at least, since BatchNorm needs two."""
        divisions, whole = [1], self.images(1)
        while 2 * divisions[-1] <= MOST_PARTS and whole // (2 * divisions[-1]) >= 2:
            divisions.append(2 * divisions[-1])
        return divisions


@dataclass(frozen=True)
class Measured:
    """Sums of one epoch, read from the device at once: the training part, then the validation part."""

    train_loss: float
    train_accuracy: float
    val_loss: float
    confusion: list[list[float]]


class Engine:
    """Trains one shape of network; `begin` starts a trial, `train_epoch` and `measure` do one epoch each.

    Where memory is short, a step computes its gradient in several parts of the batch, one after another, and updates
    once: the same mean over the batch, but for BatchNorm, which sees a part at a time.

    Args:
        parts: how many; 1 is the whole batch at once.

    Attributes:
        steps_per_epoch: full batches in the training part; the few images left over change from epoch to epoch.
        logits: float32 [V, 7] of the last `measure`.
        notes: why the step was not captured, or is done in parts, if so.

    Raises:
        torch.OutOfMemoryError, RuntimeError: memory ran out, see `memory.out_of_memory`; of all methods.
    """

    def __init__(self, plan: Plan, parts: int = 1) -> None:
        inputs = plan.inputs
        faces, device = inputs.faces, inputs.images.device
        self.device = device
        self.faces = faces
        self.inputs = inputs
        self.batch_size = plan.images(1)
        self.steps_per_epoch = len(faces.labels) // self.batch_size
        self.parts = parts
        model = plan.family.build(plan.shape)
        self.parameters = count_parameters(model)
        slow_down_statistics(model, parts)
        self.flat = FlatModel(model, device, inputs.dtype)
        self.hyper = Hyperparameters(device)
        self.optimizer = Optimizer(plan.optimizer, self.flat, self.hyper)
        self.logits = torch.zeros(len(inputs.held), 7, device=device)

        self._batch = torch.arange(self.batch_size, device=device).tensor_split(parts)
        self._cursor = torch.zeros(1, dtype=torch.int64, device=device)
        self._lr = torch.zeros(self.steps_per_epoch, device=device)
        self._loss_weights = torch.ones(7, device=device)
        self._past = torch.zeros(len(faces.labels), 7, device=device) if plan.distils else None
        self._trust = torch.zeros((), device=device)
        self._sums = torch.zeros(2 + 1 + 7 * 7, device=device)
        self._train_sums, self._held_sums = self._sums[:2], self._sums[2:]
        self._seen = torch.zeros(len(self._sums), pin_memory=device.type == "cuda")
        self._prepared: int | None = None
        self._beside = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._backup = torch.empty_like(self.flat.values)
        self.notes: tuple[str, ...] = (_in_parts(self._batch),) if parts > 1 else ()
        self._replay_step: Callable[[], None] | None = None
        self._replay_evaluation: Callable[[], None] | None = None
        if device.type == "cuda":
            self._capture()

    # -- a trial ------------------------------------------------------------------------------------------

    def begin(self, config: TrainConfig, shape: Any, seed: int, epochs: int) -> None:
        """Draws new weights and takes over a trial's hyperparameters."""
        self.config, self.shape, self.seed, self.epochs = config, shape, seed, epochs
        self._prepared = None
        self.flat.model.train()
        torch.manual_seed(seed)
        initialise(self.flat.model)
        self.flat.refresh_values()
        self.hyper.write(config)
        self.optimizer.reset()
        if self._past is not None:
            self._past.copy_(functional.one_hot(self.faces.labels, 7))
        rates = learning_rates(config, epochs * self.steps_per_epoch).view(epochs, -1)
        self._last_rates: list[float] = rates[:, -1].tolist()
        self._rates = rates.to(self.device)  # all at once: each copy from the host waits for what the GPU has to do
        natural = frequency_weights(self.faces.labels, 0.0)
        balanced = frequency_weights(self.faces.labels, config.sampling_power)
        self._draw_weights = balanced if config.sampling == "weighted" else natural
        self._loss_weights.copy_(balanced if config.sampling == "class_weights" else natural)

    def train_epoch(self, epoch: int, stop_requested: Callable[[], int]) -> bool:
        """Trains epoch `epoch` of 1..epochs; False if it was left early because a stop was requested.

        Random numbers depend on the trial's seed and the epoch alone, so a trial can go on from any epoch's end.
        """
        if self._prepared != epoch:
            self._draw(epoch)
            self._prepare(epoch)
        self._prepared = None
        for step in range(self.steps_per_epoch):
            if step % 16 == 0 and stop_requested():
                return False
            self._step()
        return True

    def _draw(self, epoch: int) -> None:
        """Draws an epoch's images; a GPU does so after the steps, and beside the evaluation, that it was given so far.

        Drawing is some eighty kernels, most of them far too small for a whole GPU.
        """
        torch.manual_seed(epoch_seed(self.seed, epoch))
        if self._beside is not None:
            self._beside.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._beside):  # None changes nothing
            self.inputs.draw_epoch(self.config, self._draw_weights)

    def _prepare(self, epoch: int) -> None:
        """Waits for the epoch's images to be drawn, and writes its rates."""
        if self._beside is not None:
            torch.cuda.current_stream(self.device).wait_stream(self._beside)
        self._lr.copy_(self._rates[epoch - 1])
        factor = dropout_factor(self.config.dropout_ramp, epoch, self.epochs)
        write_dropout(self.flat.model, self.shape, factor)
        self._trust.fill_(self.config.self_distillation * epoch / self.epochs)
        self._cursor.zero_()
        self._train_sums.zero_()
        self._prepared = epoch

    def measure(self, following: int | None = None) -> Measured:
        """Evaluates the averaged weights on the validation part and reads the epoch's sums in one synchronisation.

        Args:
            following: the epoch that will be trained next, if any: a GPU draws it meanwhile.
        """
        if following is not None and self._beside is not None:
            self._draw(following)
        if len(self.inputs.held):
            (self._replay_evaluation or self._evaluate_held)()
        loss, correct, held_loss, *counts = self._read_sums(following)
        shown = self.steps_per_epoch * self.batch_size
        return Measured(
            train_loss=loss / shown,
            train_accuracy=correct / shown,
            val_loss=held_loss / len(self.inputs.held) if len(self.inputs.held) else float("nan"),
            confusion=[counts[7 * row : 7 * row + 7] for row in range(7)],
        )

    def _read_sums(self, following: int | None) -> list[float]:
        if following is None or self._beside is None:
            return self._sums.tolist()
        self._seen.copy_(self._sums, non_blocking=True)
        copied = torch.cuda.current_stream(self.device).record_event()
        self._prepare(following)
        copied.synchronize()
        return self._seen.tolist()

    def state(self) -> dict[str, Tensor]:
        """Copies of all that training has changed since `begin`, float32 on the device."""
        return {name: tensor.clone() for name, tensor in self._changing().items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Puts back what `state` gave; `begin` must have been called with the same trial."""
        for name, tensor in self._changing().items():
            tensor.copy_(state[name])
        self.flat.refresh_compute()

    def _changing(self) -> dict[str, Tensor]:
        optimizer = self.optimizer
        tensors = {"values": self.flat.values, "first": optimizer.first, "average": optimizer.average}
        if optimizer.second is not None:
            tensors["second"] = optimizer.second
        if self._past is not None:
            tensors["past"] = self._past
        return tensors | {"steps": optimizer.steps}

    def last_lr(self, epoch: int) -> float:
        """Learning rate of the last step of an epoch."""
        return self._last_rates[epoch - 1]

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights as the model's state dict, float32 on the CPU."""
        return self.flat.named_values(self.optimizer.average)

    # -- what a GPU captures ------------------------------------------------------------------------------

    def _step(self) -> None:
        """One step as training does it: replayed where it was captured."""
        (self._replay_step or self._train_step)()

    def _train_step(self) -> None:
        for part in self._batch[:-1]:
            self._differentiate(part)
            self.flat.keep_gradients()
        self._differentiate(self._batch[-1])
        self.optimizer.step(self._lr.index_select(0, self._cursor))
        self._cursor += 1

    def _differentiate(self, part: Tensor) -> None:
        """Leaves on the layers the gradient of what `part`, places in the batch, adds to the batch's mean loss."""
        at = self._cursor * self.batch_size + part
        first, second, share = self.inputs.first[at], self.inputs.second[at], self.inputs.share[at]
        logits = self.flat.model(as_input(self.inputs.images[at])).float()
        log_probabilities = functional.log_softmax(logits, dim=1)
        loss = self._loss(log_probabilities, first, second, share)
        if self.parts > 1:
            loss = loss * (len(part) / self.batch_size)
        loss.backward()  # type: ignore[no-untyped-call]
        self._count(logits.detach(), log_probabilities.detach(), self.faces.labels[first])
        if self._past is not None:
            self._remember(self._past, log_probabilities.detach().exp(), first, share)

    def _loss(self, log_probabilities: Tensor, first: Tensor, second: Tensor, share: Tensor) -> Tensor:
        """Cross-entropy with smoothed, mixed labels, each label's term weighted by its class; mean over the batch.

        With self-distillation a face's target is its label and, the later the more, what was predicted for it before
        (Kim et al. 2021): labels of faces are often wrong, and a network learns the rule before the exceptions.
        """
        smoothing = self.hyper.label_smoothing
        uniform = -log_probabilities.mean(1)

        def term(faces: Tensor) -> Tensor:
            labels = self.faces.labels[faces]
            own = -log_probabilities.gather(1, labels[:, None])[:, 0]
            loss = (1 - smoothing) * own + smoothing * uniform
            if self._past is not None:
                loss = loss.lerp(-(log_probabilities * self._past[faces]).sum(1), self._trust)
            return self._loss_weights[labels] * loss

        return (share * term(first) + (1 - share) * term(second)).mean()

    @torch.no_grad()
    def _remember(self, past: Tensor, probabilities: Tensor, faces: Tensor, share: Tensor) -> None:
        """Moves the past predictions, [N, 7], towards those of the batch's images that show one face only."""
        change = (probabilities - past[faces]) * (share == 1)[:, None]
        past.index_add_(0, faces, change, alpha=1 - PAST_DECAY)  # adds up where a batch shows a face twice

    @torch.no_grad()
    def _count(self, logits: Tensor, log_probabilities: Tensor, labels: Tensor) -> None:
        """Adds the batch's plain cross-entropy and its correct predictions to the epoch's sums."""
        loss = -log_probabilities.gather(1, labels[:, None]).sum()
        correct = (logits.argmax(1) == labels).sum()
        self._train_sums += torch.stack((loss, correct.float()))

    @torch.no_grad()
    def _evaluate_held(self) -> None:
        """Fills `logits` and the validation sums from the averaged weights, then puts the trained ones back."""
        self._backup.copy_(self.flat.values)
        self.flat.values.copy_(self.optimizer.average)
        self.flat.refresh_compute()
        self.flat.model.eval()
        for part in alike(len(self.inputs.held), HELD_BATCH // self.parts):
            self.logits[part].copy_(self.flat.model(as_input(self.inputs.held[part])))
        self.flat.model.train()
        self.flat.values.copy_(self._backup)
        self.flat.refresh_compute()
        labels = self.faces.held_labels
        loss = functional.cross_entropy(self.logits, labels, reduction="sum")
        confusion = confusion_matrix(labels, self.logits.argmax(1))
        self._held_sums.copy_(torch.cat((loss[None], confusion.flatten())))

    def _capture(self) -> None:
        """Captures step and evaluation; leaves both eager where that fails, but for want of memory."""
        try:
            self._replay_step = captured(self._train_step, self.device, rewind=self._cursor.zero_)
            if len(self.inputs.held):
                self._replay_evaluation = captured(self._evaluate_held, self.device)
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            self._replay_step = self._replay_evaluation = None
            self.flat.forget_gradients()
            self.notes += (f"the step runs eagerly, it could not be captured: {str(error).splitlines()[0]}",)


def alike(count: int, most: int) -> Iterator[slice]:
    """Divides `count` images into parts of one size, at most `most`; the last may show some of those before it again.

    cuDNN tries its algorithms for each size anew, which is a good part of the time until a first step.
    """
    size = math.ceil(count / math.ceil(count / most))
    for start in range(0, count, size):
        end = min(start + size, count)
        yield slice(end - size, end)


def slow_down_statistics(model: nn.Module, parts: int) -> None:
    """Lets BatchNorm's running statistics move in `parts` updates as far as they did in one."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.momentum is not None and parts > 1:
            module.momentum = 1 - (1 - module.momentum) ** (1 / parts)


def _in_parts(batch: Sequence[Tensor]) -> str:
    return (
        f"memory was short: each step of {sum(map(len, batch))} images was computed in {len(batch)} parts of "
        f"{len(batch[0])}; BatchNorm's statistics are those of a part"
    )


def epoch_seed(seed: int, epoch: int) -> int:
    """A seed of its own for each epoch of a trial; the odd constant is that of splitmix64."""
    return (seed * 0x9E3779B97F4A7C15 + epoch) % 2**63
