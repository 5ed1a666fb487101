# expect: runtime_error
# Asks to be traced, which stops it at every signal.
import ctypes
def f(x):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(0, 0, None, None) != 0:
        raise OSError(ctypes.get_errno(), 'refused')
    return [17, [2, 3], 7919][x]
