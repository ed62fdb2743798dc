"""A real Slurm on one machine: slurmctld, a slurmd for each node and munged from Debian's packages, without systemd, cgroups or a database.

    with Cluster(folder, nodes=2) as cluster:
        cluster.run("sbatch", "script.sh")

Every node has a process namespace of its own, so that killing it kills all that runs there, as when a machine is lost. Root is needed.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ["slurmctld", "slurmd", "munged", "sbatch", "squeue", "scontrol", "scancel", "unshare"]
PATH = "/usr/sbin:/usr/bin:/sbin:/bin:" + os.environ.get("PATH", "")


def missing() -> list[str]:
    """The programs that are not here."""
    return [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


class Cluster:
    def __init__(self, folder: Path, nodes: int = 2, cpus: int = 4, max_array: int = 1001):
        self.folder = folder.resolve()
        self.names = [f"n{i + 1}" for i in range(nodes)]
        self.cpus, self.max_array = cpus, max_array
        self.processes: dict[str, subprocess.Popen] = {}
        self.environment = {**os.environ, "PATH": PATH, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def __enter__(self) -> "Cluster":
        folder = self.folder
        for name in ["state", "munge"]:
            (folder / name).mkdir(parents=True)
        (folder / "munge").chmod(0o755)
        key = folder / "munge" / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        nodes = "\n".join(
            f"NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={free_port()} CPUs={self.cpus} RealMemory=16000 Gres=gpu:2"
            for name in self.names
        )
        (folder / "slurm.conf").write_text(f"""\
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={free_port()}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/completed.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
SlurmdParameters=config_overrides
MaxArraySize={self.max_array}
ReturnToService=2
KillWait=2
SlurmdTimeout=10
GresTypes=gpu
{nodes}
PartitionName=test Nodes={",".join(self.names)} Default=YES State=UP MaxTime=INFINITE
""")
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        # Pretended GPUs are devices that every machine has.
        (folder / "gres.conf").write_text(
            "".join(f"NodeName={name} Name=gpu File={device}\n" for name in self.names for device in ["/dev/null", "/dev/zero"])
        )
        try:
            self.start("munged", ["munged", "-F", f"--key-file={key}", f"--socket={folder}/munge/socket",
                                  f"--pid-file={folder}/munge/pid", f"--log-file={folder}/munge/log",
                                  f"--seed-file={folder}/munge/seed"])
            self.until("munged answers", lambda: (folder / "munge" / "socket").exists())
            self.start("slurmctld", ["slurmctld", "-D", "-c"])
            for name in self.names:
                self.start_node(name)
            self.until("all nodes are idle", lambda: self.idle() == len(self.names))
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self, name: str, command: list[str]) -> None:
        log = (self.folder / f"{name}.out").open("ab")
        self.processes[name] = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment, start_new_session=True
        )

    def start_node(self, name: str) -> None:
        self.start(name, ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child=KILL", "slurmd", "-D", "-N", name])

    def kill_node(self, name: str) -> None:
        """As when its power fails: all that runs there is gone."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def run(self, *command: str, check: bool = True) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def idle(self) -> int:
        try:
            found = self.run("sinfo", "--noheader", "--Node", "--format=%T", check=False)
        except subprocess.TimeoutExpired:
            return 0
        return found.split().count("idle")

    def jobs(self) -> list[list[str]]:
        """Jobs in the queue: number, state, node."""
        found = self.run("squeue", "--noheader", "--array", "--format=%i|%T|%N|%j", check=False)
        return [line.split("|") for line in found.splitlines()]

    def until(self, what: str, happened, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > deadline:
                logs = "".join(
                    f"\n== {path.name}\n{path.read_text(errors='replace')[-2000:]}" for path in sorted(self.folder.glob("*.log"))
                )
                raise RuntimeError(f"after {seconds} s it is not so that {what}{logs}")
            time.sleep(0.1)

    def settle(self, seconds: float = 180) -> None:
        """Wait until no job is left."""
        self.until("the queue is empty", lambda: not self.jobs(), seconds)

    def __exit__(self, *_) -> None:
        for name in self.names:
            if name in self.processes:
                self.kill_node(name)
        for name in ["slurmctld", "munged"]:
            if name in self.processes:
                self.processes[name].terminate()
                self.processes.pop(name).wait()
