# expect: killed
# A record that is said to be longer than all memory.
import json, os, struct
def record(kind, payload):
    data = json.dumps(payload).encode()
    return struct.pack(">Ic", len(data), kind) + data
os.write(3, struct.pack(">Ic", 0xFFFFFFFF, b'P') + b'x' * 100)
def f(x): return 0
