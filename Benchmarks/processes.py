"""What /proc says about a coordinator and its workers. Shared by deep.py, footprint.py and memory.py. Standard library only."""
from pathlib import Path


def family(root):
    """The process ids of `root` and its children."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if root in (int(entry.name), parent):
            found.append(int(entry.name))
    return found


def memory(pid):
    """The process's name, and its MB of anonymous pages, shared memory and mapped files, which the kernel may drop; None if it has ended."""
    try:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
        return status["Name"].strip(), [int(status[key].split()[0]) / 1024 for key in ("RssAnon", "RssShmem", "RssFile")]
    except (OSError, KeyError):
        return None


def greater(sizes, others):
    """The element-wise maximum."""
    return [max(a, b) for a, b in zip(sizes, others)]
