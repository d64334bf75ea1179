"""One network on one device, trained epoch by epoch. A GPU captures its step and replays it.

Hyperparameters are data: learning rates, decay, momentum, smoothing, dropout, averaging, clipping
and class weights are tensors that the step reads. The next job of the same shape writes new numbers
and draws new weights in place. Nothing is captured, built or allocated again.

An epoch is these calls. Only the last one waits for a GPU, and not after `finished`:

    train_epoch(epoch)     trains, and yields where another lane may have its turn
    evaluate()             evaluates the averaged weights on the validation part
    begin_next(epoch + 1)  draws the next epoch's images, beside the evaluation
    finished()             says whether the device has done all this
    read()                 returns what the epoch measured
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fer_tune.data.spec import FER2013
from fer_tune.models.layers import count_parameters, initialise, write_dropout
from fer_tune.train.config import TrainConfig
from fer_tune.train.flat_parameters import FlatModel
from fer_tune.train.inputs import as_input
from fer_tune.train.loss import Loss
from fer_tune.train.memory import out_of_memory
from fer_tune.train.metrics import Measured, confusion_matrix
from fer_tune.train.network_plan import NetworkPlan
from fer_tune.train.optimizer import Hyperparameters, Optimizer
from fer_tune.train.parts import alike, in_parts, slow_down_statistics
from fer_tune.train.replays import MOST, Replays
from fer_tune.train.sampling import frequency_weights
from fer_tune.train.schedules import dropout_factor, learning_rates

HELD_BATCH = 1024
"""Images of FER2013's size evaluated at once. More gain nothing, and leave a CPU's caches."""


class DeviceNetwork:
    """Trains one shape of network, one job after another.

    If memory is short, a step computes its gradient in several parts of the batch, one after
    another, and updates once. That is the same mean over the batch, but for BatchNorm, which sees
    one part at a time.

    Args:
        plan: what it is built from.
        parts: the number of parts; 1 is the whole batch at once.
        capture: whether `prepare` captures the step on a GPU.

    Attributes:
        steps_per_epoch: full batches in the training part. The few images left over change from
            epoch to epoch.
        logits: float32 [V, classes] of the last evaluation.
        replays: what was captured.
        notes: why the step was not captured, or is done in parts, if so.
        failed: whether the step could not be captured, so that it runs eagerly.

    Raises:
        torch.OutOfMemoryError, RuntimeError: memory ran out, see `memory.out_of_memory`; by all
        methods.
    """

    def __init__(self, plan: NetworkPlan, parts: int = 1, *, capture: bool = True) -> None:
        inputs = plan.inputs
        data, device = inputs.data, inputs.images.device
        classes = len(data.spec.classes)
        self.device = device
        self.data = data
        self.inputs = inputs
        self.lane = plan.lane
        self.classes = classes
        self.batch_size = plan.images(1)
        self.steps_per_epoch = len(data.labels) // self.batch_size
        self.parts = parts
        with torch.device(device):  # a CPU would take a third of the build to draw weights that `begin` draws again
            model = plan.family.build(plan.shape, inputs.spec)
        self.parameters = count_parameters(model)
        slow_down_statistics(model, parts)
        self.flat = FlatModel(model, device, inputs.dtype)
        self.hyper = Hyperparameters(device)
        self.optimizer = Optimizer(plan.optimizer, self.flat, self.hyper)
        self.loss = Loss(data.labels, classes, self.hyper, distils=plan.distils)
        self.logits = torch.zeros(len(inputs.held), classes, device=device)

        self._batch = torch.arange(self.batch_size, device=device).tensor_split(parts)
        self._cursor = torch.zeros(1, dtype=torch.int64, device=device)
        self._lr = torch.zeros(self.steps_per_epoch, device=device)
        self._sums = torch.zeros(2 + 1 + classes * classes, device=device)
        self._train_sums, self._held_sums = self._sums[:2], self._sums[2:]
        self._seen = torch.zeros(len(self._sums), pin_memory=device.type == "cuda")
        self._begun: int | None = None
        self._beside = plan.lane.beside
        self._trained: torch.cuda.Event | None = None
        self._copied: torch.cuda.Event | None = None
        self._backup = torch.empty_like(self.flat.values)
        self.notes: tuple[str, ...] = (in_parts(self._batch),) if parts > 1 else ()
        self.replays = Replays()
        self._captures = device.type == "cuda" and capture
        self.failed = False

    def prepare(self, alone: bool = True, known: bool = False) -> Iterator[None]:
        """Captures step and evaluation on a GPU, and yields where another lane may have its turn.

        Both stay eager if that fails, but not for memory.

        Args:
            alone: whether no other lane trains.
            known: whether this process has built such a network before.
        """
        if not self._captures:
            return
        evaluation = self._evaluate_held if len(self.inputs.held) else None
        try:
            yield from self.replays.capture(
                self._train_step, evaluation, self._cursor.zero_, self.lane, alone=alone, known=known
            )
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            self.replays.forget()
            self.failed = True
            self.lane.renew()
            self.flat.forget_gradients()
            self.notes += (f"the step runs eagerly, it could not be captured: {str(error).splitlines()[0]}",)

    def prepared(self) -> DeviceNetwork:
        """Prepares the network at once, in a lane that does not have its turn; returns it."""
        with self.lane:
            for _ in self.prepare():
                pass
        return self

    # -- a job ---------------------------------------------------------------------------------

    def begin(self, config: TrainConfig, shape: Any, seed: int, epochs: int) -> None:
        """Draws new weights and takes a job's hyperparameters."""
        self.config, self.shape, self.seed, self.epochs = config, shape, seed, epochs
        self._begun = self._trained = None
        self.flat.model.train()
        torch.manual_seed(seed)
        initialise(self.flat.model)
        self.flat.refresh_values()
        self.hyper.write(config)
        self.optimizer.reset()
        rates = learning_rates(config, epochs * self.steps_per_epoch).view(epochs, -1)
        self._last_rates: list[float] = rates[:, -1].tolist()
        self._rates = rates.to(self.device)  # all at once: each copy from the host waits for the GPU's queue
        natural = frequency_weights(self.data.labels, 0.0, self.classes)
        balanced = frequency_weights(self.data.labels, config.sampling_power, self.classes)
        self._draw_weights = balanced if config.sampling == "weighted" else natural
        self.loss.begin(balanced if config.sampling == "class_weights" else natural)

    def begin_next(self, epoch: int) -> None:
        """Begins the next epoch before the present one is read. `train_epoch` would do it too.

        A GPU draws its images beside the evaluation, without waiting for either.
        """
        if self._beside is not None:
            self._begin_epoch(epoch)

    def train_epoch(self, epoch: int) -> Iterator[int]:
        """Trains epoch `epoch` of 1..epochs; yields the number of steps that are done so far.

        On a CPU it yields after each step. A GPU is given all steps, and nothing waits for it: it
        is some chunks behind, also at the end. Random numbers depend on the job's seed
        and the epoch alone, so a job can continue from the end of any epoch.
        """
        if self._begun != epoch:
            self._begin_epoch(epoch)
        self._begun = self._trained = None
        if self._beside is None:
            for done in range(1, self.steps_per_epoch + 1):
                self._train_step()
                yield done
            return
        stream = torch.cuda.current_stream(self.device)
        yield from self.replays.feed(self.steps_per_epoch, self._train_step, stream)
        self._trained = stream.record_event()

    def _begin_epoch(self, epoch: int) -> None:
        """Draws an epoch's images, and writes its rates."""
        self._draw(epoch)
        self._lr.copy_(self._rates[epoch - 1])
        factor = dropout_factor(self.config.dropout_ramp, epoch, self.epochs)
        write_dropout(self.flat.model, self.shape, factor)
        self.loss.begin_epoch(self.config.self_distillation * epoch / self.epochs)
        self._cursor.zero_()
        self._train_sums.zero_()
        self._begun = epoch

    def _draw(self, epoch: int) -> None:
        """Draws an epoch's images, on a GPU from the end of the last step on.

        Drawing is some eighty kernels, most of them far too small for a whole GPU.
        """
        torch.manual_seed(epoch_seed(self.seed, epoch))
        if self._beside is None:
            self.inputs.draw_epoch(self.config, self._draw_weights)
            return
        current = torch.cuda.current_stream(self.device)
        self._beside.wait_event(self._trained or current.record_event())
        with torch.cuda.stream(self._beside):
            self.inputs.draw_epoch(self.config, self._draw_weights)
        current.wait_stream(self._beside)

    def evaluate(self) -> None:
        """Evaluates the averaged weights on the validation part. A GPU has the work queued only."""
        if len(self.inputs.held):
            (self.replays.evaluation or self._evaluate_held)()
        self._seen.copy_(self._sums, non_blocking=True)
        if self._beside is not None:
            self._copied = torch.cuda.current_stream(self.device).record_event()

    def rehearse(self) -> int:
        """Does a chunk of steps from the beginning of an epoch. Call `begin` before any training.

        A GPU has them queued only. Returns how many images they train.
        """
        self._cursor.zero_()
        steps = min(MOST, self.steps_per_epoch)
        for _ in range(steps):
            (self.replays.step or self._train_step)()
        return steps * self.batch_size

    def wait(self) -> None:
        """Waits for a GPU that has as many steps to do as it may have."""
        self.replays.wait()

    def finished(self) -> bool:
        """Returns whether the device has trained and evaluated the epoch, so that `read` does not
        wait."""
        return self._copied is None or bool(self._copied.query())  # type: ignore[no-untyped-call]

    def read(self) -> Measured:
        """Returns what the epoch measured. It waits for the GPU unless that has `finished`."""
        if self._copied is not None:
            self._copied.synchronize()
        loss, correct, held_loss, *counts = self._seen.tolist()
        shown, classes = self.steps_per_epoch * self.batch_size, self.classes
        return Measured(
            train_loss=loss / shown,
            train_accuracy=correct / shown,
            val_loss=held_loss / len(self.inputs.held) if len(self.inputs.held) else float("nan"),
            confusion=[counts[classes * row : classes * (row + 1)] for row in range(classes)],
        )

    def state(self) -> dict[str, Tensor]:
        """Returns copies of all that training has changed since `begin`, float32 on the device."""
        return {name: tensor.clone() for name, tensor in self._changing().items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Puts back what `state` returned. `begin` must have been called with the same job."""
        for name, tensor in self._changing().items():
            tensor.copy_(state[name])
        self.flat.refresh_compute()

    def _changing(self) -> dict[str, Tensor]:
        optimizer = self.optimizer
        tensors = {"values": self.flat.values, "first": optimizer.first, "average": optimizer.average}
        if optimizer.second is not None:
            tensors["second"] = optimizer.second
        if self.loss.past is not None:
            tensors["past"] = self.loss.past
        return tensors | {"steps": optimizer.steps}

    def last_lr(self, epoch: int) -> float:
        """Returns the learning rate of the last step of an epoch."""
        return self._last_rates[epoch - 1]

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the averaged weights as the model's state dict, float32 on the CPU."""
        return self.flat.named_values(self.optimizer.average)

    # -- what a GPU captures -------------------------------------------------------------------

    def _train_step(self) -> None:
        for part in self._batch[:-1]:
            self._differentiate(part)
            self.flat.keep_gradients()
        self._differentiate(self._batch[-1])
        self.optimizer.step(self._lr.index_select(0, self._cursor))
        self._cursor += 1

    def _differentiate(self, part: Tensor) -> None:
        """Leaves on the layers the gradient of a part's share of the batch's mean loss.

        `part` holds places in the batch.
        """
        at = self._cursor * self.batch_size + part
        first, second, share = self.inputs.first[at], self.inputs.second[at], self.inputs.share[at]
        logits = self.flat.model(as_input(self.inputs.images[at])).float()
        log_probabilities = functional.log_softmax(logits, dim=1)
        loss = self.loss(log_probabilities, first, second, share)
        if self.parts > 1:
            loss = loss * (len(part) / self.batch_size)
        loss.backward()  # type: ignore[no-untyped-call]
        self._count(logits.detach(), log_probabilities.detach(), self.data.labels[first])
        self.loss.remember(log_probabilities.detach(), first, share)

    @torch.no_grad()
    def _count(self, logits: Tensor, log_probabilities: Tensor, labels: Tensor) -> None:
        """Adds the batch's plain cross-entropy and its correct predictions to the epoch's sums."""
        loss = -log_probabilities.gather(1, labels[:, None]).sum()
        correct = (logits.argmax(1) == labels).sum()
        self._train_sums += torch.stack((loss, correct.float()))

    @torch.no_grad()
    def _evaluate_held(self) -> None:
        """Fills `logits` and the validation sums, computed with the averaged weights."""
        self._backup.copy_(self.flat.values)
        self.flat.values.copy_(self.optimizer.average)
        self.flat.refresh_compute()
        self.flat.model.eval()
        most = HELD_BATCH * FER2013.side**2 // self.inputs.spec.side**2 // self.parts
        for part in alike(len(self.inputs.held), max(1, most)):
            self.logits[part].copy_(self.flat.model(as_input(self.inputs.held[part])))
        self.flat.model.train()
        self.flat.values.copy_(self._backup)
        self.flat.refresh_compute()
        labels = self.data.held_labels
        loss = functional.cross_entropy(self.logits, labels, reduction="sum")
        confusion = confusion_matrix(labels, self.logits.argmax(1), self.classes)
        self._held_sums.copy_(torch.cat((loss[None], confusion.flatten())))


def epoch_seed(seed: int, epoch: int) -> int:
    """Returns a seed for each epoch of a job. The odd constant is that of splitmix64."""
    return (seed * 0x9E3779B97F4A7C15 + epoch) % 2**63
