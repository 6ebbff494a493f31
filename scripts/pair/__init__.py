"""Two processes with an agent of NIXL each: what nixl_bench.py measures."""
