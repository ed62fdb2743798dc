//! Checkpoints cut short at every point, torn in every file, of other runs, and pruned.

use std::collections::BTreeMap;

use candle_core::{DType, Device};

use super::{
    writing::{MANIFEST, STATE, TENSORS},
    *,
};
use crate::{
    loss::{PreferenceSums, TokenSums},
    random,
    report::lock::{self, tests::lock},
    trainer::objective::StepMetrics,
};

const FILES: [&str; 4] = [TENSORS, STATE, lock::NAME, MANIFEST];

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"))
}

fn open(dir: &Path, keep: usize) -> Store {
    Store::open(dir, keep, &lock()).unwrap_or_else(|e| panic!("{e}"))
}

fn tensors(seed: u64) -> Result<Vec<(String, Tensor)>> {
    let cpu = &Device::Cpu;
    let mut values = random::normal_vec(seed, 96, 1.0);
    (values[0], values[1], values[2]) = (f32::NAN, -0.0, f32::MIN_POSITIVE / 2.0);
    let a = Tensor::from_vec(values, (8, 12), cpu)?;
    let bytes: Vec<u8> = (0..=u8::MAX).collect();
    Ok(vec![
        ("adapter.b".into(), a.to_dtype(DType::BF16)?),
        // Not contiguous: what is stored is what it says, not what lies in memory.
        ("adapter.a".into(), a.t()?),
        ("optimiser.m".into(), Tensor::from_vec(bytes, 256, cpu)?),
        ("optimiser.t".into(), Tensor::new(seed.cast_signed(), cpu)?),
        ("optimiser.none".into(), Tensor::zeros((0, 4), DType::F32, cpu)?),
    ])
}

/// Type, shape and bits of everything.
fn bits(tensors: impl IntoIterator<Item = (String, Tensor)>) -> BTreeMap<String, (DType, Vec<usize>, Vec<u8>)> {
    let raw = |t: &Tensor| safetensors::View::data(t).into_owned();
    tensors.into_iter().map(|(n, t)| (n, (t.dtype(), t.dims().to_vec(), raw(&t)))).collect()
}

fn state(step: u64, eval_loss: Option<f64>) -> State {
    let loss = 0.1 + 0.2;
    State {
        step,
        tokens: 1 << 40,
        metrics_bytes: 77,
        loss,
        window: Window {
            steps: 2,
            loss,
            metrics: StepMetrics {
                losses: TokenSums { nll: 2.0 / 3.0, targets: 9, ..TokenSums::default() },
                sums: PreferenceSums { rows: 3, logps: [-1.0 / 3.0, 1e-300], ..PreferenceSums::default() },
            },
        },
        eval: eval_loss.map(|loss| Evaluation { step, loss }),
        best: eval_loss.map(|loss| Evaluation { step, loss: loss / 2.0 }),
        stale: 2,
        asked: Some(step),
    }
}

fn save(store: &mut Store, step: u64, eval_loss: Option<f64>) -> Result<PathBuf> {
    store.save(&tensors(step)?, &state(step, eval_loss))
}

/// The newest whole one must be of `expected`, to the bit.
fn is_latest(store: &mut Store, expected: u64, what: &str) -> Result<Vec<Warning>> {
    let (loaded, warnings) = store.latest()?;
    let loaded = loaded.unwrap_or_else(|| panic!("{what}: nothing found, {warnings:?}"));
    let eval_loss = loaded.state.eval.map(|e| e.loss);
    assert_eq!(loaded.state, state(expected, eval_loss), "{what}");
    let found: Result<Vec<_>> =
        loaded.tensors.names().map(|name| Ok((name.to_owned(), loaded.tensors.load(name)?))).collect();
    assert_eq!(bits(found?), bits(tensors(expected)?), "{what}");
    Ok(warnings)
}

#[test]
fn what_is_saved_comes_back_to_the_bit() -> Result<()> {
    let dir = temp();
    let mut store = open(dir.path(), 2);
    assert!(store.latest()?.0.is_none());
    let path = save(&mut store, 500, Some(0.1 + 0.2))?;
    assert!(path.ends_with("checkpoints/step-000500"));
    assert_eq!(is_latest(&mut store, 500, "saved")?, []);
    assert_eq!(store.latest()?.0.and_then(|l| l.state.eval), Some(Evaluation { step: 500, loss: 0.1 + 0.2 }));
    let first = fs::read(path.join(TENSORS)).map_err(Error::io("read", &path))?;
    save(&mut store, 500, None)?;
    assert_eq!(fs::read(path.join(TENSORS)).map_err(Error::io("read", &path))?, first, "the same bytes again");
    // What another reader of the format sees.
    let read = candle_core::safetensors::load(path.join(TENSORS), &Device::Cpu)?;
    assert_eq!(bits(read), bits(tensors(500)?));
    let mut twice = tensors(1)?;
    twice.push(twice[0].clone());
    let error = store.save(&twice, &state(501, None)).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("`adapter.b`: is given twice"), "{error}");
    Ok(())
}

/// Run a save that is cut after `n` operations, as a crash would, and say which was the last; none if it ended.
fn cut(store: &mut Store, step: u64, eval_loss: Option<f64>, n: usize) -> Result<Option<String>> {
    let (mut done, mut last) = (0, None);
    store.sweep()?;
    let put = store.put(&tensors(step)?, &state(step, eval_loss), &mut |what| {
        done += 1;
        if done < n {
            return Ok(());
        }
        last = Some(what.to_owned());
        Err(Error::Interrupted)
    });
    assert_eq!(put.is_err(), last.is_some());
    Ok(last)
}

#[test]
fn a_crash_after_any_operation_leaves_a_whole_checkpoint() -> Result<()> {
    let mut seen = BTreeSet::new();
    for n in 1.. {
        let dir = temp();
        let mut store = open(dir.path(), 1);
        // The best is 1; saving 3 removes 2.
        save(&mut store, 1, Some(0.5))?;
        save(&mut store, 2, Some(0.9))?;
        let Some(last) = cut(&mut store, 3, Some(0.8), n)? else {
            assert!(n > 15, "only {n} operations: {seen:?}");
            break;
        };
        drop(store);
        let mut store = open(dir.path(), 1);
        let placed = ["put in place", "flush the folder", "hide", "remove"].contains(&last.as_str());
        let warnings = is_latest(&mut store, if placed { 3 } else { 2 }, &last)?;
        assert_eq!(warnings.len(), usize::from(!placed), "{last}: {warnings:?}");
        assert!(store.steps()?.contains(&1) && reading::read(&store.path(1), 1).is_ok(), "{last}");
        save(&mut store, 4, Some(0.7))?;
        assert_eq!(is_latest(&mut store, 4, &last)?, [], "leftovers are gone");
        assert_eq!(store.steps()?, [1, 4], "{last}");
        assert!(hidden(&store.root)?.is_empty(), "{last}");
        seen.insert(last);
    }
    assert_eq!(seen.len(), 9, "{seen:?}");
    Ok(())
}

#[test]
fn a_crash_while_one_replaces_another_of_its_step_loses_neither() -> Result<()> {
    for n in 1.. {
        let dir = temp();
        let mut store = open(dir.path(), 1);
        save(&mut store, 1, None)?;
        let Some(last) = cut(&mut store, 1, None, n)? else { break };
        drop(store);
        is_latest(&mut open(dir.path(), 1), 1, &last)?;
    }
    Ok(())
}

type Harm = fn(&Path) -> io::Result<()>;

fn harms() -> [(&'static str, Harm); 5] {
    fn with(path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut bytes = fs::read(path)?;
        change(&mut bytes);
        fs::write(path, bytes)
    }
    [
        ("removed", |p| fs::remove_file(p)),
        ("emptied", |p| fs::write(p, "")),
        ("half", |p| with(p, |b| b.truncate(b.len() / 2))),
        ("one byte more", |p| with(p, |b| b.push(b' '))),
        ("flipped", |p| {
            with(p, |b| {
                let middle = b.len() / 2;
                b[middle] ^= 1;
            })
        }),
    ]
}

#[test]
fn a_torn_checkpoint_is_named_and_the_one_before_is_used() -> Result<()> {
    for (what, harm) in harms() {
        for file in FILES {
            // Trailing blanks in the manifest change nothing that it says.
            if (what, file) == ("one byte more", MANIFEST) {
                continue;
            }
            let dir = temp();
            let mut store = open(dir.path(), 1);
            save(&mut store, 1, Some(0.1))?;
            let path = save(&mut store, 2, Some(0.2))?;
            harm(&path.join(file)).map_err(Error::io("harm", &path))?;
            let warnings = is_latest(&mut store, 1, &format!("{file} {what}"))?;
            assert_eq!(warnings.len(), 1);
            let told = warnings[0].to_string();
            assert!(told.contains("step-000002: is torn") && told.contains(file), "{told}");
            // Torn as it is, it counts for nothing when others are removed.
            save(&mut store, 3, Some(0.3))?;
            assert_eq!(store.steps()?, [1, 2, 3], "1 is the best, 2 is torn, 3 the last");
            save(&mut store, 2, Some(0.05))?;
            assert_eq!(store.steps()?, [2, 3], "2 is mended and the best");
        }
    }
    Ok(())
}

#[test]
fn every_flipped_byte_is_noticed() -> Result<()> {
    let dir = temp();
    let mut store = open(dir.path(), 1);
    let path = save(&mut store, 1, Some(0.1))?;
    for name in FILES {
        let file = path.join(name);
        let good = fs::read(&file).map_err(Error::io("read", &file))?;
        // The rest is under a hash, where one byte is like another; the manifest is not.
        let every = if name == MANIFEST { 1 } else { 41 };
        for i in (0..good.len()).step_by(every) {
            let mut bad = good.clone();
            bad[i] ^= [0x01, 0x20, 0x80][i % 3];
            fs::write(&file, bad).map_err(Error::io("write", &file))?;
            assert!(reading::read(&path, 1).is_err(), "{name}: byte {i}");
        }
        fs::write(&file, good).map_err(Error::io("write", &file))?;
    }
    is_latest(&mut store, 1, "all put back")?;
    Ok(())
}

#[test]
fn the_last_and_the_best_are_kept() -> Result<()> {
    // Evaluation losses of steps 1, 2, ... and what is left after the last.
    type Case<'a> = (usize, &'a [Option<f64>], &'a [u64]);
    let cases: [Case; 7] = [
        (1, &[None, None, None], &[3]),
        (2, &[None, None, None], &[2, 3]),
        (1, &[Some(3.0), Some(1.0), Some(2.0), Some(1.5)], &[2, 4]),
        (2, &[Some(3.0), Some(2.0), Some(1.0)], &[2, 3]),
        (1, &[Some(1.0), Some(1.0), Some(1.0)], &[1, 3]),
        (1, &[Some(1.0), None, Some(f64::NAN), Some(f64::NEG_INFINITY)], &[1, 4]),
        (0, &[Some(1.0), Some(0.5)], &[2]),
    ];
    for (keep, losses, expected) in cases {
        let dir = temp();
        let mut store = open(dir.path(), keep);
        for (step, loss) in (1..).zip(losses) {
            save(&mut store, step, *loss)?;
        }
        assert_eq!(store.steps()?, expected, "keep {keep} of {losses:?}");
    }
    Ok(())
}

#[test]
fn the_one_just_saved_stays_whatever_else_lies_there() -> Result<()> {
    let dir = temp();
    let mut store = open(dir.path(), 1);
    save(&mut store, 900, Some(0.1))?;
    save(&mut store, 5, Some(0.2))?;
    assert_eq!(store.steps()?, [5, 900]);
    store.clear()?;
    assert_eq!(store.steps()?, [0; 0]);
    Ok(())
}

#[test]
fn another_run_is_refused_with_what_differs() -> Result<()> {
    let dir = temp();
    save(&mut open(dir.path(), 1), 1, None)?;
    let mut other = lock();
    other.recipe.train.learning_rate = 1e-4;
    other.data[0].recipe_lock_sha256 = setaccio_base::sha256::hex_digest(b"new");
    let error = Store::open(dir.path(), 1, &other)?.latest().err().map(|e| e.to_string()).unwrap_or_default();
    for part in ["step-000001", "train.learning_rate: 2e-5 -> 0.0001", "data[a].recipe_lock_sha256", "--force"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let mut renamed = lock();
    renamed.recipe.title = "Other".into();
    is_latest(&mut Store::open(dir.path(), 1, &renamed)?, 1, "a title decides nothing")?;
    Ok(())
}

#[test]
fn a_folder_belongs_to_one_run_and_to_none_who_did_not_ask() -> Result<()> {
    let dir = temp();
    let held = open(dir.path(), 1);
    let error = Store::open(dir.path(), 1, &lock()).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("another setaccio trains in it"), "{error}");
    drop(held);
    open(dir.path(), 1);
    let foreign = temp();
    fs::write(foreign.path().join("README.md"), "mine").map_err(Error::io("write", "README.md"))?;
    let error = Store::open(foreign.path(), 1, &lock()).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("no run wrote it") && !foreign.path().join(".setaccio").exists(), "{error}");
    // What `setaccio build` wrote has such a folder, too.
    fs::create_dir(foreign.path().join(".setaccio")).map_err(Error::io("create", ".setaccio"))?;
    assert!(Store::open(foreign.path(), 1, &lock()).is_err());
    Ok(())
}

#[test]
fn what_cannot_be_written_leaves_the_earlier_ones_and_nothing_half() -> Result<()> {
    let dir = temp();
    let mut store = open(dir.path(), 1);
    save(&mut store, 1, None)?;
    // Fails with the folder made and the first file begun, as a full disk does.
    let mut bad = tensors(2)?;
    bad.push(("adapter.b".into(), bad[0].1.clone()));
    let error = store.save(&bad, &state(2, None)).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("step 2 was not written") && error.contains("earlier checkpoints are kept"), "{error}");
    assert!(hidden(&store.root)?.is_empty());
    assert_eq!(is_latest(&mut store, 1, "after a failed save")?, []);
    let full = Error::io("write", "x")(io::Error::from(io::ErrorKind::StorageFull));
    assert!(hint(&full).contains("free some space"));
    Ok(())
}
