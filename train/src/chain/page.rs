//! The page that shows a chain: its stages, with links to what shows each.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use setaccio_base::page::{self, Block, Page, Section, TableRow, Written};
use setaccio_dataset::folder::REPORT;

use super::{lock::ChainLock, places::Places};
use crate::{
    error::{Error, Result},
    report::{
        self,
        card::link,
        lock,
        page::{Run, short},
    },
};

/// Write the page of the chain in `chain` into it, after those of the runs that its stages have.
///
/// # Errors
/// No stage has begun, or a file is not what it should be.
pub fn write(chain: &Path) -> Result<Written> {
    let places = Places { root: chain.to_owned() };
    let mut stages = Vec::new();
    for name in ChainLock::open(chain)?.stages() {
        let run = places.run(name);
        // A stage that has not begun has nothing to show.
        if run.join(lock::NAME).is_file() {
            report::page::write(&run)?;
            stages.push((name.clone(), run.clone(), Run::open(&run)?));
        }
    }
    if stages.is_empty() {
        return Err(Error::damaged(chain, "holds a chain of which no stage has begun: `setaccio train-all` goes on"));
    }
    Ok(page::write(chain, REPORT, &compose(chain, &stages))?)
}

/// The page of a chain, of its stages in order.
fn compose(chain: &Path, stages: &[(String, PathBuf, Run)]) -> Page {
    let mut links = Vec::new();
    let row = |(name, folder, run): &(String, PathBuf, Run)| {
        links.extend(link(chain, &folder.join(REPORT)).map(|to| (format!("{name}: page of the run"), to)));
        for data in &run.lock.data {
            let page = Path::new(&data.folder).join(REPORT);
            links.extend(
                link(chain, &page).filter(|_| page.is_file()).map(|to| (format!("{name}: page of {}", data.name), to)),
            );
        }
        let ends = |key: &str| {
            let all = run.of(key);
            match (all.first(), all.last()) {
                (Some((_, first)), Some((_, last))) => format!("{} to {}", short(*first), short(*last)),
                _ => String::new(),
            }
        };
        let steps = run.lines.iter().map(|line| line.step).max().unwrap_or(0);
        let data: Vec<&str> = run.lock.data.iter().map(|data| data.name.as_str()).collect();
        let cells = vec![
            name.as_str().into(),
            data.join(", ").into(),
            steps.into(),
            ends("loss").into(),
            ends("eval_loss").into(),
            if run.lock.made.is_empty() { "not finished" } else { "finished" }.into(),
        ];
        TableRow { cells, ..TableRow::default() }
    };
    let rows: Vec<TableRow> = stages.iter().map(row).collect();
    let head = ["stage", "data", "steps", "training loss", "evaluation loss", ""].map(str::to_owned).to_vec();
    let mut blocks = vec![
        Block::Table { caption: "Stages, each upon the model of the one before".into(), head, rows },
        Block::Links { links },
    ];
    for (name, _, run) in stages {
        blocks.extend(run.curves(&format!("Loss of {name}."), &["loss", "eval_loss"]));
    }
    let warnings: BTreeSet<String> = stages.iter().flat_map(|(.., run)| run.warnings()).collect();
    let title = chain.file_name().map_or_else(|| "Chain".to_owned(), |name| name.to_string_lossy().into_owned());
    Page {
        title,
        about: vec![format!("A chain of {} stages.", stages.len())],
        warnings: warnings.into_iter().collect(),
        sections: vec![Section { title: "Stages".into(), text: Vec::new(), blocks }],
        ..Page::default()
    }
}
