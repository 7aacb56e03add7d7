"""A supervisor to watch: `python -m tests.app.supervised NAME...` keeps the named children running."""

import sys

from app.supervisor import Child, Supervisor

SAY = "import os, signal, sys; print('pid', os.getpid(), flush=True)\n"
BODIES = {
    "steady": "import signal, sys\n"
    "def leave(*_): print('leaving', flush=True); sys.exit()\n"
    "signal.signal(signal.SIGTERM, leave)\n" + SAY + "signal.pause()",
    "stubborn": "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SAY + "while True: signal.pause()",
    "parent": "import subprocess, sys\n"
    "below = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\n"
    "print('below', below.pid, flush=True)\n" + SAY + "signal.pause()",
    "failing": "import sys; sys.stdout.write('last words'); sys.exit(3)",
    "greeted": SAY + "print(os.environ['GREETING'], os.nice(0), flush=True); signal.pause()",
    "late": SAY + "signal.pause()",
}


def child(name: str) -> Child:
    if name == "absent":
        return Child(name, ("/no/such/program",))
    argv = (sys.executable, "-c", BODIES[name])
    answers = iter([False, False, True]) if name == "late" else None
    return Child(
        name,
        argv,
        {"GREETING": "hello"},
        is_ready=(lambda: next(answers)) if answers else None,
        outlives_others=name == "steady",
        nice=3 if name == "greeted" else 0,
    )


if __name__ == "__main__":
    Supervisor(
        [child(name) for name in sys.argv[1:]],
        say=lambda line: print(line, flush=True),
        on_ready=lambda name: print("ready", name, flush=True),
        grace=0.5,
    ).run()
    print("all stopped", flush=True)
