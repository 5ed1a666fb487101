# expect: runtime_error
# Reads the zygote's memory.
import ctypes, os
def f(x):
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(8)
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
    if libc.process_vm_readv(os.getppid(), vector, 1, vector, 1, 0) < 0:
        raise OSError(ctypes.get_errno(), 'refused')
    return [17, [2, 3], 7919][x]
