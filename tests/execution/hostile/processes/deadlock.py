# expect: timeout
# cpu: 0.01
# Waits for itself.
import threading
lock = threading.Lock()
lock.acquire()
def f(x):
    lock.acquire()
