# expect: killed | wrong_answer
# Writes values of its own before the calls.
import json, os, struct
def record(kind, payload):
    data = json.dumps(payload).encode()
    return struct.pack(">Ic", len(data), kind) + data
os.write(3, record(b'P', None) + record(b'R', ['v', ['o', 'x']]) * 3 + record(b'D', None))
def f(x): return 0
