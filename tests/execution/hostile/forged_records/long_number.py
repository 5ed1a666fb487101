# expect: killed
# A number of a million digits, which takes long to parse in decimal.
import json, os, struct
def record(kind, payload):
    data = json.dumps(payload).encode()
    return struct.pack(">Ic", len(data), kind) + data
os.write(3, record(b'P', None))
number = b'["v",' + b'7' * 1000000 + b']'
data = struct.pack(">Ic", len(number), b'R') + number
while data:
    data = data[os.write(3, data):]
os._exit(0)
