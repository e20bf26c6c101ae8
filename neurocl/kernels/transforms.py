"""Is the caller inside something that cannot see through a hand-written kernel?"""

import torch


def inside_transform() -> bool:
    """Tell whether ``torch.func`` (vmap, grad, jvp, ...) is at work; kernels then fall back to plain autograd."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def inside_compiler() -> bool:
    """Tell whether ``torch.compile`` or ``torch.export`` is tracing; kernels then go through their custom ops."""
    return torch.compiler.is_compiling()


def inside_autocast(device_type: str) -> bool:
    """Tell whether ``torch.autocast`` chooses types on such devices; never on those that it does not know."""
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)
