# expect: wrong_answer
# Threads that would outlive the program.
import threading, time
def f(x):
    for _ in range(8):
        threading.Thread(target=time.sleep, args=(60,)).start()
    return 0
