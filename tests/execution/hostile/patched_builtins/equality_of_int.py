# expect: wrong_answer | killed
# Overwrites the comparison of int itself, in memory.
import ctypes
slots = ctypes.cast(id(int), ctypes.POINTER(ctypes.c_void_p))
always = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.py_object, ctypes.c_int)(lambda a, b, op: True)
slots[25] = ctypes.cast(always, ctypes.c_void_p).value  # tp_richcompare
def f(x): return 0
