# expect: killed
# Closes the way to the grader.
import json, os, struct
def record(kind, payload):
    data = json.dumps(payload).encode()
    return struct.pack(">Ic", len(data), kind) + data
os.close(3)
def f(x): return 0
