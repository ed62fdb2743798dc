//! How a training run or a chain stands: by its folder, and by what the process that was at it last said of itself.

use std::{fs, path::Path, time::SystemTime};

use serde_json::Value;
use setaccio_base::{
    hidden::HIDDEN,
    lock_file::LockFile,
    manifest,
    run_lock::{self, Outline, RunLock},
};
use setaccio_curate::parts::{PartStanding, State};

use crate::{kind::CHAIN, submission::TRAIN};

/// What a folder tells of a run or a chain in it.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Whether a process has the folder.
    held: bool,
    /// When it was finished, if it is.
    finished: Option<SystemTime>,
}

/// A run or a chain.
pub struct Standing {
    /// How it stands.
    pub part: PartStanding,
    /// The last step of a run that its metrics tell of.
    pub step: Option<u64>,
}

impl Standing {
    /// That of what is in `out`, which was asked for `since` then, if it is known when; nothing if there is neither a run nor a chain.
    pub fn of(out: &Path, since: Option<SystemTime>) -> anyhow::Result<Option<Self>> {
        // What a process says of itself goes before what it leaves: it may come to its end meanwhile.
        let part = PartStanding::of(out, TRAIN.to_owned())?;
        let (chain, hidden) = (out.join(CHAIN), out.join(HIDDEN));
        let modified = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
        let lock = out.join(run_lock::NAME);
        let seen = if chain.exists() {
            // Its manifest stays while the chain is made again with other recipes.
            let last = |at: &SystemTime| part.state == State::Done || part.noted.is_none_or(|noted| *at >= noted);
            Seen {
                held: LockFile::is_held(&hidden.join("chain"))?,
                finished: modified(&out.join(manifest::NAME)).filter(last),
            }
        } else if hidden.join("run").exists() {
            let held = LockFile::is_held(&hidden.join("run"))?;
            let made = RunLock::<Outline>::read(&lock).is_ok_and(|lock| !lock.made.is_empty());
            Seen { held, finished: modified(&lock).filter(|_| made) }
        } else if part.state == State::Open && since.is_none() {
            return Ok(None);
        } else {
            Seen::default()
        };
        let state = state((part.state, part.noted), seen, since);
        // What was said before it was asked for is of another time.
        let fresh = part.noted.is_some_and(|noted| since.is_none_or(|since| noted >= since));
        let note = part.note.filter(|_| fresh);
        Ok(Some(Self { part: PartStanding { state, note, ..part }, step: last_step(out) }))
    }
}

/// What a note, made then, and what lies in the folder say together of what was asked for `since` then.
fn state((noted, at): (State, Option<SystemTime>), seen: Seen, since: Option<SystemTime>) -> State {
    let fresh = |at: Option<SystemTime>| at.is_some_and(|at| since.is_none_or(|since| at >= since));
    let finished = seen.finished.is_some();
    match noted {
        _ if seen.held => State::Running,
        State::Running => State::Running,
        // Whoever failed or was killed afterwards has left it as it was; of what an earlier version made there is no note.
        _ if fresh(seen.finished) => State::Done,
        // It was there before it was asked for.
        State::Done if finished && fresh(at) => State::Done,
        State::Failed | State::Stopped | State::Lost if fresh(at) => noted,
        State::Open if since.is_none() => State::Lost,
        _ => State::Open,
    }
}

/// The last step that the metrics of a run tell of.
fn last_step(out: &Path) -> Option<u64> {
    let tail = super::tail(&out.join("metrics.jsonl")).ok()?;
    // The last line may be half there.
    tail.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok()?["step"].as_u64())
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use super::*;

    #[test]
    fn a_run_is_what_its_folder_and_its_note_say_together() {
        let at = |seconds: u64| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let seen = |finished| Seen { held: false, finished };
        for (noted, seen, since, is) in [
            // Nothing was submitted.
            ((State::Open, None), seen(at(5)), None, State::Done),
            ((State::Open, None), seen(None), None, State::Lost),
            ((State::Open, None), Seen { held: true, finished: None }, None, State::Running),
            ((State::Running, at(1)), seen(None), None, State::Running),
            ((State::Done, at(6)), seen(at(5)), None, State::Done),
            ((State::Failed, at(6)), seen(None), None, State::Failed),
            ((State::Stopped, at(6)), seen(None), None, State::Stopped),
            ((State::Lost, at(4)), seen(at(5)), None, State::Done),
            ((State::Lost, at(6)), seen(at(5)), None, State::Done),
            ((State::Failed, at(6)), seen(at(5)), None, State::Done),
            ((State::Lost, at(6)), seen(None), None, State::Lost),
            // It was submitted, and has not begun, ...
            ((State::Open, None), seen(None), at(9), State::Open),
            // ... nor has it begun again after it was finished or failed before, ...
            ((State::Done, at(6)), seen(at(5)), at(9), State::Open),
            ((State::Failed, at(6)), seen(None), at(9), State::Open),
            ((State::Lost, at(6)), seen(None), at(9), State::Open),
            ((State::Open, None), seen(at(5)), at(9), State::Open),
            // ... or it has.
            ((State::Running, at(9)), seen(at(5)), at(9), State::Running),
            ((State::Done, at(10)), seen(at(5)), at(9), State::Done),
            ((State::Failed, at(10)), seen(None), at(9), State::Failed),
            ((State::Failed, at(10)), seen(at(5)), at(9), State::Failed),
            ((State::Stopped, at(10)), seen(None), at(9), State::Stopped),
            ((State::Lost, at(10)), seen(at(11)), at(9), State::Done),
            ((State::Lost, at(10)), seen(None), at(9), State::Lost),
            // What says that it was done is of no use without what it made.
            ((State::Done, at(10)), seen(None), at(9), State::Open),
        ] {
            assert_eq!(state(noted, seen, since), is, "{noted:?} {seen:?} {since:?}");
        }
    }

    #[test]
    fn the_last_step_is_that_of_the_last_whole_line() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        assert_eq!(last_step(dir.path()), None);
        fs::write(
            dir.path().join("metrics.jsonl"),
            "{\"step\":1,\"loss\":2.0}\n{\"step\":2,\"loss\":1.5}\n{\"step\":3,\"lo",
        )?;
        assert_eq!(last_step(dir.path()), Some(2));
        Ok(())
    }
}
