"""Which variables of a run's networks have an axis of the classes."""

import jax

from jaxgan.keys import key_of_seed
from jaxgan.players import Player
from jaxgan.runs.build import build_gan
from jaxgan.runs.config import Config
from jaxgan.runs.description import DatasetInfo
from jaxgan.trees import leaves_by_path

PLAYERS = ("generator", "discriminator")


def class_axes(config: Config, dataset: DatasetInfo) -> dict[str, int]:
    """Returns the axis of the classes, counted from the last one, by the path of a leaf.

    The paths begin with "generator" or "discriminator". Leaves without such an axis are left out;
    a run that is not conditional has none.
    """
    if not config.conditional:
        return {}
    more = shapes_of_variables(config, dataset._replace(num_classes=dataset.num_classes + 1))
    shapes = shapes_of_variables(config, dataset)
    pairs = {path: [*zip(shape, more[path], strict=True)] for path, shape in shapes.items()}
    return {
        path: axis - len(sizes)
        for path, sizes in pairs.items()
        for axis, (a, b) in enumerate(sizes)
        if a != b
    }


def shapes_of_variables(config: Config, dataset: DatasetInfo) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the variables of both networks by path."""
    state = jax.eval_shape(build_gan(config, dataset).init, key_of_seed(0))
    players = {name: variables_of(getattr(state, name)) for name in PLAYERS}
    return {path: leaf.shape for path, leaf in leaves_by_path(players).items()}


def variables_of(player: Player) -> dict:
    """Returns the Flax variables of a player."""
    return {"params": player.params, **player.stats}
