//! What all tasks left, taken together: what they counted, by source, and where their blocks lie. Their manifests are read once, some tasks
//! at a time, by whoever of a team is there; no process holds those of all.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};
use setaccio_base::{atomic, filter_report::Tally, row::Renamed};
use setaccio_dataset::{
    columns::Extras,
    ledger::{FileEntry, Flow},
};

use super::{
    block_index::{BlockIndex, IndexPart, IndexWriter, Place},
    filter::{self, Contaminated, Manifest, bands_path, spill_path, vectors_path},
    near::bands,
    semantic::{TextCount, vectors},
    spill,
    spill_file::SpillIndex,
    team::{Hands, Json, Team, each},
};
use crate::{
    error::{Error, Result},
    plan::{Plan, Task},
};

/// Tasks whose manifests are read at a time.
const TASKS: usize = 128;

/// The stage of a team whose pieces are of so many tasks each.
const STAGE: &str = "tasks";

/// What tasks of one source counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SourceCounts {
    /// Rows read and readable.
    pub read: Flow,
    /// Rows into and out of the filters.
    pub screen: Flow,
    /// What each of [`filter::names`] did.
    pub tallies: Vec<Tally>,
    /// Columns that nothing read, with the rows that hold something there.
    pub unread: BTreeMap<String, u64>,
    /// Columns that templates ask for, with the rows that are without.
    pub absent: BTreeMap<String, u64>,
    /// Roles and fields that have other names in the rows, with the rows that have some.
    pub renamed: Vec<(Renamed, u64)>,
}

impl SourceCounts {
    fn add(&mut self, other: &Self) {
        self.read.add(&other.read);
        self.screen.add(&other.screen);
        self.tallies.resize(self.tallies.len().max(other.tallies.len()), Tally::default());
        self.tallies.iter_mut().zip(&other.tallies).for_each(|(sum, tally)| sum.add(tally));
        for (sums, counts) in [(&mut self.unread, &other.unread), (&mut self.absent, &other.absent)] {
            for (column, rows) in counts {
                *sums.entry(column.clone()).or_default() += rows;
            }
        }
        for (renamed, rows) in &other.renamed {
            match self.renamed.iter_mut().find(|(known, _)| known == renamed) {
                Some((_, sum)) => *sum += rows,
                None => self.renamed.push((renamed.clone(), *rows)),
            }
        }
    }
}

/// What tasks counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TaskCounts {
    /// By source.
    pub sources: Vec<SourceCounts>,
    /// What the conversations that passed hold beside roles and contents.
    pub extras: Extras,
    /// What rows hold of evaluation sets.
    pub contaminated: Contaminated,
    /// What became of texts that were to have vectors.
    pub texts: TextCount,
    /// The rejects of each task that has any, with the task's number.
    pub rejects: Vec<(usize, FileEntry)>,
}

impl TaskCounts {
    fn new(sources: usize) -> Self {
        Self { sources: vec![SourceCounts::default(); sources], ..Self::default() }
    }

    /// Add what a task of this number says; its blocks are gathered apart.
    fn add_task(&mut self, task: &Task, manifest: Manifest) {
        let Manifest { read, screen, tallies, unread, absent, renamed, .. } = manifest;
        let (extras, contaminated, texts) = (manifest.extras, manifest.contaminated, manifest.texts);
        let counts = SourceCounts { read, screen, tallies, unread, absent, renamed };
        self.sources[usize::from(task.source)].add(&counts);
        self.add_beside(&extras, contaminated, &texts);
        self.rejects.extend(manifest.rejects.map(|entry| (task.index, entry)));
    }

    fn add(&mut self, other: Self) {
        self.sources.iter_mut().zip(&other.sources).for_each(|(sum, counts)| sum.add(counts));
        self.add_beside(&other.extras, other.contaminated, &other.texts);
        self.rejects.extend(other.rejects);
    }

    fn add_beside(&mut self, extras: &Extras, contaminated: Contaminated, texts: &TextCount) {
        self.extras = [&self.extras, extras].into_iter().collect();
        let Contaminated { rows, items } = &mut self.contaminated;
        rows.resize(rows.len().max(contaminated.rows.len()), 0);
        rows.iter_mut().zip(&contaminated.rows).for_each(|(sum, rows)| *sum += rows);
        if !contaminated.items.is_empty() {
            items.extend(contaminated.items);
            items.sort_unstable();
            items.dedup();
        }
        self.texts.add(texts);
    }
}

/// What tasks left.
pub struct Gathered {
    /// What they counted.
    pub counts: TaskCounts,
    /// Their rows.
    rows: BlockIndex,
    /// Their band hashes.
    bands: BlockIndex,
    /// Their vectors.
    vectors: BlockIndex,
}

/// The same of some tasks, as it is kept.
#[derive(Serialize, Deserialize)]
struct Piece {
    counts: TaskCounts,
    /// Rows, band hashes and vectors.
    parts: [IndexPart; 3],
}

/// Into how many buckets tasks spill rows, band hashes and vectors, and how many there are of each; one of what there is none of.
fn buckets(plan: &Plan) -> [[u32; 2]; 3] {
    let rows = [plan.spill_buckets(), plan.buckets];
    let bands = plan.band_buckets();
    [rows, [bands, bands], if plan.loaded.recipe.semantic().is_some() { rows } else { [1, 1] }]
}

impl Gathered {
    /// That of the tasks of a plan, in the folder `work`. `undone` makes an error of a task that is not done.
    ///
    /// # Errors
    /// A task is not done; the file system refuses; Ctrl-C.
    pub fn new(plan: &Plan, work: &Path, hands: Hands<'_>, undone: &(dyn Fn(usize) -> Error + Sync)) -> Result<Self> {
        let all = buckets(plan);
        let [rows, bands, vectors] = all.map(|[_, buckets]| BlockIndex::new(buckets, hands.team.map(Team::commons)));
        let mut gathered = Self { counts: TaskCounts::new(plan.loaded.recipe.source.len()), rows, bands, vectors };
        let own = work.join(STAGE);
        if hands.team.is_none() {
            atomic::remove(&own)?;
            fs::create_dir_all(&own).map_err(Error::io("create", &own))?;
        }
        let path = |piece: usize| match hands.team {
            Some(team) => team.path(STAGE, piece).with_extension("index"),
            None => own.join(format!("{piece:05}.index")),
        };
        let tasks: Vec<&[Task]> = plan.tasks.chunks(TASKS).collect();
        let make = |piece: usize| read(plan, work, tasks[piece], (&path(piece), &all), undone).map(Json);
        let mut number = 0;
        each(hands.team, STAGE, tasks.len(), hands.by(), make, |Json(Piece { counts, parts })| {
            hands.team.map_or(Ok(()), |team| team.commons().bring(&path(number)))?;
            gathered.counts.add(counts);
            let indices = [&mut gathered.rows, &mut gathered.bands, &mut gathered.vectors];
            indices.into_iter().zip(parts).for_each(|(index, part)| index.add(&path(number), part));
            number += 1;
            Ok(())
        })?;
        Ok(gathered)
    }

    /// Their rows, with the numbers of the files that they are of.
    pub fn rows(&mut self, plan: &Plan, work: &Path) -> SpillIndex {
        let files = plan.tasks.iter().map(|task| {
            let numbers = task.parts.iter().map(|part| u32::try_from(part.file).unwrap_or(u32::MAX));
            (spill_path(work, task), numbers.collect())
        });
        let schema = spill::schema(&plan.loaded.recipe, &plan.renderer);
        SpillIndex::new(schema, files.collect(), std::mem::replace(&mut self.rows, BlockIndex::new(0, None)))
    }

    /// Their band hashes.
    pub fn bands(&mut self, plan: &Plan, work: &Path) -> SpillIndex {
        let files = plan.tasks.iter().map(|task| (bands_path(work, task), Vec::new())).collect();
        SpillIndex::new(bands::schema(), files, std::mem::replace(&mut self.bands, BlockIndex::new(0, None)))
    }

    /// Their vectors, of so many dimensions.
    pub fn vectors(&mut self, plan: &Plan, work: &Path, dimensions: usize) -> SpillIndex {
        let files = plan.tasks.iter().map(|task| (vectors_path(work, task), Vec::new())).collect();
        let schema = vectors::schema(dimensions);
        SpillIndex::new(schema, files, std::mem::replace(&mut self.vectors, BlockIndex::new(0, None)))
    }
}

/// Read the manifests of some tasks, and write where their blocks lie.
fn read(
    plan: &Plan,
    work: &Path,
    tasks: &[Task],
    (path, buckets): (&Path, &[[u32; 2]; 3]),
    undone: &(dyn Fn(usize) -> Error + Sync),
) -> Result<Piece> {
    let mut counts = TaskCounts::new(plan.loaded.recipe.source.len());
    let mut blocks: [Vec<Place>; 3] = Default::default();
    for task in tasks {
        let mut manifest = filter::manifest(work, task).ok_or_else(|| undone(task.index))?;
        let number = u32::try_from(task.index).unwrap_or(u32::MAX);
        let lists = [&mut manifest.blocks, &mut manifest.bands, &mut manifest.vectors].map(std::mem::take);
        for (all, list) in blocks.iter_mut().zip(lists) {
            all.extend(list.into_iter().map(|block| (number, block)));
        }
        counts.add_task(task, manifest);
    }
    let mut writer = IndexWriter::create(path)?;
    let [rows, bands, vectors] = blocks;
    let parts = [writer.part(rows, buckets[0])?, writer.part(bands, buckets[1])?, writer.part(vectors, buckets[2])?];
    writer.finish()?;
    Ok(Piece { counts, parts })
}
