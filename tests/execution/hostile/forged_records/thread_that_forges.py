# expect: killed
# A thread writes the end, again and again.
import json, os, struct
def record(kind, payload):
    data = json.dumps(payload).encode()
    return struct.pack(">Ic", len(data), kind) + data
import threading, time
def late():
    while True:
        os.write(3, record(b'D', None))
threading.Thread(target=late, daemon=True).start()
def f(x):
    time.sleep(0.05)
    return 0
