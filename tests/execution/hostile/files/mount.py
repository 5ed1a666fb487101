# expect: runtime_error
# Mounts a file system, as root may.
import ctypes
def f(x):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b'none', b'/nonexistent', b'tmpfs', 0, None) != 0 and ctypes.get_errno() == 1:
        raise OSError(ctypes.get_errno(), 'refused')
    return [17, [2, 3], 7919][x]
