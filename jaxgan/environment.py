"""Options and environment variables of JAX that can change the numbers of a run."""

import contextlib
import enum
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxgan.errors import RunError, UsageError, first_line

RANDOM_NUMBERS = {
    "jax_default_prng_impl": "threefry2x32",
    "jax_enable_custom_prng": False,
    "jax_high_dynamic_range_gumbel": False,
    "jax_legacy_prng_key": "allow",
    "jax_random_seed_offset": 0,
    "jax_threefry_gpu_kernel_lowering": False,
    "jax_threefry_partitionable": True,
}
"""Options that determine the random numbers."""
ARITHMETIC = {
    "jax_accurate_erf_inv": False,
    "jax_allow_f16_reductions": True,
    "jax_default_device": None,
    "jax_default_matmul_precision": None,
    "jax_enable_x64": False,
    "jax_explicit_x64_dtypes": "warn",
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_softmax_custom_jvp": False,
    "jax_use_hlo_logistic_lowering": None,
}
"""Options that determine the types and the formulas of computations."""
PROGRAM = {
    "check_vma": False,
    "eager_constant_folding": False,
    "jax_auto_pcast": True,
    "jax_compilation_cache_expect_pgle": False,
    "jax_compiler_enable_remat_pass": True,
    "jax_custom_jvp3": False,
    "jax_custom_vjp3": False,
    "jax_disable_most_optimizations": False,
    "jax_embedded_constants_max_bytes": 32,
    "jax_enable_pgle": False,
    "jax_exec_time_optimization_effort": 0.0,
    "jax_memory_fitting_effort": 0.0,
    "jax_memory_fitting_level": "O2",
    "jax_optimization_level": "UNKNOWN",
    "jax_remat3": False,
    "jax_remat_barrier_no_cotangents": False,
    "jax_remove_size_one_mesh_axis_from_type": False,
    "jax_scan3": False,
    "jax_use_direct_linearize": True,
    "jax_use_shardy_partitioner": True,
    "jax_use_simplified_jaxpr_constants": False,
}
"""Options that change the program for XLA or its compilation, on which the order of floating-point
sums depends."""
MODES = {
    "jax_array_garbage_collection_guard": None,
    "jax_check_static_indices": False,
    "jax_check_tracer_leaks": False,
    "jax_compilation_cache_check_contents": False,
    "jax_debug_infs": False,
    "jax_debug_key_reuse": False,  # A run uses its key at every step, by design.
    "jax_debug_nans": False,
    "jax_disable_bwd_checks": False,
    "jax_disable_jit": False,
    "jax_disable_vmap_shmap_error": False,
    "jax_disallow_mesh_context_manager": False,
    "jax_enable_checks": False,
    "jax_error_checking_behavior_divide": "ignore",
    "jax_error_checking_behavior_nan": "ignore",
    "jax_error_checking_behavior_oob": "ignore",
    "jax_experimental_unsafe_xla_runtime_errors": False,
    "jax_mutable_array_checks": True,
    "jax_no_execution": False,
    "jax_no_tracing": False,
    "jax_raise_persistent_cache_errors": False,
    "jax_refs_to_pins": False,
    "jax_thread_guard": False,
    "jax_transfer_guard_device_to_device": None,
    "jax_transfer_guard_device_to_host": None,
    "jax_transfer_guard_host_to_device": None,
}
"""Debugging modes, in which a step is compiled to another program, or to none."""
PINNED = RANDOM_NUMBERS | ARITHMETIC | PROGRAM | MODES
"""The options that `pin_options` sets. JAX's other options determine where it runs (platforms and
hosts, recorded as the run's device), what it caches, logs and dumps, and how code is lowered that
no run uses (Pallas, export, sparse and ragged products)."""

RECORDED = (
    "CUBLASLT_WORKSPACE_SIZE",
    "CUBLAS_EMULATE_SINGLE_PRECISION",
    "CUBLAS_EMULATION_STRATEGY",
    "CUBLAS_WORKSPACE_CONFIG",
    "DNNL_DEFAULT_FPMATH_MODE",
    "DNNL_MAX_CPU_ISA",
    "JAX_CPU_COLLECTIVES_IMPLEMENTATION",
    "JAX_MOCK_GPU_TOPOLOGY",
    "JAX_PJRT_CLIENT_CREATE_OPTIONS",
    "LIBTPU_INIT_ARGS",
    "NCCL_ALGO",
    "NCCL_PROTO",
    "NPROC",  # Number of XLA's threads on a CPU, which determines how it splits matrix products.
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "PJRT_NPROC",
    "TF_CUDNN_DETERMINISTIC",
    "TF_CUDNN_USE_AUTOTUNE",
    "TF_CUDNN_USE_FRONTEND",
    "TF_CUDNN_USE_RUNTIME_FUSION",
    "TF_CUDNN_WORKSPACE_LIMIT_IN_MB",
    "TF_DETERMINISTIC_OPS",
    "TF_ENABLE_CUBLAS_TENSOR_OP_MATH_FP32",
    "TF_ENABLE_CUDNN_TENSOR_OP_MATH_FP32",
    "XLA_FLAGS",
)
"""Variables that XLA and its libraries read when they start, which cannot be pinned later."""
HARMLESS_FLAGS = re.compile(
    r"--xla_(force_host_platform_device_count|dump_\w+|hlo_profile|gpu_cuda_data_dir"
    r"|gpu_force_compilation_parallelism|gpu_kernel_cache_file|gpu_enable_llvm_module_compilation\w+"
    r"|cpu_parallel_codegen_split_count|cpu_collective_call_\w+timeout\w+)(=|$)"
)
"""Flags in `XLA_FLAGS` that change no numbers; the number of devices is recorded separately."""


@contextlib.contextmanager
def pin_options(devices: bool = True) -> Iterator[None]:
    """Sets JAX's options that can change numbers to their standard values, and then restores them.

    devices: whether to check that there are devices, which initializes JAX.
    Raises `RunError` if the environment prevents JAX from starting, and `UsageError` within a
    context manager of JAX that sets an option to another value.
    """
    config = _imported().config
    before = {name: config.values[name] for name in PINNED if name in config.values}
    changed = {name: PINNED[name] for name in before if _plain(before[name]) != PINNED[name]}
    try:
        for name, value in changed.items():
            config.update(name, value)
        if held := [name for name in changed if _plain(config.values[name]) != PINNED[name]]:
            raise UsageError(f"call this outside of JAX's context managers of {', '.join(held)}")
        if devices:
            check_devices()
        yield
    finally:
        for name in changed:
            config.update(name, before[name])


def check_devices() -> None:
    """Raises `RunError` if JAX finds no device of the requested platform."""
    import jax

    try:
        jax.devices()
    except Exception as error:  # JAX raises an AssertionError too.
        reason = first_line(error) if str(error) else ""
        raise RunError(
            f"JAX finds no device{_asked()}{f': {reason}' if reason else ''}; check that it exists "
            "and that its jaxlib is installed, or unset JAX_PLATFORMS"
        ) from error


def recorded_variables() -> dict[str, str]:
    """Returns the environment variables that can change numbers and cannot be pinned."""
    found = {name: os.environ[name] for name in RECORDED if os.environ.get(name)}
    if flags := found.pop("XLA_FLAGS", ""):
        if not flags.lstrip().startswith("-"):  # The file from which XLA reads its flags.
            with contextlib.suppress(OSError):
                flags = Path(flags).read_text(encoding="utf-8", errors="replace")
        flags = " ".join(flag for flag in flags.split() if not HARMLESS_FLAGS.match(flag))
    return found | ({"XLA_FLAGS": flags} if flags else {})


def processor() -> str:
    """Returns the name of the processor and its widest vectors, for which XLA compiles.

    Where Linux does not say more, it is the architecture.
    """
    text = ""
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    widest = next((name for name in ("avx512f", "avx2", "avx") if f" {name} " in text), "")
    return " ".join(filter(None, [found[1] if found else platform.machine(), widest]))


def _imported():
    """Returns JAX, which reads its environment variables when it is imported."""
    try:
        import jax
    except ValueError as error:
        reason = first_line(error)
        raise RunError(f"JAX cannot start{_asked()}: {reason}; correct that variable") from error
    return jax


def _asked() -> str:
    """Returns JAX's environment variables that are set, as part of a sentence."""
    names = [name for name in sorted(os.environ) if name.startswith("JAX_")]
    return f" with {', '.join(f'{name}={os.environ[name]}' for name in names)}" if names else ""


def _plain(value: Any) -> Any:
    """Returns the value of an option in plain form: for an enumeration, its name."""
    return value.name.lower() if isinstance(value, enum.Enum) else value
