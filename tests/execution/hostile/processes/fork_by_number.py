# expect: runtime_error
# clone without the flag for threads, by number.
import ctypes, platform
def f(x):
    number = {'x86_64': 56, 'aarch64': 220}[platform.machine()]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, 17, 0, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), 'refused')
    return [17, [2, 3], 7919][x]
