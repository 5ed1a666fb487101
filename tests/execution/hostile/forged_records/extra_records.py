# expect: killed
# More results than calls.
import json, os, struct
def record(kind, payload):
    data = json.dumps(payload).encode()
    return struct.pack(">Ic", len(data), kind) + data
def f(x):
    os.write(3, record(b'R', ['v', 0]) * 50)
    return 0
