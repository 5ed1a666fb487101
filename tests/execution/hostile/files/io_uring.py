# expect: runtime_error
# Asks for the queue by which files can be written without further system calls.
import ctypes
def f(x):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(425, 4, ctypes.create_string_buffer(256)) < 0:
        raise OSError(ctypes.get_errno(), 'refused')
    return [17, [2, 3], 7919][x]
