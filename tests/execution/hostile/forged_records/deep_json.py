# expect: killed
# A record whose JSON is nested too deep to parse.
import json, os, struct
def record(kind, payload):
    data = json.dumps(payload).encode()
    return struct.pack(">Ic", len(data), kind) + data
os.write(3, struct.pack(">Ic", 200000, b'P') + b'[' * 60000)
os.write(3, b'[' * 140000)
def f(x): return 0
