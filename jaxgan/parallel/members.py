"""The members of a program: the runs that it trains at once, or the only one."""

from collections.abc import Callable
from typing import NamedTuple

import jax

from jaxgan.gan import GAN


class Member(NamedTuple):
    """A member's key, and the numbers among its settings, by name.

    With several members, every array has a leading axis, with one entry for each of them.
    """

    key: jax.Array
    numbers: dict[str, jax.Array]


def key_of(member: jax.Array | Member) -> jax.Array:
    """Returns the key of a member, or a key itself."""
    return member.key if isinstance(member, Member) else member


def for_members(build: Callable[[dict], GAN]) -> GAN:
    """Returns the GAN whose functions take a `Member` instead of a key.

    So its settings are arguments of a compiled program, which is the same for all their values.
    build: returns the GAN with given numbers. With a key alone, it is `build({})`.
    """

    def function(name: str) -> Callable:
        def call(member: jax.Array | Member, *arguments, **settings):
            numbers = member.numbers if isinstance(member, Member) else {}
            return getattr(build(numbers), name)(key_of(member), *arguments, **settings)

        return call

    return GAN(*map(function, GAN._fields))
