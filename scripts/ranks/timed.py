"""Seconds of each iteration, and what they cost in CPU time."""

import time


class Timed:
    """Seconds of each iteration; CPU seconds of all of them together, and the main thread's part, which spins for the GPU."""

    def __init__(self):
        self.seconds, self.cpu_s, self.main_cpu_s = [], 0.0, 0.0

    def iteration(self, counts):
        self.counts = counts
        return self

    def __enter__(self):
        self.began = time.process_time(), time.thread_time(), time.perf_counter()

    def __exit__(self, *_):
        ended = time.perf_counter(), time.thread_time(), time.process_time()
        if self.counts:
            self.seconds.append(ended[0] - self.began[2])
            self.main_cpu_s += ended[1] - self.began[1]
            self.cpu_s += ended[2] - self.began[0]

    def fields(self):
        """What a rank says of it."""
        return {"seconds": self.seconds, "cpu_s": self.cpu_s, "main_cpu_s": self.main_cpu_s}
