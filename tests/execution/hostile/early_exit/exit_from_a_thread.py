# expect: killed
# Another thread ends the process while the call waits.
import os, threading, time
def f(x):
    threading.Thread(target=os._exit, args=(0,)).start()
    time.sleep(5)
