//! What a batch system tells the processes that it starts, by variables of the environment.

use setaccio_curate::parts::{Note, now};

/// The number of this process, from 1, and how many there are, if that is said.
type Turn = (usize, Option<usize>);

/// That of this process.
///
/// # Errors
/// No batch system that is known started it.
pub fn turn() -> Result<Turn, String> {
    turn_of(|name| std::env::var(name).ok())
}

fn turn_of(variable: impl Fn(&str) -> Option<String>) -> Result<Turn, String> {
    let number = |name: &str| variable(name)?.parse::<usize>().ok();
    if let Some(id) = number("SLURM_ARRAY_TASK_ID") {
        let (least, step) = (number("SLURM_ARRAY_TASK_MIN").unwrap_or(1), number("SLURM_ARRAY_TASK_STEP").unwrap_or(1));
        return Ok((id.saturating_sub(least) / step.max(1) + 1, number("SLURM_ARRAY_TASK_COUNT")));
    }
    if let Some(index) = number("JOB_COMPLETION_INDEX") {
        return Ok((index + 1, None));
    }
    if let Some(index) = number("AWS_BATCH_JOB_ARRAY_INDEX") {
        return Ok((index + 1, number("AWS_BATCH_JOB_ARRAY_SIZE")));
    }
    Err("none of SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX and AWS_BATCH_JOB_ARRAY_INDEX is set: write I/N, for instance 3/7".into())
}

/// What this process says of itself.
pub fn note() -> Note {
    let variable = |name: &str| std::env::var(name).ok();
    let system = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    let host = variable("SLURMD_NODENAME").or_else(system).unwrap_or_else(|| "an unknown machine".into());
    Note { host, job: job_of(variable), began: now(), ..Note::default() }
}

fn job_of(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    match (variable("SLURM_ARRAY_JOB_ID"), variable("SLURM_ARRAY_TASK_ID")) {
        (Some(array), Some(element)) => Some(format!("{array}_{element}")),
        _ => variable("SLURM_JOB_ID").or_else(|| variable("AWS_BATCH_JOB_ID")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(set: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn the_turn_is_that_of_the_array() {
        let slurm = [("SLURM_ARRAY_TASK_ID", "5"), ("SLURM_ARRAY_TASK_MIN", "1"), ("SLURM_ARRAY_TASK_COUNT", "7")];
        assert_eq!(turn_of(of(&slurm)), Ok((5, Some(7))));
        let from_0_by_10 =
            [("SLURM_ARRAY_TASK_ID", "30"), ("SLURM_ARRAY_TASK_MIN", "0"), ("SLURM_ARRAY_TASK_STEP", "10")];
        assert_eq!(turn_of(of(&from_0_by_10)), Ok((4, None)));
        assert_eq!(turn_of(of(&[("JOB_COMPLETION_INDEX", "0")])), Ok((1, None)));
        let batch = [("AWS_BATCH_JOB_ARRAY_INDEX", "2"), ("AWS_BATCH_JOB_ARRAY_SIZE", "3")];
        assert_eq!(turn_of(of(&batch)), Ok((3, Some(3))));
        assert!(turn_of(of(&[])).is_err_and(|why| why.contains("JOB_COMPLETION_INDEX")));
    }

    #[test]
    fn a_job_has_the_name_that_its_system_shows() {
        assert_eq!(job_of(of(&[("SLURM_JOB_ID", "9")])).as_deref(), Some("9"));
        let element = [("SLURM_JOB_ID", "9"), ("SLURM_ARRAY_JOB_ID", "7"), ("SLURM_ARRAY_TASK_ID", "2")];
        assert_eq!(job_of(of(&element)).as_deref(), Some("7_2"));
        assert_eq!(job_of(of(&[])), None);
    }
}
