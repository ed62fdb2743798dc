//! What counts as the same run.

use super::*;
use crate::recipe::{Recompute, Schedule};

pub(crate) fn lock() -> RunLock {
    let recipe = "name = 'tiny'\n[model]\npath = 'tiny'\n[data]\ntrain = ['data/out/a', 'data/out/b']";
    let recipe = toml::from_str(recipe).unwrap_or_else(|e| panic!("{e}"));
    let hash = |file: &str| FileHash { file: file.into(), bytes: 7, sha256: hex_digest(file.as_bytes()) };
    let data = |name: &str| DataFolder {
        name: name.into(),
        title: format!("Title of {name}"),
        folder: format!("data/out/{name}"),
        recipe_lock_sha256: hex_digest(name.as_bytes()),
        license: "cc-by-4.0".into(),
        languages: vec!["it".into()],
        repos: vec![format!("owner/{name}")],
        others: Vec::new(),
        rows: [("train".to_owned(), 1200), ("validation".to_owned(), 30)].into(),
        files: vec![hash("data/train-00000-of-00001.parquet")],
    };
    let mut lock = begin(recipe, "setaccio train pipelines/train/tiny.toml", "f32 on cpu");
    lock.base = vec![hash("config.json"), hash("model.safetensors")];
    lock.data = vec![data("a"), data("b")];
    lock.tokenizer_sha256 = hex_digest(b"tokenizer");
    lock
}

#[test]
fn what_decides_the_numbers_changes_the_fingerprint_and_is_named() -> Result<()> {
    type Change = fn(&mut RunLock);
    let changes: [(Change, &[&str]); 12] = [
        (|l| l.recipe.train.learning_rate = 1e-4, &["train.learning_rate: 2e-5 -> 0.0001"]),
        (|l| l.recipe.train.betas[1] = 0.95, &["train.betas: [0.9, 0.999] -> [0.9, 0.95]"]),
        (|l| l.recipe.lora.dropout = 0.1, &["lora.dropout: 0.0 -> 0.1"]),
        (
            |l| l.recipe.lora.targets.truncate(1),
            &["lora.targets: [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj] -> [q_proj]"],
        ),
        (|l| l.recipe.seed = 43, &["seed: 42 -> 43"]),
        (|l| l.recipe.train.max_steps = 9, &["train.epochs: 3.0 -> none", "train.max_steps: 0 -> 9"]),
        (|l| l.compute = "bf16 on cuda".into(), &["compute: f32 on cpu -> bf16 on cuda"]),
        (|l| l.tokenizer_sha256 = hex_digest(b"x"), &["tokenizer_sha256: 5f97e3774c51 -> 2d711642b726"]),
        (|l| l.template_sha256 = hex_digest(b"x"), &["template_sha256: none -> 2d711642b726"]),
        (
            |l| l.data[1].recipe_lock_sha256 = hex_digest(b"x"),
            &["data[b].recipe_lock_sha256: 3e23e8160039 -> 2d711642b726"],
        ),
        (|l| l.base[1].bytes = 8, &["base[model.safetensors].bytes: 7 -> 8"]),
        (|l| l.data.reverse(), &["data[]: a, b -> b, a"]),
    ];
    for (change, expected) in changes {
        let (before, mut after) = (lock(), lock());
        change(&mut after);
        assert_eq!(differences(&before, &after)?, expected);
        assert_ne!(fingerprint(&before)?, fingerprint(&after)?, "{expected:?}");
    }
    Ok(())
}

#[test]
fn what_does_not_is_free_to_change() -> Result<()> {
    let (before, mut after) = (lock(), lock());
    after.command = "other".into();
    after.made = before.base.clone();
    after.data[0].folder = "elsewhere".into();
    after.recipe.title = "Other".into();
    after.recipe.model.path = "elsewhere".into();
    after.recipe.train.recompute = Recompute::All;
    after.recipe.train.log_every = 1;
    after.recipe.checkpoint.keep = 9;
    after.recipe.eval.every = 7;
    assert_eq!(differences(&before, &after)?, [""; 0]);
    assert_eq!(fingerprint(&before)?, fingerprint(&after)?);
    let [mut short, mut long] = [lock(), lock()];
    for (lock, steps) in [(&mut short, 10), (&mut long, 20)] {
        lock.recipe.train.schedule = Schedule::Constant;
        lock.recipe.train.max_steps = steps;
    }
    assert_eq!(fingerprint(&short)?, fingerprint(&long)?, "a constant rate has no end");
    assert!(!is_same_run(&long, &short)? && is_same_run(&long, &long.clone())?);
    long.recipe.train.warmup_ratio = 0.1;
    short.recipe.train.warmup_ratio = 0.1;
    assert_eq!(differences(&short, &long)?, ["train.max_steps: 10 -> 20"]);
    Ok(())
}

#[test]
fn a_run_is_gone_on_with_to_another_length() -> Result<()> {
    let leg = |until, steps| Leg { until, steps };
    // Finished, cut short, finished and then cut short, back to a length that it had, from a step before the last leg's end.
    assert_eq!(legs(&[], 12, 12, 20), [leg(12, 12)]);
    assert_eq!(legs(&[], 12, 5, 20), [leg(5, 12)]);
    assert_eq!(legs(&[leg(12, 12)], 20, 15, 30), [leg(12, 12), leg(15, 20)]);
    assert_eq!(legs(&[leg(12, 12)], 20, 12, 12), []);
    assert_eq!(legs(&[leg(12, 12)], 20, 9, 30), [leg(9, 12)]);
    assert_eq!(legs(&[leg(12, 12)], 20, 0, 30), []);
    let (before, mut after) = (lock(), lock());
    after.recipe.train.max_steps = 20;
    after.legs = vec![leg(12, 12)];
    assert_eq!(differences_beside_length(&before, &after)?, [""; 0]);
    assert!(!differences(&before, &after)?.is_empty() && !is_as_long(&before, &after));
    let text = after.to_toml()?;
    assert_eq!(RunLock::parse(Path::new(NAME), &text)?.legs, after.legs);
    let mut without = after.clone();
    without.legs.clear();
    assert!(!is_same_run(&after, &without)?, "a run that was gone on with is not one of that length from the first");
    for lock in [&mut after, &mut without] {
        lock.recipe.train.schedule = Schedule::Constant;
    }
    assert!(is_same_run(&after, &without)?, "but with a constant rate it is");
    Ok(())
}

#[test]
fn two_builds_of_one_name_are_told_apart() -> Result<()> {
    let (mut before, mut after) = (lock(), lock());
    before.data[1].name = "a".into();
    after.data[1].name = "a".into();
    after.data[1].recipe_lock_sha256 = hex_digest(b"x");
    assert_eq!(differences(&before, &after)?, ["data[a 2].recipe_lock_sha256: 3e23e8160039 -> 2d711642b726"]);
    Ok(())
}

#[test]
fn the_text_is_read_back_and_repeats() -> Result<()> {
    let mut lock = lock();
    lock.recipe.train.learning_rate = 0.1 + 0.2;
    let text = lock.to_toml()?;
    let read = RunLock::parse(Path::new(NAME), &text)?;
    assert_eq!(read.to_toml()?, text);
    assert_eq!(fingerprint(&read)?, fingerprint(&lock)?);
    let error = RunLock::parse(Path::new(NAME), &text.replace("engine", "motor")).err().map(|e| e.to_string());
    assert!(error.unwrap_or_default().contains("not a lock of this version"));
    Ok(())
}

struct Quiet;

impl setaccio_base::progress::Progress for Quiet {}

#[test]
fn data_is_told_as_its_build_says_and_refused_when_changed() -> Result<()> {
    use setaccio_curate::{
        build::{BuildOptions, Part, run},
        plan, recipe,
        source::origin::Origin,
    };
    use setaccio_dataset::folder::RECIPE_LOCK as DATA_LOCK;
    let dir = tempfile::tempdir().map_err(Error::io("create a folder in", "/tmp"))?;
    let out = dir.path().join("dolly");
    // Samples of evaluation sets come with the program alone.
    let sets = ["decontamination.sets=[]".to_owned()];
    let loaded = recipe::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines/dolly.toml"), &sets).unwrap();
    let list_dirs = plan::list_dirs(&loaded, &dir.path().join("lists"));
    let request = plan::Request {
        loaded,
        origin: Origin::Samples,
        list_dirs,
        jobs: 1,
        progress: &Quiet,
        count: false,
        inspected: None,
    };
    let options = BuildOptions { part: Part::Whole, force: false, jobs: 1, keep_tasks: 0 };
    run(&plan::make(request).unwrap(), &out, options, &Quiet).unwrap();
    let stopped = data_folder(&out, &|| true);
    assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    let data = data_folder(&out, &|| false)?;
    assert_eq!((data.name.as_str(), data.repos.len()), ("dolly", 0), "its repository was not read");
    assert_eq!(data.others, ["local files"], "no samples come with a test");
    assert!(data.rows["train"] > 0 && !data.license.is_empty() && !data.languages.is_empty());
    let lock = std::fs::read(out.join(DATA_LOCK)).map_err(Error::io("read", DATA_LOCK))?;
    assert_eq!(data.recipe_lock_sha256, hex_digest(&lock));
    let shard = out.join(&data.files[0].file);
    let mut bytes = std::fs::read(&shard).map_err(Error::io("read", &shard))?;
    assert_eq!((data.files[0].bytes, &data.files[0].sha256), (bytes.len() as u64, &hex_digest(&bytes)));
    bytes[100] ^= 1;
    std::fs::write(&shard, &bytes).map_err(Error::io("write", &shard))?;
    let error = data_folder(&out, &|| false).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("is not what the build wrote"), "{error}");
    let changed = String::from_utf8_lossy(&lock).replacen("seed = ", "seed = 1", 1);
    std::fs::write(out.join(DATA_LOCK), changed).map_err(Error::io("write", DATA_LOCK))?;
    let error = data_folder(&out, &|| false).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("is not the lock that the build wrote"), "{error}");
    Ok(())
}

#[test]
fn the_stated_candle_is_the_one_that_is_built() {
    let locked = include_str!("../../../../Cargo.lock").replace("\r\n", "\n");
    assert!(locked.contains(&format!("name = \"candle-core\"\nversion = \"{CANDLE}\"\n")));
}
