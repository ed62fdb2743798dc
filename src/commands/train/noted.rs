//! What a run or a chain says of itself in its folder, for `setaccio status`.

use std::path::Path;

use anyhow::Result;
use setaccio_curate::parts::AtWork;

use crate::{batch_system, commands, progress::Bar, submission::TRAIN};

/// Do `work` on the run or the chain in `folder`, and leave a note of how it stands there, if that is wanted: in a folder that
/// is one's own to write to.
pub fn noted<T>(
    wanted: bool,
    folder: &Path,
    progress: &Bar,
    work: impl FnOnce(Option<&AtWork>) -> Result<T>,
) -> Result<T> {
    if !wanted {
        return work(None);
    }
    let at_work = AtWork::begin(folder, TRAIN, batch_system::note())?;
    let done = work(Some(&at_work));
    let left = match &done {
        Ok(_) => at_work.is_done(),
        Err(error) => at_work.failed(format!("{error:#}"), commands::stopped(error)),
    };
    progress.clear();
    commands::tell_status(left, progress);
    done
}
