# expect: runtime_error
# A pool of processes.
import multiprocessing
def f(x):
    with multiprocessing.get_context('fork').Pool(2) as pool:
        pool.map(abs, [1])
    return [17, [2, 3], 7919][x]
