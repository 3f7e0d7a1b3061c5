"""A player: one of the two networks in training, and its updates."""

from typing import Any, NamedTuple

import optax


class Player(NamedTuple):
    """A network in training; `stats` are its mutable Flax collections, `{}` if there are none."""

    params: Any
    stats: Any
    opt_state: optax.OptState


def init_player(variables: dict, tx: optax.GradientTransformation) -> Player:
    """Returns the player of a network with given Flax variables, before its first update."""
    stats = {name: value for name, value in variables.items() if name != "params"}
    return Player(variables["params"], stats, tx.init(variables["params"]))


def update_player(
    tx: optax.GradientTransformation, player: Player, grads: Any, stats: Any
) -> Player:
    """Returns the player after an update with `grads`, with new `stats`."""
    updates, opt_state = tx.update(grads, player.opt_state, player.params)
    return Player(optax.apply_updates(player.params, updates), stats, opt_state)
