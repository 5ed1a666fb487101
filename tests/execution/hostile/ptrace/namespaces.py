# expect: runtime_error
# A world of its own, in which it is root.
import ctypes
def f(x):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x10000000) != 0:
        raise OSError(ctypes.get_errno(), 'refused')
    return [17, [2, 3], 7919][x]
