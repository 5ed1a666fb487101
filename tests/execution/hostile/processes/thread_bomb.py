# expect: runtime_error | memory | timeout | killed
# Starts threads until there is no room for more.
import threading, time
def f(x):
    while True:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
