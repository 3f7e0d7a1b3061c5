"""A player of the game: a network in training."""

from typing import Any, NamedTuple

import optax


class Player(NamedTuple):
    """One network in training; `stats` are Flax's mutable collections, `{}` when there are none."""

    params: Any
    stats: Any
    opt_state: optax.OptState


def init_player(variables: dict, tx: optax.GradientTransformation) -> Player:
    """Returns the player of a network with these Flax variables before its first update."""
    stats = {name: value for name, value in variables.items() if name != "params"}
    return Player(variables["params"], stats, tx.init(variables["params"]))


def update_player(
    tx: optax.GradientTransformation, player: Player, grads: Any, stats: Any
) -> Player:
    """Returns the player after an update with gradients, and with new `stats`."""
    updates, opt_state = tx.update(grads, player.opt_state, player.params)
    return Player(optax.apply_updates(player.params, updates), stats, opt_state)
