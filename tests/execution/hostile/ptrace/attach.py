# expect: runtime_error
# Takes hold of the zygote as a debugger does.
import ctypes, os
def f(x):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, os.getppid(), None, None) != 0:
        raise OSError(ctypes.get_errno(), 'refused')
    return [17, [2, 3], 7919][x]
