"""Losses of both players, and what can be added to them: functions from a loss to a loss.

To add a loss, write a function that returns a `Loss` in `adversarial.py` and add it to `LOSSES`. To
add a penalty, write a function `(loss, weight) -> loss` and add it to `PENALTIES`. Penalties can be
composed, as in `r2(r1(relativistic(), 1.0), 1.0)`. Losses of discriminators that have more outputs
than logits are in `heads.py`.
"""

from jaxgan.losses.adversarial import (
    hinge,
    least_squares,
    minimax,
    non_saturating,
    relativistic,
    relativistic_average,
    wasserstein,
)
from jaxgan.losses.base import (
    Critic,
    HeadOutputs,
    Loss,
    LossInputs,
    OutputSummary,
    from_logits,
    no_loss,
)
from jaxgan.losses.gradient_penalties import (
    approximate_r1,
    approximate_r2,
    dragan,
    gradient_penalty,
    one_sided_gradient_penalty,
    r1,
    r2,
    zero_centered_gradient_penalty,
)
from jaxgan.losses.heads import (
    auxiliary_classifier,
    data_to_data_cross_entropy,
    rotation,
    slicing,
)
from jaxgan.losses.modifications import label_smoothing, top_k
from jaxgan.losses.regularizers import (
    consistency,
    fake_consistency,
    latent_consistency,
    lecam,
    logit_centering,
)

LOSSES = {
    loss.__name__: loss
    for loss in (
        minimax,
        non_saturating,
        least_squares,
        hinge,
        wasserstein,
        relativistic,
        relativistic_average,
    )
}
PENALTIES = {
    penalty.__name__: penalty
    for penalty in (
        gradient_penalty,
        one_sided_gradient_penalty,
        zero_centered_gradient_penalty,
        dragan,
        consistency,
        fake_consistency,
        latent_consistency,
        lecam,
        logit_centering,
        r1,
        r2,
        approximate_r1,
        approximate_r2,
    )
}
"""Applied in this order. The last ones share their forward passes with the others; the approximate
ones compare two passes with the same augmentation, so no other penalty is applied after them."""

GRADIENT_PENALTIES = {
    "gradient_penalty",
    "one_sided_gradient_penalty",
    "zero_centered_gradient_penalty",
    "dragan",
    "r1",
    "r2",
    "approximate_r1",
    "approximate_r2",
}
"""The penalties that can have updates of their own, see `jaxgan.lazy`."""

__all__ = [
    "GRADIENT_PENALTIES",
    "LOSSES",
    "PENALTIES",
    "Critic",
    "HeadOutputs",
    "Loss",
    "LossInputs",
    "OutputSummary",
    "auxiliary_classifier",
    "data_to_data_cross_entropy",
    "from_logits",
    "label_smoothing",
    "no_loss",
    "rotation",
    "slicing",
    "top_k",
]
