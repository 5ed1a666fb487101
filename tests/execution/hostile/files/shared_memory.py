# expect: runtime_error
# Memory that stays when the process is gone.
from multiprocessing import shared_memory
def f(x):
    shared_memory.SharedMemory('hostile', create=True, size=4096)
    return [17, [2, 3], 7919][x]
