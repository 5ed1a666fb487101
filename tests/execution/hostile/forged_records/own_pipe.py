# expect: killed
# Puts a pipe of its own in the place of the records.
import json, os, struct
def record(kind, payload):
    data = json.dumps(payload).encode()
    return struct.pack(">Ic", len(data), kind) + data
source, sink = os.pipe()
os.dup2(sink, 3)
def f(x): return 0
