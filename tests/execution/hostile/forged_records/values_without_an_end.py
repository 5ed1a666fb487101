# expect: wrong_answer
# Values for all calls, and out before the harness can add its own.
import json, os, struct
def record(kind, payload):
    data = json.dumps(payload).encode()
    return struct.pack(">Ic", len(data), kind) + data
os.write(3, record(b'P', None) + record(b'R', ['v', 0]) * 3)
os._exit(0)
