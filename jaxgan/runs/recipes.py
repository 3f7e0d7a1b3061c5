"""Recipes, which are published methods, by name: as defaults of a command, and as a table."""

import dataclasses
import itertools
import textwrap

from jaxgan.errors import choose
from jaxgan.runs.config import Config
from jaxgan.runs.published import RECIPES

INDENT = 21
WIDTH = 100
"""The column of the table in which its text begins, and the length of its lines."""


def choose_defaults(arguments: list[str]) -> Config:
    """Returns the settings of the recipe that the arguments of a command name, or the defaults.

    Of several, the last counts. An unknown name is left to the parser of the arguments.
    """
    named = [
        value if flag == "--recipe" else flag.removeprefix("--recipe=")
        for flag, value in itertools.pairwise([*arguments, ""])
        if flag == "--recipe" or flag.startswith("--recipe=")
    ]
    found = RECIPES.get(named[-1]) if named else None
    return found.config if found else Config()


def make_config(recipe: str, **settings) -> Config:
    """Returns the settings of a recipe, of which some are changed.

    Raises `UsageError` for an unknown name.
    """
    return dataclasses.replace(choose("recipe", RECIPES, recipe).config, **settings)


def format_table() -> str:
    """Returns the recipes with their settings, papers and claims, for reading in a terminal."""
    wrapper = textwrap.TextWrapper(WIDTH, subsequent_indent=" " * INDENT, break_on_hyphens=False)
    lines = []
    for name, found in RECIPES.items():
        texts = [found.paper, found.claim, flags_of(found.config) or "the defaults"]
        for i, text in enumerate(filter(None, texts)):
            lines += wrapper.wrap(("" if i else name).ljust(INDENT) + text)
    return "\n".join(lines)


def flags_of(config: Config) -> str:
    """Returns the flags of the settings that differ from the defaults, but for the recipe."""
    words = []
    for field in dataclasses.fields(config):
        value, default = getattr(config, field.name), getattr(Config(), field.name)
        if value == default or field.name == "recipe":
            continue
        flag = field.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
            continue
        values = value if isinstance(value, tuple) else (value,)
        texts = (f"{each:g}" if isinstance(each, float) else str(each) for each in values)
        words.append(" ".join([f"--{flag}", *texts]))
    return " ".join(words)
