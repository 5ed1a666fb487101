"""From a policy, and something that judges what it writes, to better programs: best-of-N and beams of lines."""
