//! The batch scripts that Slurm runs: for a person to read, and to change by hand.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use setaccio_base::shell;

/// Folder of a submission's logs.
pub const LOGS: &str = "logs";

/// The list of slices that an array does, one a line.
pub const LIST: &str = "slices.txt";

/// Turns of a job at most, should it never come to an end.
const TURNS: u32 = 100;

/// What a job takes, as `sbatch` names it.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// `--partition`
    pub partition: Option<String>,
    /// `--account`
    pub account: Option<String>,
    /// `--qos`
    pub qos: Option<String>,
    /// `--time`
    pub time: Option<String>,
    /// Seconds before its time is up that a job is told so.
    pub notice: u32,
    /// CPUs of a process.
    pub cpus: u16,
    /// Memory of a process, in MiB.
    pub memory: u64,
    /// GPUs of a process.
    pub gpus: u16,
}

/// A script.
pub struct Script<'a> {
    /// What its job is called.
    pub name: &'a str,
    /// What it does, for whoever reads it.
    pub about: &'a str,
    /// What the job takes.
    pub resources: &'a Resources,
    /// Elements of the array, if it is one.
    pub elements: Option<usize>,
    /// The file of its output; `%a` is the number of an element.
    pub log: PathBuf,
    /// A file of shell commands that comes first: modules, variables.
    pub env: Option<&'a Path>,
    /// Where the command was given.
    pub folder: &'a Path,
    /// Lines that set something before the work.
    pub settings: &'a [String],
    /// Whether what a stop leaves done is kept, so that another turn goes on from there.
    pub goes_on: bool,
    /// The work: commands that stop cleanly follow `turn`.
    pub work: &'a str,
}

/// A value of an `#SBATCH` line: `sbatch` reads quotes and backslashes there as a shell does, and replaces what follows `%`.
fn value(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@+,%".contains(c);
    if text.chars().all(plain) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A path in the name of a log: what comes after a `%` in it is no pattern.
pub fn log_in(folder: &Path, pattern: &str) -> PathBuf {
    PathBuf::from(folder.display().to_string().replace('%', "%%")).join(LOGS).join(pattern)
}

impl Script<'_> {
    /// Its text.
    pub fn text(&self) -> String {
        let Self { name, about, resources, elements, log, env, folder, settings, goes_on, work } = self;
        let Resources { partition, account, qos, time, notice, cpus, memory, gpus } = resources;
        let mut text = format!("#!/bin/bash\n# {about}\n#SBATCH --job-name={}\n", value(name));
        let mut option = |name: &str, given: Option<String>| {
            if let Some(given) = given {
                let _ = writeln!(text, "#SBATCH --{name}={}", value(&given));
            }
        };
        option("array", elements.map(|n| format!("1-{n}")));
        option("partition", partition.clone());
        option("account", account.clone());
        option("qos", qos.clone());
        option("time", time.clone());
        option("nodes", Some("1".into()));
        option("ntasks-per-node", Some("1".into()));
        option("cpus-per-task", Some(cpus.to_string()));
        option("gpus-per-node", (*gpus > 0).then(|| gpus.to_string()));
        option("mem", Some(format!("{memory}M")));
        option("output", Some(log.display().to_string()));
        text.push_str("#SBATCH --open-mode=append\n");
        let _ = writeln!(
            text,
            "# USR1 comes {notice} s before the time is up: what runs stops cleanly then.\n\
             #SBATCH --signal=B:USR1@{notice}\n#SBATCH --requeue\n"
        );
        text.push_str("set -u\n");
        if let Some(env) = env {
            let _ = writeln!(text, "source {}", shell::word(&env.display().to_string()));
        }
        let _ = writeln!(text, "cd {} || exit 1", shell::word(&folder.display().to_string()));
        for setting in *settings {
            let _ = writeln!(text, "{setting}");
        }
        text.push_str(TURN);
        text.push_str(&if *goes_on { again() } else { ANEW.to_owned() });
        text.push_str(work);
        text
    }
}

/// The function of a script that runs a command and passes signals on to it.
const TURN: &str = r#"
# Run a command, and pass USR1 and TERM on to it: it stops cleanly and keeps what it has done (exit code 138 or 143).
turn() {
    local child code last stopped=""
    "$@" &
    child=$!
    trap 'stopped=yes; kill -USR1 "$child" 2>/dev/null' USR1 TERM
    wait "$child"
    code=$?
    while kill -0 "$child" 2>/dev/null; do
        wait "$child"
        code=$?
    done
    # A signal ends `wait` before the command has ended: this is how the command did.
    if [ -n "$stopped" ]; then
        wait "$child"
        last=$?
        [ "$last" -ne 127 ] && code=$last
    fi
    trap - USR1 TERM
    if [ "$code" -eq 138 ] || [ "$code" -eq 143 ]; then
        stopped
        exit "$code"
    fi
    return "$code"
}
"#;

/// What a job does that was stopped and goes on from there.
fn again() -> String {
    format!(
        r#"
# The job goes back to the queue, unless somebody cancelled it, and goes on from there when its turn comes.
stopped() {{
    local job="${{SLURM_ARRAY_JOB_ID:+${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}}}"
    job="${{job:-$SLURM_JOB_ID}}"
    if [ "${{SLURM_RESTART_COUNT:-0}}" -ge {TURNS} ]; then
        echo "job $job had {TURNS} turns and is not done: give it more time, or more slices" >&2
    elif scontrol show job --oneliner "$job" | grep -q ' JobState=RUNNING '; then
        scontrol requeue "$job"
    fi
}}

"#
    )
}

/// What a job does that was stopped and would begin anew.
const ANEW: &str = r#"
# Joining begins anew each time: another turn of the same length would not be enough either.
stopped() {
    echo "joining was stopped and begins anew: submit again with more time (--finish-time) or more CPUs (--finish-jobs)" >&2
}

"#;

/// The work of an array: the slices of `list`, `step` elements, each by `command`.
pub fn slices(command: &str, list: &Path, of: usize, step: usize) -> String {
    let list = shell::word(&list.display().to_string());
    format!(
        r#"# Element E of the array does the slices in lines E, E + {step}, E + 2 * {step} ... of the list, one after the other. One that fails
# says why in the output folder, for `setaccio status`.
failed=0
for slice in $(awk -v first="$SLURM_ARRAY_TASK_ID" -v step={step} 'NR % step == first % step' {list}); do
    turn {command} --jobs "$SLURM_CPUS_PER_TASK" --task "$slice/{of}" || failed=1
done
exit "$failed"
"#
    )
}

/// The work of an array of processes that join the slices together.
pub fn join(command: &str) -> String {
    format!("turn {command} --jobs \"$SLURM_CPUS_PER_TASK\" --finish=auto\nexit \"$?\"\n")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn script(work: &str) -> String {
        let resources =
            Resources { time: Some("01:00:00".into()), notice: 120, cpus: 2, memory: 4096, ..Resources::default() };
        Script {
            name: "setaccio-lab",
            about: "A test.",
            resources: &resources,
            elements: Some(3),
            log: log_in(Path::new("/tmp/it's 100% \"here\""), "slices-%a.log"),
            env: Some(Path::new("/home/u/my env.sh")),
            folder: Path::new("/tmp"),
            settings: &["export HF_HUB_OFFLINE=1".to_owned()],
            goes_on: true,
            work,
        }
        .text()
    }

    #[test]
    fn bash_reads_every_script() {
        let work = slices("setaccio build 'a b.toml'", Path::new("/tmp/a b/slices.txt"), 40, 3);
        let text = script(&work);
        let read = Command::new("bash").args(["-n", "-c", &text]).output().unwrap_or_else(|e| panic!("{e}"));
        assert!(read.status.success() && read.stderr.is_empty(), "{}", String::from_utf8_lossy(&read.stderr));
        for line in [
            "#SBATCH --array=1-3",
            "#SBATCH --time=01:00:00",
            "#SBATCH --signal=B:USR1@120",
            "#SBATCH --output=\"/tmp/it's 100%% \\\"here\\\"/logs/slices-%a.log\"",
            "source '/home/u/my env.sh'",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    /// What the function `turn` makes of a command, with a Slurm that says this of the job's state.
    fn turned(command: &str, state: &str, signal: bool) -> (Option<i32>, String) {
        let slurm = format!(
            "scontrol() {{ echo \"scontrol $*\" >&2; [ $1 = show ] && echo 'x JobState={state} y'; return 0; }}\n"
        );
        let send = if signal { "(sleep 0.5; kill -USR1 $$) &\n" } else { "" };
        let text =
            format!("SLURM_JOB_ID=7\n{slurm}{TURN}{}{send}turn bash -c {} || exit 9\n", again(), shell::quote(command));
        let done = Command::new("bash").args(["-c", &text]).output().unwrap_or_else(|e| panic!("{e}"));
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    }

    #[test]
    fn a_job_that_is_stopped_asks_for_another_turn() {
        // Stops at the signal, as setaccio does.
        let stops = "trap 'sleep 0.3; exit 138' USR1; while :; do sleep 0.05; done";
        let (code, said) = turned(stops, "RUNNING", true);
        assert_eq!(code, Some(138), "{said}");
        assert!(said.contains("scontrol requeue 7"), "{said}");
        // Somebody cancelled it.
        let (code, said) = turned(stops, "CANCELLED", true);
        assert_eq!(code, Some(138), "{said}");
        assert!(!said.contains("requeue"), "{said}");
        // It was done when the signal came.
        let (code, said) = turned("trap 'sleep 0.3; exit 0' USR1; while :; do sleep 0.05; done", "RUNNING", true);
        assert_eq!(code, Some(0), "{said}");
        assert!(!said.contains("requeue"), "{said}");
        let (code, said) = turned("exit 1", "RUNNING", false);
        assert_eq!(code, Some(9), "{said}");
        assert!(!said.contains("requeue"), "{said}");
    }
}
