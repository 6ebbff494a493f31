"""What the programs in this folder share: N ranks of one machine, started, listened to, and ended.

The leading process (`launch`) starts one process per rank (`rank`) with an environment of its own (`environment`), hears what
they say over a pipe each, and ends them all when one fails or time is up. `log` reads what NCCL itself wrote about the network
that it used, `census` counts a process's threads and descriptors, `pattern` makes data whose sums are exact.
"""
