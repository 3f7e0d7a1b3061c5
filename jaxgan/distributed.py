"""Several processes, on one host or on many, that compute one run together.

The first of them writes what the run leaves on disk. With one process nothing here does anything.
"""

import atexit
import contextlib
import hashlib
import itertools
import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxgan import errors
from jaxgan.environment import check_devices
from jaxgan.errors import RunError, UsageError, explained

SECONDS_TO_CONNECT = 300
SECONDS_OF_SILENCE = 60
"""After which a process counts as gone; JAX itself would wait for 100 and then abort."""
SECONDS_BETWEEN_SIGNS = 10
SECONDS_TO_LEAVE = 5
AGAIN = "start all of them again with the same command, which continues from the last checkpoint"
GONE = f"another process of the run has ended, or cannot be reached any more: {AGAIN}"
ABORTED = f"this process was killed, or another one of the run has ended: {AGAIN}"
UNANSWERED = (
    "the processes of the run did not find one another: see that all were started, and that "
    "--coordinator is the first one's host and a port that is free there"
)
_at_end, _last_words = contextlib.ExitStack(), contextlib.ExitStack()
"""What to do when this process ends as it should, and what takes its last words back."""
_exits = itertools.count()


def start(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    """Joins the other processes, unless they are joined, before JAX has been used for anything.

    What is None is found out by JAX: from Slurm, Open MPI, Kubernetes or a Cloud TPU.
    Raises `UsageError` where it cannot be found out, `RunError` where the others do not answer.
    """
    if jax.distributed.is_initialized():
        return
    # Its handler would take SIGTERM away from ours.
    jax.config.update("jax_enable_preemption_service", False)
    impatience = threading.Timer(SECONDS_TO_CONNECT, _end, (UNANSWERED, 1))
    impatience.daemon = True
    impatience.start()
    try:
        with ThreadPoolExecutor(1) as waiting:  # Here signals find Python awake.
            waiting.submit(
                jax.distributed.initialize,
                coordinator,
                num_processes,
                process_id,
                initialization_timeout=2 * SECONDS_TO_CONNECT,  # JAX then aborts the process.
            ).result()
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"the processes of this run cannot be found out ({error}): give --coordinator, "
            "--num-processes and --process-id"
        ) from error
    except RuntimeError as error:
        raise RunError(f"{UNANSWERED} ({_first_line(error)})") from error
    finally:
        impatience.cancel()
    check_devices()
    stopped = threading.Event()
    watch = threading.Thread(target=_watch, args=(_barrier(), stopped), daemon=True)
    watch.start()
    _leave_last_words()
    # While Python shuts down, no thread may be waiting in JAX: it could not come back.
    _at_end.callback(watch.join, SECONDS_TO_LEAVE)
    _at_end.callback(jax.distributed.shutdown)
    _at_end.callback(stopped.set)
    atexit.register(_at_end.close)
    if len({len(jax.local_devices(process)) for process in range(process_count())}) > 1:
        raise UsageError("the processes of this run have different numbers of devices")


def is_first() -> bool:
    """Returns whether this process is the one that writes."""
    return jax.process_index() == 0


def process_count() -> int:
    """Returns how many processes compute the run."""
    return jax.process_count()


def meet(name: str) -> None:
    """Returns when every process has called it, with the same name."""
    if process_count() > 1:
        multihost_utils.sync_global_devices(name)


def from_first(action: Callable[[], Any]) -> Any:
    """Returns in every process what `action`, called in the first alone, returned: JSON.

    An error that it raised is raised in every process, as `RunError` where it is not ours.
    """
    if process_count() == 1:
        return action()
    outcome, failure = {}, None
    if is_first():
        try:
            outcome = {"result": action()}
        except Exception as error:
            failure = error
            message, _ = explained(error) or (f"the first process failed: {error}", 1)
            outcome = {"error": type(error).__name__, "message": message}
    text = np.frombuffer(json.dumps(outcome).encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    text = multihost_utils.broadcast_one_to_all(text if is_first() else np.zeros(length, np.uint8))
    if failure:
        raise failure
    outcome = json.loads(text.tobytes())
    if "error" in outcome:
        raise getattr(errors, outcome["error"], RunError)(outcome["message"])
    return outcome["result"]


def check_same(what: str, value: str, advice: str = "give all of them the same") -> None:
    """Raises `UsageError`, in every process, unless all have the same value of something."""
    if process_count() == 1:
        return
    digest = np.frombuffer(hashlib.sha256(value.encode()).digest(), np.uint8)
    if len(np.unique(multihost_utils.process_allgather(digest), axis=0)) > 1:
        raise UsageError(f"the processes of this run differ in {what}: {advice}")


def agreed(asked: Callable[[], bool]) -> Callable[[], bool]:
    """Returns a function that says in every process the same: whether any was asked.

    Each of its calls says what was so at the call before, so that it never waits for a device.
    """
    if process_count() == 1:
        return asked
    ones = [jax.local_devices(process_index=i)[0] for i in range(process_count())]
    mesh = Mesh(np.array(ones), "processes")
    one_each, everywhere = NamedSharding(mesh, P("processes")), NamedSharding(mesh, P())
    any_of = jax.jit(lambda flags: flags.any(), out_shardings=everywhere)
    before: list[jax.Array] = []

    def any_asked() -> bool:
        flag = np.array([asked()])
        before.append(any_of(jax.make_array_from_process_local_data(one_each, flag)))
        return len(before) > 1 and bool(before.pop(0))

    return any_asked


def take_back_last_words() -> None:
    """Has nothing more be said, where this process is about to end by itself."""
    _last_words.close()


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Ends this process on an error that the others do not have within a few seconds as well.

    They would wait for it, and it for them, in the closing of checkpoints for example. It ends by
    `os._exit`: nothing that was to be done on the way out is done.
    """
    try:
        yield
    except Exception as error:
        if process_count() > 1:
            known = explained(error)
            if isinstance(error, jax.errors.JaxRuntimeError) and not known:
                _end(f"{GONE} ({_first_line(error)})", 1)
            try:
                _barrier()(f"leaving/{next(_exits)}", SECONDS_TO_LEAVE)
            except Exception:
                if not known:
                    traceback.print_exception(error)
                _end(*(known or (f"{type(error).__name__}: {error}", 1)))
        raise


def _barrier() -> Callable[[str, int], None]:
    """Returns `(name, seconds)`, which returns when every process has called it, or raises."""
    from orbax.checkpoint import multihost

    sync = multihost.get_barrier_sync_fn()
    return lambda name, seconds: sync(key=f"jaxgan/{name}", timeout_ms=1_000 * seconds)


def _watch(barrier: Callable[[str, int], None], stopped: threading.Event) -> None:
    """Ends this process where another one does not give a sign of life in time.

    All but the first always have a call to it under way, which fails at once where it dies.
    """
    for number in itertools.count():
        met = threading.Event()

        def sign(number=number, met=met):
            with contextlib.suppress(Exception):
                barrier(f"alive/{number}", SECONDS_OF_SILENCE)
                met.set()

        if is_first() and stopped.wait(SECONDS_BETWEEN_SIGNS):
            return
        thread = threading.Thread(target=sign, daemon=True)
        thread.start()
        thread.join(SECONDS_OF_SILENCE)
        if stopped.is_set():
            return
        if not met.is_set():
            _end(GONE, 1)


def _leave_last_words() -> None:
    """Has a small process print a line should this one end without being able to.

    JAX aborts a process the moment the first one is gone.
    """
    code = "import sys; sys.stdin.read() or print(sys.argv[1], file=sys.stderr)"
    witness = subprocess.Popen(
        [sys.executable, "-IS", "-c", code, f"jaxgan: {ABORTED}"],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    _last_words.callback(witness.communicate, b"nothing to say")
    atexit.register(_last_words.close)


def _end(message: str, status: int) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"jaxgan: {message}\n".encode())
    take_back_last_words()
    os._exit(status)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
