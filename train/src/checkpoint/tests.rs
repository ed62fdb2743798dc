use candle_core::{DType, Device};

use super::*;

fn tensors(seed: u64) -> BTreeMap<String, Tensor> {
    let values = crate::random::uniform_vec(crate::random::key(seed, "t"), 300, 1.0);
    let tensor = Tensor::from_vec(values, (30, 10), &Device::Cpu).unwrap();
    BTreeMap::from([
        ("a".to_owned(), tensor.clone()),
        ("b".to_owned(), tensor.to_dtype(DType::BF16).unwrap()),
        ("steps".to_owned(), Tensor::new(&[i64::try_from(seed).unwrap()], &Device::Cpu).unwrap()),
    ])
}

fn state(step: u64, eval_loss: Option<f64>) -> State {
    State { step, eval_loss, loss: 1.0 / 3.0, fingerprint: "f".into(), ..State::default() }
}

fn same(a: &BTreeMap<String, Tensor>, b: &BTreeMap<String, Tensor>) -> bool {
    to_bytes(a).unwrap() == to_bytes(b).unwrap()
}

fn steps(store: &Store) -> Vec<u64> {
    store.steps().unwrap()
}

#[test]
fn reads_back_what_was_written_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), 2).unwrap();
    assert!(store.latest().unwrap().0.is_none());
    store.save(&tensors(1), &state(7, Some(0.1))).unwrap();
    let (found, torn) = store.latest().unwrap();
    let found = found.unwrap();
    assert!(torn.is_empty() && same(&found.tensors, &tensors(1)));
    assert_eq!((found.state, store.last_step()), (state(7, Some(0.1)), Some(7)));
}

#[test]
fn the_last_and_the_best_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), 2).unwrap();
    for (step, loss) in [(1, Some(3.0)), (2, Some(1.0)), (3, None), (4, Some(2.0)), (5, Some(1.0)), (6, None)] {
        store.save(&tensors(step), &state(step, loss)).unwrap();
    }
    // Of equals the earlier is the best.
    assert_eq!(steps(&store), [2, 5, 6]);
    store.clear().unwrap();
    assert_eq!((steps(&store), store.last_step()), (vec![], None));
}

#[test]
fn a_crash_at_any_moment_leaves_the_one_before() {
    for cut in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path(), 2).unwrap();
        store.save(&tensors(1), &state(1, None)).unwrap();
        let mut operations = 0;
        let cut_short = store.write(&tensors(2), &state(2, None), &mut |_| {
            operations += 1;
            if operations > cut { Err(Error::Other("killed".into())) } else { Ok(()) }
        });
        drop(store);
        let mut store = Store::open(dir.path(), 2).unwrap();
        let (found, torn) = store.latest().unwrap();
        let found = found.unwrap();
        assert!(torn.is_empty(), "cut after {cut}: {torn:?}");
        assert!(same(&found.tensors, &tensors(found.state.step)), "cut after {cut}");
        store.save(&tensors(3), &state(3, None)).unwrap();
        assert!(store.names().unwrap().iter().all(|n| !n.starts_with(WRITING)), "cut after {cut}");
        if cut_short.is_ok() {
            assert!(cut > 6 && found.state.step == 2);
            return;
        }
    }
}

#[test]
fn a_torn_checkpoint_is_recognised_and_the_one_before_it_used() {
    type Tear = fn(&Path);
    let tears: [(&str, Tear); 5] = [
        (MANIFEST, |path| fs::remove_file(path.join(MANIFEST)).unwrap()),
        ("No such file", |path| fs::remove_file(path.join(TENSORS)).unwrap()),
        ("bytes of", |path| {
            let bytes = fs::read(path.join(TENSORS)).unwrap();
            fs::write(path.join(TENSORS), &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("not what was written", |path| {
            let mut bytes = fs::read(path.join(TENSORS)).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path.join(TENSORS), bytes).unwrap();
        }),
        (STATE, |path| fs::write(path.join(STATE), b"{}").unwrap()),
    ];
    for (why, tear) in tears {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path(), 2).unwrap();
        store.save(&tensors(1), &state(1, None)).unwrap();
        store.save(&tensors(2), &state(2, None)).unwrap();
        tear(&store.path(2));
        let (found, torn) = store.latest().unwrap();
        assert_eq!(found.unwrap().state.step, 1);
        assert!(torn.len() == 1 && torn[0].why.contains(why), "{torn:?} says {why}");
        tear(&store.path(1));
        let (found, torn) = store.latest().unwrap();
        assert!(found.is_none() && torn.len() == 2);
    }
}

#[test]
fn two_runs_cannot_share_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let held = Store::open(dir.path(), 1).unwrap();
    let error = Store::open(dir.path(), 1).unwrap_err().to_string();
    assert!(error.contains("another setaccio trains in it"), "{error}");
    drop(held);
    Store::open(dir.path(), 1).unwrap();
}

#[test]
fn what_is_torn_does_not_push_out_what_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), 1).unwrap();
    store.save(&tensors(100), &state(100, None)).unwrap();
    store.keep = 2;
    store.save(&tensors(200), &state(200, None)).unwrap();
    store.keep = 1;
    fs::remove_file(store.path(200).join(MANIFEST)).unwrap();
    assert_eq!(store.latest().unwrap().0.unwrap().state.step, 100);
    // Resumed from 100 and interrupted at 150.
    store.save(&tensors(150), &state(150, None)).unwrap();
    assert_eq!(store.latest().unwrap().0.map(|l| l.state.step), Some(150), "{:?}", steps(&store));
}
