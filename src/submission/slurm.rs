//! Slurm's own commands: what is in its queue, and giving it scripts.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{FINISH, JOIN, SLICES, Submission};

/// Elements of an array at most, where Slurm does not say how many it takes.
const ELEMENTS: usize = 1000;

/// What a job in the queue is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// `PENDING`, `RUNNING` ...
    pub state: String,
    /// Why it waits.
    pub reason: String,
}

/// The jobs of this user that are in the queue, by number: `12`, or `12_3` for an element of an array.
pub type Queue = BTreeMap<String, Queued>;

/// That of now.
///
/// # Errors
/// There is no Slurm here, or it does not answer.
pub fn queue() -> Result<Queue> {
    let text = call("squeue", &["--me", "--noheader", "--array", "--format=%i|%T|%r"])?;
    Ok(parse(&text))
}

fn parse(text: &str) -> Queue {
    let line = |line: &str| {
        let mut parts = line.trim().splitn(3, '|').map(str::to_owned);
        let (id, state, reason) = (parts.next()?, parts.next()?, parts.next()?);
        Some((id, Queued { state, reason }))
    };
    text.lines().filter_map(line).collect()
}

impl Submission {
    /// The job of a step in the queue: of an array, that of one of its elements.
    pub fn queued<'q>(&self, queue: &'q Queue, step: &str, element: Option<usize>) -> Option<&'q Queued> {
        let job = self.record.jobs.get(step)?;
        let element = element.map(|element| format!("{job}_{element}"));
        queue.get(element.as_deref().unwrap_or(job))
    }

    /// The slices that jobs in the queue do or will do.
    pub fn queued_slices(&self, queue: &Queue) -> BTreeSet<usize> {
        let there = (1..=self.record.elements).filter(|element| self.queued(queue, SLICES, Some(*element)).is_some());
        there.flat_map(|element| self.record.slices_of(element)).collect()
    }

    /// The jobs that join the slices, if what publishes them is in the queue.
    pub fn queued_finish(&self, queue: &Queue) -> Vec<&str> {
        if self.queued(queue, FINISH, None).is_none() {
            return Vec::new();
        }
        [JOIN, FINISH].iter().filter_map(|step| self.record.jobs.get(*step)).map(String::as_str).collect()
    }
}

/// Elements that an array may have here.
pub fn most_elements() -> usize {
    let text = call("scontrol", &["show", "config"]).unwrap_or_default();
    // Numbers of elements are below it.
    of_config(&text).map_or(ELEMENTS, |size| size.saturating_sub(1)).max(1)
}

fn of_config(text: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("MaxArraySize"))?;
    line.trim_start_matches([' ', '=']).trim().parse().ok()
}

/// Seconds of a time limit as `sbatch` takes it: minutes, `minutes:seconds`, `hours:minutes:seconds`, and `days-` before hours, or hours and
/// what follows.
pub fn seconds(time: &str) -> Option<u64> {
    let (days, rest) = time.split_once('-').map_or((None, time), |(days, rest)| (Some(days), rest));
    let parts: Vec<u64> = rest.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = match (days, parts.as_slice()) {
        (None, [minutes]) => [0, *minutes, 0],
        (None, [minutes, seconds]) => [0, *minutes, *seconds],
        (Some(_), [hours]) => [*hours, 0, 0],
        (Some(_), [hours, minutes]) => [*hours, *minutes, 0],
        (_, [hours, minutes, seconds]) => [*hours, *minutes, *seconds],
        _ => return None,
    };
    let days: u64 = days.map_or(Some(0), |days| days.parse().ok())?;
    Some(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
}

/// Submit a script, after other jobs; says the job's number.
pub fn submit(script: &Path, after: &[String]) -> Result<String> {
    let script = script.to_str().context("the name of the output folder is not UTF-8")?;
    let dependency = format!("--dependency={}", after.join(","));
    let mut arguments = vec!["--parsable"];
    if !after.is_empty() {
        arguments.extend(["--kill-on-invalid-dep=yes", &dependency]);
    }
    arguments.push(script);
    let said = call("sbatch", &arguments)?;
    // With several clusters, the name of one follows.
    let job = said.trim().split(';').next().unwrap_or_default();
    if job.is_empty() || !job.chars().all(|c| c.is_ascii_digit()) {
        bail!("sbatch answers {:?}, which is no number of a job", said.trim());
    }
    Ok(job.to_owned())
}

/// Take a job from the queue.
pub fn cancel(job: &str) -> Result<()> {
    call("scancel", &[job]).map(drop)
}

fn call(program: &str, arguments: &[&str]) -> Result<String> {
    let done = Command::new(program).args(arguments).output();
    let done = done.with_context(|| format!("cannot run {program}: is this a machine of a Slurm cluster?"))?;
    if !done.status.success() {
        bail!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{super::Record, *};

    #[test]
    fn time_limits_are_read_as_sbatch_reads_them() {
        for (time, expected) in [
            ("30", 1800),
            ("30:15", 1815),
            ("02:00:00", 7200),
            ("1-0", 86_400),
            ("1-2:30", 95_400),
            ("2-00:00:01", 172_801),
        ] {
            assert_eq!(seconds(time), Some(expected), "{time}");
        }
        for wrong in ["", "UNLIMITED", "1:2:3:4", "1-", "x-1"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_slurm_says_is_understood() {
        let queue = parse("12_1|RUNNING|None\n12_2|PENDING|Resources\n13|PENDING|Dependency\n");
        let jobs = [(SLICES, "12"), (FINISH, "13")].map(|(step, job)| (step.to_owned(), job.to_owned())).into();
        let record = Record { slices: vec![4, 5, 6, 7], elements: 3, jobs, ..Record::default() };
        let submission = Submission { folder: "x".into(), record };
        assert_eq!(submission.queued_slices(&queue).into_iter().collect::<Vec<_>>(), [4, 5, 7]);
        assert_eq!(submission.queued_finish(&queue), ["13"]);
        assert_eq!(submission.queued(&queue, SLICES, Some(2)).map(|q| q.reason.as_str()), Some("Resources"));
        assert_eq!(submission.queued(&queue, SLICES, Some(3)), None);
        assert_eq!(of_config("MailProg = /bin/true\nMaxArraySize            = 1001\nMaxJobCount = 1\n"), Some(1001));
    }
}
