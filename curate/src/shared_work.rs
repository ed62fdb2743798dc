//! Finished tasks in an object store, so that machines that share no disk do slices of one build: each puts what its tasks left
//! below `FOLDER/work/`, the manifest last, and whoever joins them brings all of it. A task is called by its key, so that
//! whatever lies there under it is what the task would leave here.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use setaccio_base::{
    atomic::{self, AtomicFile},
    hidden::HIDDEN,
    lock_file::Mode,
    objects::{self, Condition, Object, ObjectReader, StoreError, Stores, Why, join},
    parallel::{ordered_map, thread_pool},
    progress::Progress,
};

use crate::{
    build::Part,
    error::{Error, Result},
    folder::OutputFolder,
    parts::Elsewhere,
    pipeline::filter::{self, Manifest},
    plan::{Plan, Task},
    stored,
};

/// Folder of the tasks.
const WORK: &str = "work";

/// Tasks that are on their way at a time.
const AT_ONCE: usize = 4;

/// What was done of the build at `out`, whoever did it: the tasks that were put there, and the build that counts.
///
/// # Errors
/// The store refuses.
pub fn elsewhere(out: &str) -> Result<Elsewhere> {
    let folder = join(out, WORK);
    let listed = objects::stores(out)?.list(&folder)?;
    let start = join(&folder, "").len();
    let names = listed.iter().filter_map(|object| object.address.get(start..)?.strip_suffix(".json"));
    let tasks = names.map(str::to_owned).collect();
    Ok(Elsewhere { tasks, published: stored::fingerprint(out)? })
}

/// The tasks of a build in a store.
pub struct SharedWork<'a> {
    plan: &'a Plan,
    /// Of the store.
    address: String,
    /// The output folder of this machine, and the work folder in it.
    local: PathBuf,
    work: PathBuf,
    stores: &'static dyn Stores,
}

impl<'a> SharedWork<'a> {
    /// Those of the build of `plan` that is put at `out`, and made in the folder `local`.
    ///
    /// # Errors
    /// The program has no stores.
    pub fn new(plan: &'a Plan, local: &Path, out: &str) -> Result<Self> {
        let stores = objects::stores(out)?;
        Ok(Self {
            plan,
            address: join(out, WORK),
            local: local.to_owned(),
            work: local.join(HIDDEN).join(WORK),
            stores,
        })
    }

    /// The tasks of a part of the build.
    fn tasks(&self, part: Part) -> Vec<&'a Task> {
        let mine = |task: &&Task| match part {
            Part::Slice { number, of } => task.index % of == number - 1,
            Part::Whole | Part::Share { .. } | Part::Finish => true,
        };
        self.plan.tasks.iter().filter(mine).collect()
    }

    /// How many tasks a part of the build is.
    pub fn count(&self, part: Part) -> usize {
        self.tasks(part).len()
    }

    /// What lies there, by name.
    fn there(&self) -> Result<BTreeMap<String, Object>> {
        let start = join(&self.address, "").len();
        let listed = self.stores.list(&self.address)?;
        Ok(listed.into_iter().map(|object| (object.address[start..].to_owned(), object)).collect())
    }

    /// Whether all tasks of a part were done and put there, whoever did them.
    ///
    /// # Errors
    /// The store refuses.
    pub fn is_done(&self, part: Part) -> Result<bool> {
        let there = self.there()?;
        Ok(self.tasks(part).iter().all(|task| there.contains_key(&manifest_name(task))))
    }

    /// Bring the tasks of a part that are done elsewhere and not here. Says how many.
    ///
    /// # Errors
    /// The store refuses, or has other bytes than the manifest says; the disk is full; whoever follows it says stop.
    pub fn fetch(&self, part: Part, progress: &dyn Progress) -> Result<usize> {
        let _held = OutputFolder::open(&self.local, Mode::Shared)?;
        let there = self.there()?;
        let wanted = self.tasks(part).into_iter().filter(|task| filter::manifest(&self.work, task).is_none());
        let wanted: Vec<&Task> = wanted.filter(|task| there.contains_key(&manifest_name(task))).collect();
        fs::create_dir_all(&self.work).map_err(Error::io("create", &self.work))?;
        progress.stage("pull", wanted.len() as u64);
        let pool = thread_pool(AT_ONCE)?;
        ordered_map(
            &pool,
            wanted.len(),
            |i| {
                self.bring(wanted[i], &there, progress)?;
                progress.advance(1, "");
                Ok(())
            },
            |()| Ok::<_, Error>(()),
        )?;
        Ok(wanted.len())
    }

    /// Bring what one task left; its manifest takes its name last.
    fn bring(&self, task: &Task, there: &BTreeMap<String, Object>, progress: &dyn Progress) -> Result<()> {
        let name = manifest_name(task);
        let Some(object) = there.get(&name) else { return Ok(()) };
        let bytes = object.whole()?;
        let spoilt = |what: &str| Error::damaged(&object.address, format!("{what}: remove it, and do its slice again"));
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|_| spoilt("is no manifest of a task"))?;
        for file in filter::files(&self.work, task, &manifest) {
            let own = file_name(&file);
            if own == name {
                continue;
            }
            let source = there.get(&own).ok_or_else(|| spoilt(&format!("names {own}, which is not there")))?;
            let mut reader = ObjectReader::new(std::sync::Arc::new(source.clone()));
            let mut copy = AtomicFile::create(&file)?;
            std::io::copy(&mut reader, &mut copy).map_err(|error| match StoreError::of(&error) {
                Some(said) => said.clone().into(),
                None => Error::io("write", &file)(error),
            })?;
            if progress.cancelled() {
                return Err(Error::Interrupted);
            }
            copy.commit()?;
        }
        atomic::write(&self.work.join(&name), &bytes)?;
        filter::manifest(&self.work, task).map(drop).ok_or_else(|| spoilt("is of other files than those beside it"))
    }

    /// Put what the tasks of a part left there, each manifest after what it vouches for.
    ///
    /// # Errors
    /// The store refuses; whoever follows it says stop.
    pub fn put(&self, part: Part, progress: &dyn Progress) -> Result<()> {
        let _held = OutputFolder::open(&self.local, Mode::Shared)?;
        self.forget_others()?;
        let there = self.there()?;
        let tasks: Vec<&Task> =
            self.tasks(part).into_iter().filter(|task| !there.contains_key(&manifest_name(task))).collect();
        progress.stage("upload", tasks.len() as u64);
        let pool = thread_pool(AT_ONCE)?;
        ordered_map(
            &pool,
            tasks.len(),
            |i| {
                let Some(manifest) = filter::manifest(&self.work, tasks[i]) else { return Ok(()) };
                for file in filter::files(&self.work, tasks[i], &manifest) {
                    if progress.cancelled() {
                        return Err(Error::Interrupted);
                    }
                    self.put_file(&file, file_name(&file) == manifest_name(tasks[i]), progress)?;
                }
                progress.advance(1, "");
                Ok(())
            },
            |()| Ok::<_, Error>(()),
        )
    }

    fn put_file(&self, file: &Path, last: bool, progress: &dyn Progress) -> Result<()> {
        let address = join(&self.address, &file_name(file));
        if !last {
            let journal = file.with_file_name(format!("{}{JOURNAL}", file_name(file)));
            return Ok(self.stores.upload(&address, file, &journal, &Quiet(progress))?);
        }
        let bytes = fs::read(file).map_err(Error::io("read", file))?;
        match self.stores.put(&address, bytes, &Condition::Absent) {
            // Another machine did the same task, and has left the same.
            Err(StoreError { why: Why::Changed, .. }) => Ok(()),
            put => Ok(put.map(drop)?),
        }
    }

    /// Remove the tasks of this build there: it is published.
    ///
    /// # Errors
    /// The store refuses.
    pub fn clear(&self) -> Result<()> {
        let keys: HashSet<&str> = self.plan.tasks.iter().map(|task| task.key.as_str()).collect();
        let own = |name: &str| keys.contains(key_of(name));
        let names: Vec<(String, Object)> = self.there()?.into_iter().filter(|(name, _)| own(name)).collect();
        // Manifests go first: without one the rest is nothing.
        let (manifests, rest): (Vec<_>, Vec<_>) =
            names.iter().partition(|(name, _)| name.strip_suffix(".json") == Some(key_of(name)));
        let pool = thread_pool(AT_ONCE)?;
        for gone in [manifests, rest] {
            let delete = |i: usize| Ok::<_, Error>(self.stores.delete(&gone[i].1.address)?);
            ordered_map(&pool, gone.len(), delete, |()| Ok::<_, Error>(()))?;
        }
        Ok(())
    }

    /// Give up what was begun to be put of tasks that are of this build no longer: nobody goes on with it.
    fn forget_others(&self) -> Result<()> {
        let keys: HashSet<&str> = self.plan.tasks.iter().map(|task| task.key.as_str()).collect();
        for entry in fs::read_dir(&self.work).map_err(Error::io("read", &self.work))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(JOURNAL) && !keys.contains(key_of(&name)) {
                // What cannot be given up costs room in the store, and no build.
                let _ = self.stores.forget(&entry.path());
                atomic::remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// How the name of what is known of an upload ends.
const JOURNAL: &str = ".parts.json";

/// The key of the task that a file of this name is of: letters and digits, which its kind follows.
fn key_of(name: &str) -> &str {
    name.split(['.', '-']).next().unwrap_or(name)
}

fn manifest_name(task: &Task) -> String {
    format!("{}.json", task.key)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Follows what is counted in tasks or pieces, and not in bytes.
pub struct Quiet<'a>(pub &'a dyn Progress);

impl Progress for Quiet<'_> {
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}
