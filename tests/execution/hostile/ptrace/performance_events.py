# expect: runtime_error
# Measures what others do.
import ctypes, platform
def f(x):
    number = {'x86_64': 298, 'aarch64': 241}[platform.machine()]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, ctypes.create_string_buffer(128), 0, -1, -1, 0) < 0:
        raise OSError(ctypes.get_errno(), 'refused')
    return [17, [2, 3], 7919][x]
