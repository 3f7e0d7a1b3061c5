"""Functions for runs of several processes, on one host or on several.

The first process writes what the run leaves on disk. Where there is one process only, these
functions do nothing beside their action. The processes are started together and find one another
through Slurm, Open MPI, Kubernetes or Cloud TPU. A script for Slurm, with a process for each GPU:

    #!/bin/bash
    #SBATCH --job-name=jaxgan
    #SBATCH --nodes=2
    #SBATCH --ntasks-per-node=4
    #SBATCH --gpus-per-node=4
    #SBATCH --cpus-per-task=8
    #SBATCH --time=04:00:00
    #SBATCH --signal=TERM@120
    source ~/jaxgan/bin/activate
    srun python -m jaxgan.train --distributed --batch-size 1024 --steps 100000 --out ~/runs/large

The run directory must be on a file system that all hosts share. Two minutes before the time limit
Slurm sends SIGTERM: the run is saved, and the same job, submitted again, continues it. Without such
a system, every process is started by hand, with its own index:

    python -m jaxgan.train --coordinator host0:1234 --num-processes 2 --process-id 0
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxgan import errors
from jaxgan.errors import RunError, UsageError, explain_error


def is_first() -> bool:
    """Returns whether this is the first process, the one that writes."""
    return jax.process_index() == 0


def process_count() -> int:
    """Returns the number of processes that compute the run."""
    return jax.process_count()


def wait_for_all(name: str) -> None:
    """Returns when every process has called this function with the same name."""
    if process_count() > 1:
        multihost_utils.sync_global_devices(name)


def broadcast(value: Any) -> Any:
    """Returns in every process the value of the first one, which JSON must be able to hold."""
    if process_count() == 1:
        return value
    text = np.frombuffer(json.dumps(value if is_first() else None).encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    text = multihost_utils.broadcast_one_to_all(text if is_first() else np.zeros(length, np.uint8))
    return json.loads(text.tobytes())


def on_first(action: Callable[[], Any]) -> Any:
    """Calls a function in the first process; returns its result there and None in the others.

    An error that it raises is raised in every process, in the others as a `RunError` unless it is
    one of `jaxgan.errors`.
    """
    if process_count() == 1:
        return action()
    result, failure, report = None, None, None
    if is_first():
        try:
            result = action()
        except Exception as error:
            failure = error
            message, _ = explain_error(error) or (f"the first process failed: {error}", 1)
            report = {"type": type(error).__name__, "message": message}
    report = broadcast(report)
    if failure:
        raise failure
    if report:
        raise getattr(errors, report["type"], RunError)(report["message"])
    return result


def print_lines(*lines: str) -> None:
    """Prints the lines that are not empty, after the name of the program, in the first process."""
    for line in filter(None, lines):
        if is_first():
            print(f"jaxgan: {line}", flush=True)


def check_same(what: str, value: str, advice: str = "") -> None:
    """Raises `UsageError` in every process unless all have the same value.

    what: names the value. advice: what to do; by default, to give every process the same.
    """
    if process_count() == 1:
        return
    digest = np.frombuffer(hashlib.sha256(value.encode()).digest(), np.uint8)
    if len(np.unique(multihost_utils.process_allgather(digest), axis=0)) > 1:
        advice = advice or f"give every process the same {what}"
        raise UsageError(f"the processes of this run differ in {what}: {advice}")


def any_process(condition: Callable[[], bool]) -> Callable[[], bool]:
    """Returns a function that returns the same in every process: whether any condition holds.

    A call returns what was so at the call before, so that it never waits for a device.
    """
    if process_count() == 1:
        return condition
    ones = [jax.local_devices(process_index=i)[0] for i in range(process_count())]
    mesh = Mesh(np.array(ones), "processes")
    one_each, everywhere = NamedSharding(mesh, P("processes")), NamedSharding(mesh, P())
    any_of = jax.jit(lambda flags: flags.any(), out_shardings=everywhere)
    before: list[jax.Array] = []

    def holds() -> bool:
        flag = np.array([condition()])
        before.append(any_of(jax.make_array_from_process_local_data(one_each, flag)))
        return len(before) > 1 and bool(before.pop(0))

    return holds
