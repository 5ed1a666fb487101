# expect: runtime_error
# Sends a signal with a value, by number of the system call.
import ctypes, os
def f(x):
    libc = ctypes.CDLL(None, use_errno=True)
    info = ctypes.create_string_buffer(128)
    if libc.sigqueue(os.getppid(), 0, info) != 0:
        raise OSError(ctypes.get_errno(), 'refused')
    return [17, [2, 3], 7919][x]
