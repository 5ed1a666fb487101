# expect: killed
# A system call by the numbers of 32-bit x86, which no table is made for.
import ctypes, mmap, platform
def f(x):
    if platform.machine() != 'x86_64':
        import os
        os._exit(0)
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes([0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0xC3]))  # getpid by int 0x80
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    ctypes.CFUNCTYPE(ctypes.c_int)(address)()
    return [17, [2, 3], 7919][x]
