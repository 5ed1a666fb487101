# expect: runtime_error
# Loads a program into the kernel.
import ctypes, platform
def f(x):
    number = {'x86_64': 321, 'aarch64': 280}[platform.machine()]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, 0, ctypes.create_string_buffer(128), 128) < 0:
        raise OSError(ctypes.get_errno(), 'refused')
    return [17, [2, 3], 7919][x]
