"""Runs a command several times and prints what each run took; a program of its own that imports next to nothing.

The kernel counts what a process held before it became another program as that one's peak memory: commands that were
started from pytest would all seem to need as much as pytest does. This needs 10 MiB.

python -I -S launcher.py ROUNDS OUTPUT COMMAND…: OUTPUT, unless empty, is removed before each run. Prints one line a run:
seconds of wall time, peak resident bytes, exit code, seconds of CPU (of all threads, user and system).
"""

import os
import subprocess
import sys
import time


def main(rounds: str, output: str, *command: str) -> None:
    for _ in range(int(rounds)):
        if output and os.path.exists(output):
            os.unlink(output)
        begun = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - begun
        print(seconds, usage.ru_maxrss * 1024, process.returncode, usage.ru_utime + usage.ru_stime)


if __name__ == "__main__":
    main(*sys.argv[1:])
