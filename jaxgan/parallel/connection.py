"""Joining the processes of a run, and leaving them: none of them waits for one that has ended."""

import atexit
import contextlib
import itertools
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import jax

from jaxgan.environment import check_devices
from jaxgan.errors import RunError, UsageError, explain_error, first_line
from jaxgan.parallel.distributed import is_first, process_count

SECONDS_TO_CONNECT = 300
SECONDS_OF_SILENCE = 60
"""The time after which a process counts as gone. JAX's own heartbeat aborts the other processes,
with a stack trace of C++ in the place of an error."""
SECONDS_BETWEEN_SIGNS = 10
SECONDS_TO_LEAVE = 5
AGAIN = "start all of them again with the same command, which continues from the last checkpoint"
GONE = f"another process of the run has ended or cannot be reached: {AGAIN}"
ABORTED = f"this process was killed, or another one of the run has ended: {AGAIN}"
UNANSWERED = (
    "the processes of the run did not find one another: check that all were started, and that "
    "--coordinator is the host of the first one and a free port there"
)
_on_exit, _watchdog = contextlib.ExitStack(), contextlib.ExitStack()
"""What to do when this process ends normally, and what ends its watchdog."""
_exits = itertools.count()


def start(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    """Joins the other processes. To be called before JAX is used for anything else.

    JAX detects arguments that are None from Slurm, Open MPI, Kubernetes or Cloud TPU.
    Raises `UsageError` if it cannot, and `RunError` if the other processes do not answer.
    """
    if jax.distributed.is_initialized():
        return
    # JAX's own handler of SIGTERM would replace the one of the command.
    jax.config.update("jax_enable_preemption_service", False)
    timer = threading.Timer(SECONDS_TO_CONNECT, _exit, (UNANSWERED, 1))
    timer.daemon = True
    timer.start()
    try:
        with ThreadPoolExecutor(1) as thread:  # The main thread stays free to handle signals.
            thread.submit(
                jax.distributed.initialize,
                coordinator,
                num_processes,
                process_id,
                initialization_timeout=2 * SECONDS_TO_CONNECT,  # JAX then aborts the process.
            ).result()
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"the processes of this run could not be detected ({error}): give --coordinator, "
            "--num-processes and --process-id"
        ) from error
    except RuntimeError as error:
        raise RunError(f"{UNANSWERED} ({first_line(error)})") from error
    finally:
        timer.cancel()
    check_devices()
    _start_watch()
    _start_watchdog()
    if len({len(jax.local_devices(process)) for process in range(process_count())}) > 1:
        raise UsageError("all processes of a run must have the same number of devices")


def end_watchdog() -> None:
    """Ends the watchdog, see `_start_watchdog`, before this process ends by itself."""
    _watchdog.close()


@contextlib.contextmanager
def exit_together() -> Iterator[None]:
    """Ends this process on an error that the others do not raise within a few seconds as well.

    Otherwise they would wait for this process, and it for them, for example to close checkpoints.
    It ends with `os._exit`, without any clean-up.
    """
    try:
        yield
    except Exception as error:
        if process_count() > 1:
            known = explain_error(error)
            if isinstance(error, jax.errors.JaxRuntimeError) and not known:
                _exit(f"{GONE} ({first_line(error)})", 1)
            try:
                _barrier()(f"leaving/{next(_exits)}", SECONDS_TO_LEAVE)
            except Exception:
                if not known:
                    traceback.print_exception(error)
                _exit(*(known or (f"{type(error).__name__}: {error}", 1)))
        raise


def _barrier() -> Callable[[str, int], None]:
    """Returns `(name, seconds)`, which returns when every process has called it, or raises."""
    from orbax.checkpoint import multihost

    sync = multihost.get_barrier_sync_fn()
    return lambda name, seconds: sync(key=f"jaxgan/{name}", timeout_ms=1_000 * seconds)


def _start_watch() -> None:
    """Watches the other processes until this one ends."""
    stopped = threading.Event()
    watch = threading.Thread(target=_watch, args=(_barrier(), stopped), daemon=True)
    watch.start()
    # While Python shuts down, a thread that waits in JAX could not return.
    _on_exit.callback(watch.join, SECONDS_TO_LEAVE)
    _on_exit.callback(jax.distributed.shutdown)
    _on_exit.callback(stopped.set)
    atexit.register(_on_exit.close)


def _watch(barrier: Callable[[str, int], None], stopped: threading.Event) -> None:
    """Ends this process if another one does not reach the next barrier in time.

    All processes but the first are always waiting at a barrier, which fails at once if the first
    one dies.
    """
    for number in itertools.count():
        passed = threading.Event()

        def wait(number=number, passed=passed):
            with contextlib.suppress(Exception):
                barrier(f"alive/{number}", SECONDS_OF_SILENCE)
                passed.set()

        if is_first() and stopped.wait(SECONDS_BETWEEN_SIGNS):
            return
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        thread.join(SECONDS_OF_SILENCE)
        if stopped.is_set():
            return
        if not passed.is_set():
            _exit(GONE, 1)


def _start_watchdog() -> None:
    """Starts a watchdog: a small process that prints a line if this one ends without a message.

    JAX aborts a process as soon as the first one is gone.
    """
    code = "import sys; sys.stdin.read() or print(sys.argv[1], file=sys.stderr)"
    watchdog = subprocess.Popen(
        [sys.executable, "-IS", "-c", code, f"jaxgan: {ABORTED}"],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    _watchdog.callback(watchdog.communicate, b"dismissed")
    atexit.register(_watchdog.close)


def _exit(message: str, status: int) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"jaxgan: {message}\n".encode())
    end_watchdog()
    os._exit(status)
