"""How the losses of several tasks become one: by fixed weights, by learnt uncertainties, or by GradNorm.

What is learnt of a balance is a parameter or a buffer of its module, so that it is kept and restored with the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.nn_models.multi_task.tasks import Task

BalanceName = Literal["fixed", "uncertainty", "gradnorm"]

_BETAS, _TINY = (0.9, 0.999), 1e-8
LEAST_WEIGHT = 1e-3
"""What GradNorm leaves a task at least, before the weights are brought to their sum."""


class FixedBalance(nn.Module):
    """``sum of weight_i * L_i``.

    Args:
        tasks: Their weights.
    """

    weights: Tensor

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor([task.weight for task in tasks]))

    def forward(self, losses: Sequence[Tensor], counts: Tensor, shared: Tensor) -> Tensor:
        """The loss to minimise.

        Args:
            losses: The mean loss of each task; 0 of one that has no label.
            counts: Labels of each task, shape (tasks,).
            shared: The weight of the last layer that all tasks share.
        """
        return self.weights.dot(torch.stack(list(losses)))

    def effective_weights(self) -> Tensor:
        """What each loss is multiplied by now, shape (tasks,)."""
        return self.weights


class UncertaintyBalance(nn.Module):
    """Weights from the noise of each task, which is learnt (Kendall, Gal and Cipolla 2018, arxiv.org/abs/1705.07115).

    With ``s_i = log(sigma_i ** 2)`` the loss is the sum over the tasks that have a label of ``weight_i`` times

    - ``exp(-s_i) * L_i / 2 + s_i / 2`` where ``L_i`` is a mean squared error: the negative log-likelihood of a Gaussian
      with the variance ``sigma_i ** 2`` (their equation 5), less a constant;
    - ``exp(-s_i) * L_i + s_i / 2`` where it is a cross-entropy: that of a softmax of the logits over ``sigma_i ** 2``,
      with the authors' approximation (equations 8 to 10); and, for want of a likelihood, where it is Huber's loss,
      which is half a square near 0;
    - ``exp(-s_i / 2) * L_i + s_i / 2`` where it is an absolute error or a pinball loss: that of a Laplace distribution,
      symmetric or not, with the scale ``sigma_i``, less a constant. The paper does not have this one.

    Args:
        tasks: Kinds, losses and weights.
    """

    weights: Tensor
    factors: Tensor
    powers: Tensor

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__()
        factors, powers = zip(*(_likelihood(task) for task in tasks), strict=True)
        self.register_buffer("weights", torch.tensor([task.weight for task in tasks]))
        self.register_buffer("factors", torch.tensor(factors))
        self.register_buffer("powers", torch.tensor(powers))
        self.log_variances = nn.Parameter(torch.zeros(len(tasks)))

    def forward(self, losses: Sequence[Tensor], counts: Tensor, shared: Tensor) -> Tensor:
        """The loss to minimise; see :meth:`FixedBalance.forward`."""
        scaled = self.factors * torch.exp(-self.powers * self.log_variances) * torch.stack(list(losses))
        terms = self.weights * (scaled + self.log_variances / 2)
        return terms.dot((counts > 0).to(terms.dtype))

    def effective_weights(self) -> Tensor:
        """What each loss is multiplied by now, shape (tasks,)."""
        return (self.weights * self.factors * torch.exp(-self.powers * self.log_variances)).detach()


class GradNorm(nn.Module):
    """Weights that let all tasks learn at similar rates (Chen, Badrinarayanan, Lee and Rabinovich 2018,
    arxiv.org/abs/1711.02257).

    At every batch each loss gets its gradient with respect to the last shared layer; its weight then takes one step of
    Adam (Kingma and Ba 2015) against :func:`gradnorm_gradient`, and the weights are brought to a sum of the number of
    tasks. The loss of this batch still has the weights from before. A task without a label in the batch has no part in
    it. Where several batches make one step, each of them moves the weights. The gradients of the encoder are computed
    once; those of fusion and head once more for each task.

    Args:
        tasks: Their weights, which these begin with.
        alpha: The strength of the force that pulls tasks which learn slowly; 0 makes all gradients equally large.
        learning_rate: Of the weights.
    """

    weights: Tensor
    first_losses: Tensor
    moments: Tensor
    squares: Tensor
    steps: Tensor

    def __init__(self, tasks: Sequence[Task], alpha: float, learning_rate: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.learning_rate = learning_rate
        n_tasks = len(tasks)
        self.register_buffer("weights", renormalised(torch.tensor([task.weight for task in tasks])))
        self.register_buffer("first_losses", torch.full((n_tasks,), torch.nan))
        for name in ("moments", "squares", "steps"):
            self.register_buffer(name, torch.zeros(n_tasks))

    def forward(self, losses: Sequence[Tensor], counts: Tensor, shared: Tensor) -> Tensor:
        """The loss to minimise; see :meth:`FixedBalance.forward`. The weights of the next batch are set."""
        norms = torch.stack([torch.autograd.grad(loss, shared, retain_graph=True)[0].norm() for loss in losses])
        stacked = torch.stack(list(losses))
        combined = self.weights.clone().dot(stacked)
        self.update(stacked.detach(), norms, counts > 0)
        return combined

    @torch.no_grad()
    def update(self, losses: Tensor, norms: Tensor, present: Tensor) -> None:
        """Take one step of the weights.

        Args:
            losses: Of each task, shape (tasks,).
            norms: Of their gradients, not multiplied by a weight, shape (tasks,).
            present: Which of them have a label, shape (tasks,).
        """
        is_first = self.first_losses.isnan() & present
        self.first_losses.copy_(torch.where(is_first, losses, self.first_losses))
        rates = losses / self.first_losses.clamp(min=_TINY)
        gradient = gradnorm_gradient(self.weights, norms, rates, self.alpha, present)
        first, second = _BETAS
        self.steps.add_(present)
        self.moments.copy_(torch.where(present, first * self.moments + (1 - first) * gradient, self.moments))
        self.squares.copy_(torch.where(present, second * self.squares + (1 - second) * gradient**2, self.squares))
        steps = self.steps.clamp(min=1)
        moment, square = self.moments / (1 - first**steps), self.squares / (1 - second**steps)
        change = torch.where(present, self.learning_rate * moment / (square.sqrt() + _TINY), 0.0)
        self.weights.copy_(renormalised(self.weights - change))

    def effective_weights(self) -> Tensor:
        """What each loss is multiplied by now, shape (tasks,)."""
        return self.weights


Balance = FixedBalance | UncertaintyBalance | GradNorm


def build_balance(name: BalanceName, tasks: Sequence[Task], alpha: float, learning_rate: float) -> Balance:
    """A balance by its name."""
    if name == "gradnorm":
        return GradNorm(tasks, alpha, learning_rate)
    return UncertaintyBalance(tasks) if name == "uncertainty" else FixedBalance(tasks)


def gradnorm_gradient(weights: Tensor, norms: Tensor, rates: Tensor, alpha: float, present: Tensor) -> Tensor:
    """The gradient of GradNorm's loss with respect to the weights, shape (tasks,).

    With ``G_i = weight_i * norm_i``, their mean ``G``, and ``r_i`` the rate over the mean of the rates, the loss is the
    sum of ``|G_i - G * r_i ** alpha|``, whose second term counts as a constant (algorithm 1 of the paper).

    Args:
        weights: Of the tasks.
        norms: Of the gradients of their losses with respect to the last shared layer.
        rates: Their losses over their first losses.
        alpha: See :class:`GradNorm`.
        present: Which tasks count; the others get 0 and are in no mean.
    """
    counted = present.to(norms.dtype)
    count = counted.sum().clamp(min=1)
    rates = torch.where(present, rates, 0.0)
    weighted = weights * norms
    relative = rates / (rates.sum() / count).clamp(min=_TINY)
    targets = (weighted * counted).sum() / count * relative**alpha
    return torch.sign(weighted - targets) * norms * counted


def renormalised(weights: Tensor) -> Tensor:
    """Weights of at least :data:`LEAST_WEIGHT`, brought to a sum of their number."""
    kept = weights.clamp(min=LEAST_WEIGHT)
    return kept * (len(kept) / kept.sum())


def _likelihood(task: Task) -> tuple[float, float]:
    """What the loss is multiplied by beside ``exp(-power * s)``, and the power."""
    if task.kind in ("direction", "classes"):
        return 1.0, 1.0
    by_loss = {"mse": (0.5, 1.0), "huber": (1.0, 1.0), "mae": (1.0, 0.5)}
    return (1.0, 0.5) if task.kind == "quantiles" else by_loss[task.loss]
