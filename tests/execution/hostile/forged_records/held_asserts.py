# expect: killed
# Writes that all asserts held.
import json, os, struct
def record(kind, payload):
    data = json.dumps(payload).encode()
    return struct.pack(">Ic", len(data), kind) + data
os.write(3, record(b'P', None) + record(b'R', ['a', True]) * 3 + record(b'D', None))
os._exit(0)
