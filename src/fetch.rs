//! From a recipe's sources to files of the Hub: revisions to commits, globs to files, files to the cache.

#[cfg(feature = "train")]
use std::path::PathBuf;
use std::{collections::BTreeMap, path::Path};

use anyhow::{Result, bail};
use setaccio_base::{bundle::Place, hub_name, progress::Progress};
use setaccio_curate::{
    plan,
    recipe::evaluations::{self, EVALUATION},
    recipe::pins::{self, Pins},
    recipe::{self, FromHub, RecipeFile, Wanted},
    source::origin::{HubFile, HubFiles},
    source::subset,
    source::{self, Limits},
};
use setaccio_dataset::{
    decontamination::Missing,
    folder::{LEDGER, RECIPE_LOCK},
    recipe::Source,
};
use setaccio_hub::{
    Client, Error, Repo, RepoType, Settings, cache::Cache, listing::Entry, parallel::try_parallel, pull::RemoteFile,
    repo::is_commit,
};

use crate::{progress::Bar, style::NAME};

/// Files that are fetched at a time, at most.
const AT_A_TIME: usize = 8;

/// What of a source has to be here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Every file that is to be read.
    All,
    /// One file, to look into.
    First,
    /// Nothing but the list.
    List,
}

/// What the Hub has of a source.
#[derive(Clone)]
pub struct HubListing {
    /// The source's name.
    pub source: String,
    /// The commit of its revision.
    pub commit: String,
    /// The files to read.
    pub files: Vec<Entry>,
    /// How many files match its globs.
    pub of: usize,
    /// What folders that match hold beside these.
    pub left_out: Vec<String>,
    /// Whether only the cache was looked into.
    unlisted: bool,
    repo: Repo,
    cache: Cache,
}

impl HubListing {
    /// Bytes of the files to read.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.size).sum()
    }

    /// Bytes of those that are in the cache.
    pub fn cached(&self) -> u64 {
        self.files.iter().filter(|f| self.cache.cached_file(&self.commit, f).is_some()).map(|f| f.size).sum()
    }
}

/// Whether it is an evaluation set, which is read whole whatever is read of the sources.
fn is_evaluation(source: &str) -> bool {
    source.starts_with(EVALUATION)
}

/// Every source and evaluation set of a recipe, at the commits in `pins` or those that the Hub names now; of a lock, at its commits.
pub fn list(client: &Client, loaded: &RecipeFile, pins: &Pins, progress: &Bar) -> Result<Vec<HubListing>> {
    let locked = loaded.rebuilt.as_ref().map(|rebuilt| pins::of_lock(&rebuilt.lock));
    let sets: Vec<Source> = evaluations::sets(&loaded.recipe).iter().map(evaluations::source).collect();
    let sources: Vec<&Source> = loaded.recipe.source.iter().chain(&sets).filter(|source| !source.local()).collect();
    let skips = loaded.recipe.decontamination.as_ref().is_some_and(|settings| settings.missing == Missing::Skip);
    let skips = |source: &Source| skips && is_evaluation(&source.name);
    let all = try_parallel(sources.len(), AT_A_TIME, progress, |i, progress| {
        let list = || {
            let repo = Repo::new(RepoType::Dataset, &sources[i].repo)?;
            // A lock's commit is what it is built from, and nothing to be told of.
            let key = pins::key(&sources[i].repo, &sources[i].revision);
            let commit = match locked.as_ref().and_then(|locked| locked.get(&key)) {
                Some(commit) => commit.clone(),
                None => commit(client, &repo, sources[i], pins, progress)?,
            };
            let (files, unlisted) = files(client, &repo, &commit, sources[i], progress)?;
            Ok((repo, commit, files, unlisted))
        };
        match list() {
            Err(e) if skips(sources[i]) && is_absent(&e) => {
                progress.warn(&format!("{}: {e}", sources[i].name));
                Ok(None)
            }
            listed => listed.map(Some),
        }
    })?;
    let mut listings = Vec::new();
    for (source, found) in sources.iter().zip(all) {
        let Some((repo, commit, files, unlisted)) = found else { continue };
        match choose(client, loaded, source, repo, commit, &files) {
            Ok(listing) => {
                // What the cache has is no word on what a folder holds.
                let left_out = if unlisted { Vec::new() } else { listing.left_out };
                listings.push(HubListing { left_out, unlisted, ..listing });
            }
            Err(e) if skips(source) => progress.warn(&format!("{}: {e}", source.name)),
            Err(e) => return Err(e),
        }
    }
    Ok(listings)
}

/// Whether it says that something is not there, rather than that it cannot be asked for.
fn is_absent(error: &Error) -> bool {
    matches!(
        error,
        Error::RepoNotFound { .. } | Error::GatedRepo { .. } | Error::RevisionNotFound { .. } | Error::Offline { .. }
    )
}

fn commit(
    client: &Client,
    repo: &Repo,
    source: &Source,
    pins: &Pins,
    progress: &dyn Progress,
) -> setaccio_hub::Result<String> {
    let (settings, revision) = (client.settings(), &source.revision);
    if is_commit(revision) {
        return Ok(revision.clone());
    }
    if let Some(commit) = pins.get(&pins::key(&source.repo, revision)) {
        progress.note(&format!(
            "{revision} of {repo} stays at {commit}, which this folder's build settled on; --force asks the Hub anew, \
             `setaccio pin` writes the commit into the recipe"
        ));
        return Ok(commit.clone());
    }
    let cache = Cache::new(&settings.cache, repo);
    if settings.offline {
        let what = format!("the commit of {revision} of {repo}");
        return cache.read_ref(revision).ok_or(Error::Offline { what, cache: settings.cache.clone() });
    }
    let commit = client.revision_info(repo, revision, progress)?.sha;
    cache.write_ref(revision, &commit)?;
    Ok(commit)
}

/// The files that can match the globs of a source, and whether there may be more. What a commit holds never changes, so
/// it is asked once.
fn files(
    client: &Client,
    repo: &Repo,
    commit: &str,
    source: &Source,
    progress: &dyn Progress,
) -> setaccio_hub::Result<(Vec<Entry>, bool)> {
    let settings = client.settings();
    let cache = Cache::new(&settings.cache, repo);
    if let Some(files) = cache.read_listing(commit, &source.files) {
        return Ok((files, false));
    }
    if settings.offline {
        let found = cache.scan_snapshot(commit);
        if found.is_empty() {
            let what = format!("{repo} at {commit}");
            return Err(Error::Offline { what, cache: settings.cache.clone() });
        }
        progress.note(&format!(
            "which files {repo} has at {commit} was never listed here for these globs: whether those in the cache are all \
             of them cannot be told offline"
        ));
        return Ok((found, true));
    }
    let files = client.list_files(repo, commit, &source.files, progress)?;
    cache.write_listing(commit, &source.files, &files)?;
    Ok((files, false))
}

/// Those that match the globs; of these, as many as the recipe reads.
fn choose(
    client: &Client,
    loaded: &RecipeFile,
    source: &Source,
    repo: Repo,
    commit: String,
    entries: &[Entry],
) -> Result<HubListing> {
    let paths: Vec<&str> = entries.iter().map(|e| e.path.as_str()).collect();
    let (matching, left_out) = source::select(&paths, &source.files)?;
    if matching.is_empty() {
        bail!(
            "source `{}`: no file of {repo} matches {}; {}/tree/{commit} lists what there is",
            source.name,
            source.files.join(", "),
            repo.page(client.endpoint())
        );
    }
    let of = matching.len();
    let count = loaded.recipe.sample.as_ref().and_then(|s| s.files).filter(|_| !is_evaluation(&source.name));
    let chosen = subset::choose(loaded.recipe.seed, count, matching, |path| (*path).to_owned());
    let mut files: Vec<Entry> =
        entries.iter().filter(|e| chosen.binary_search(&e.path.as_str()).is_ok()).cloned().collect();
    // In the order that files of a folder are read in: by the parts of their paths.
    files.sort_by(|a, b| Path::new(&a.path).cmp(Path::new(&b.path)));
    let cache = Cache::new(&client.settings().cache, &repo);
    let (source, left_out) = (source.name.clone(), left_out.into_iter().map(str::to_owned).collect());
    Ok(HubListing { source, commit, files, of, left_out, unlisted: false, repo, cache })
}

/// What is read of a repository that is named where a folder may stand.
fn globs(wanted: Wanted) -> Vec<String> {
    let globs: &[&str] = match wanted {
        // sentence-transformers writes a folder a module.
        Wanted::Model => &["README.md", "*.json", "*.safetensors", "*/*.json", "*/*.safetensors"],
        Wanted::DataSet => &["README.md", LEDGER, RECIPE_LOCK, "data/*"],
    };
    globs.iter().map(|glob| (*glob).to_owned()).collect()
}

/// The repositories that a recipe names where a folder may stand, in the cache.
pub fn named(loaded: &RecipeFile, jobs: usize, progress: &Bar) -> Result<BTreeMap<String, FromHub>> {
    let names = recipe::of_the_hub(&loaded.recipe);
    let mut found = BTreeMap::new();
    if names.is_empty() {
        return Ok(found);
    }
    let client = Client::new(Settings::from_env()?)?;
    for (key, name, wanted) in names {
        let Some((id, revision)) = hub_name::parse(name) else { continue };
        let kind = if wanted == Wanted::Model { RepoType::Model } else { RepoType::Dataset };
        let repo = Repo::new(kind, id)?;
        if !is_commit(revision) {
            let now = client.revision_info(&repo, revision, progress)?.sha;
            bail!(
                "{}: {key} = {name:?} names no commit, and what {revision} stands for moves: write {:?}, which it stands for now",
                loaded.place,
                format!("{id}@{now}")
            );
        }
        let asked = Source { files: globs(wanted), ..Source::default() };
        let (listed, _) = files(&client, &repo, revision, &asked, progress)?;
        let paths: Vec<&str> = listed.iter().map(|entry| entry.path.as_str()).collect();
        let (chosen, _) = source::select(&paths, &asked.files)?;
        let here = Cache::new(&client.settings().cache, &repo);
        let entries = listed.iter().filter(|entry| chosen.contains(&entry.path.as_str()));
        let all: Vec<RemoteFile> = entries
            .map(|entry| RemoteFile { repo: repo.clone(), commit: revision.to_owned(), entry: entry.clone() })
            .collect();
        let missing = |file: &&RemoteFile| here.cached_file(revision, &file.entry).is_none();
        if let Some(file) = all.iter().find(missing).filter(|_| client.settings().offline) {
            let what = format!("{} of {repo} at {revision}", file.entry.path);
            return Err(Error::Offline { what, cache: client.settings().cache.clone() }.into());
        }
        progress.transfer("pull", all.iter().map(|file| file.entry.size).sum());
        client.pull(&all, jobs.clamp(1, AT_A_TIME), progress)?;
        let folder = here.snapshot(revision);
        let license = license(&std::fs::read_to_string(folder.join("README.md")).unwrap_or_default());
        found.insert(name.to_owned(), FromHub { folder, license });
    }
    Ok(found)
}

/// The licences that the front matter of a card states.
fn license(card: &str) -> String {
    let mut lines = card.lines();
    if lines.next().map(str::trim_end) != Some("---") {
        return String::new();
    }
    let mut matter = lines.take_while(|line| line.trim_end() != "---").skip_while(|line| !line.starts_with("license:"));
    let value = |text: &str| text.trim().trim_matches(['"', '\'']).to_owned();
    match matter.next().and_then(|line| line.strip_prefix("license:")).map(value) {
        Some(one) if !one.is_empty() => one.trim_matches(['[', ']']).to_owned(),
        Some(_) => {
            let items = matter.map_while(|line| line.trim_start().strip_prefix("- ").map(value));
            items.collect::<Vec<_>>().join(", ")
        }
        None => String::new(),
    }
}

/// The config.json of a model, in the cache, and the commit that it is of.
///
/// # Errors
/// The Hub has no such model, or it has no config.json.
#[cfg(feature = "train")]
pub fn model_config(id: &str, revision: &str, progress: &Bar) -> Result<(PathBuf, String)> {
    const NAME: &str = "config.json";
    let client = Client::new(Settings::from_env()?)?;
    let repo = Repo::new(RepoType::Model, id)?;
    let revision = if revision.is_empty() { "main" } else { revision };
    let asked = Source { repo: id.into(), revision: revision.into(), files: vec![NAME.into()], ..Source::default() };
    let commit = commit(&client, &repo, &asked, &Pins::default(), progress)?;
    let (found, _) = files(&client, &repo, &commit, &asked, progress)?;
    let Some(entry) = found.iter().find(|entry| entry.path == NAME) else {
        let page = repo.page(client.endpoint());
        bail!("{repo} has no {NAME}, so it cannot be planned for; {page}/tree/{commit} lists what there is");
    };
    let path = client.download(&repo, &commit, entry, progress)?;
    Ok((path, commit))
}

/// Let go of the files behind the recipe's limit, if it has one: of each source, one file after the other is fetched
/// and counted until there are rows enough.
pub fn head(client: &Client, loaded: &RecipeFile, listed: &mut [HubListing], progress: &Bar) -> Result<()> {
    let Some(limit) = loaded.recipe.read.limit else { return Ok(()) };
    let limits = Limits { count_compressed: true, ..plan::limits(&loaded.recipe) };
    for source in listed {
        let Some(of) = loaded.recipe.source.iter().find(|s| s.name == source.source) else { continue };
        let mut rows = 0;
        for i in 0..source.files.len() {
            let one = HubListing { files: vec![source.files[i].clone()], ..source.clone() };
            let fetched = fetch(client, &[one], Need::All, 1, progress)?;
            for file in fetched.values().flat_map(|f| &f.files) {
                let counted = source::inspect(
                    &Place::disk(&file.path),
                    &format!("{}/{}", source.source, file.name),
                    of,
                    &limits,
                    &|| Progress::cancelled(progress),
                );
                if Progress::cancelled(progress) {
                    return Err(Error::Interrupted.into());
                }
                rows += counted?.inspection.rows.unwrap_or(0);
            }
            if rows >= limit {
                source.files.truncate(i + 1);
                break;
            }
        }
    }
    Ok(())
}

/// Bring what is needed into the cache, several files at a time.
pub fn fetch(
    client: &Client,
    listed: &[HubListing],
    need: Need,
    jobs: usize,
    progress: &Bar,
) -> Result<BTreeMap<String, HubFiles>> {
    let many = match need {
        Need::All => usize::MAX,
        Need::First => 1,
        Need::List => 0,
    };
    let many = |l: &HubListing| if need == Need::First && is_evaluation(&l.source) { usize::MAX } else { many };
    let wanted = |l: &HubListing| {
        let one = |entry: &Entry| RemoteFile { repo: l.repo.clone(), commit: l.commit.clone(), entry: entry.clone() };
        l.files.iter().take(many(l)).map(one).collect::<Vec<_>>()
    };
    let all: Vec<RemoteFile> = listed.iter().flat_map(wanted).collect();
    let settings = client.settings();
    let here = |w: &RemoteFile| Cache::new(&settings.cache, &w.repo).cached_file(&w.commit, &w.entry).is_some();
    if let Some(missing) = all.iter().find(|w| settings.offline && !here(w)) {
        let what = format!("{} of {} at {}", missing.entry.path, missing.repo, missing.commit);
        return Err(Error::Offline { what, cache: settings.cache.clone() }.into());
    }
    progress.transfer("pull", all.iter().map(|w| w.entry.size).sum());
    let mut paths = client.pull(&all, jobs.clamp(1, AT_A_TIME), progress)?.into_iter();
    let each = listed.iter().map(|l| {
        let remote =
            |(entry, path): (&Entry, _)| HubFile { path, name: entry.path.clone(), sha256: entry.sha256.clone() };
        let files: Vec<HubFile> = l.files.iter().take(many(l)).zip(paths.by_ref()).map(remote).collect();
        // A look into one file is no sample of some files.
        let of = if need == Need::All { l.of } else { files.len() };
        let (commit, left_out) = (l.commit.clone(), l.left_out.clone());
        (l.source.clone(), HubFiles { commit, files, of, unlisted: l.unlisted, left_out })
    });
    Ok(each.collect())
}

/// One line on a source.
pub fn line(listed: &HubListing) -> String {
    format!("{NAME}{}{NAME:#}  {} at {}", listed.source, listed.repo.id, listed.commit)
}

#[cfg(test)]
mod tests {
    use super::license;

    #[test]
    fn a_card_states_its_licence() {
        for (card, stated) in [
            ("---\nlicense: mit\n---\n# A\n", "mit"),
            ("---\ntags:\n- a\nlicense: 'apache-2.0'\nlanguage: it\n---\n", "apache-2.0"),
            ("---\r\nlicense:\r\n- cc-by-4.0\r\n- mit\r\ntags:\r\n- a\r\n---\r\n", "cc-by-4.0, mit"),
            ("---\nlanguage: it\n---\nlicense: mit\n", ""),
            ("# A\nlicense: mit\n", ""),
            ("", ""),
        ] {
            assert_eq!(license(card), stated, "{card:?}");
        }
    }
}
