use std::{os::unix::fs::PermissionsExt, thread};

use super::*;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{e}"));
    let mut names: Vec<String> =
        entries.filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned())).collect();
    names.sort();
    names
}

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"))
}

/// Whatever is there may be replaced.
const FREE: fn() -> Result<()> = || Ok(());

fn put(folder: &Path, name: &str) -> Result<()> {
    fs::write(folder.join(name), name).map_err(Error::io("write", folder))
}

#[test]
fn a_small_file_is_readable_and_replaced_whole() -> Result<()> {
    let dir = temp();
    let path = dir.path().join("a");
    write(&path, b"one")?;
    write(&path, b"two")?;
    let mut torn = AtomicFile::create(&path)?;
    torn.write_all(b"torn").map_err(Error::io("write", &path))?;
    drop(torn);
    assert_eq!(fs::read(&path).ok().as_deref(), Some(&b"two"[..]));
    assert_eq!(names(dir.path()), ["a"]);
    let ordinary = dir.path().join("b");
    fs::write(&ordinary, "").map_err(Error::io("write", &ordinary))?;
    let mode = |path: &Path| fs::metadata(path).map(|m| m.permissions().mode()).ok();
    assert_eq!(mode(&path), mode(&ordinary));
    Ok(())
}

#[test]
fn files_are_replaced_together() -> Result<()> {
    let dir = temp();
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).ok();
    let put = |text: &str| write_together(dir.path(), &[("weights", text.into()), ("config", text.into())]);
    for text in ["old", "new"] {
        put(text)?;
        assert_eq!((read("weights").as_deref(), read("config").as_deref()), (Some(text), Some(text)));
    }
    // The second cannot be put in place: the reader finds no configuration rather than that of other weights.
    remove(&dir.path().join("weights"))?;
    fs::create_dir_all(dir.path().join("weights/in the way")).map_err(Error::io("create", dir.path()))?;
    assert!(put("later").is_err());
    assert_eq!(names(dir.path()), ["weights"], "nothing is left lying about");
    Ok(())
}

#[test]
fn a_folder_is_there_whole_or_as_it_was() -> Result<()> {
    let dir = temp();
    let place = dir.path().join("a/merged");
    let fails = |aside: &Path| -> Result<()> {
        put(aside, "torn")?;
        Err(Error::Interrupted)
    };
    assert!(folder(&place, FREE, fails).is_err());
    assert_eq!(names(&dir.path().join("a")), [""; 0]);
    // As a crash leaves it.
    fs::create_dir_all(dir.path().join("a/.writing-merged/x")).map_err(Error::io("create", &place))?;
    folder(&place, FREE, |aside| put(aside, "one"))?;
    let twice = dir.path().join("twice");
    folder(&twice, FREE, |aside| {
        let second = folder(&twice, FREE, |_| Ok::<_, Error>(()));
        assert!(matches!(second, Err(Error::Busy(_))), "{second:?}");
        put(aside, "one")
    })?;
    assert!(folder(&place, FREE, fails).is_err());
    assert_eq!(names(&place), ["one"]);
    fs::rename(&place, dir.path().join("a/.replaced-merged")).map_err(Error::io("rename", &place))?;
    assert!(folder(&place, FREE, fails).is_err());
    assert_eq!(names(&place), ["one"], "cut short between the two renames");
    folder(&place, FREE, |aside| put(aside, "two"))?;
    assert_eq!(names(&place), ["two"]);
    assert_eq!(names(&dir.path().join("a")), ["merged"]);
    Ok(())
}

#[test]
fn a_file_is_there_whole_or_as_it_was() -> Result<()> {
    let dir = temp();
    let place = dir.path().join("m.gguf");
    let fill = |text: &'static str, whole: bool| {
        move |out: &mut AtomicFile| {
            out.write_all(text.as_bytes()).map_err(Error::io("write", "m.gguf"))?;
            if whole { Ok(()) } else { Err(Error::Interrupted) }
        }
    };
    assert!(file(&place, FREE, fill("torn", false)).is_err());
    assert_eq!(names(dir.path()), [""; 0]);
    file(&place, FREE, |out| {
        let second = file(&place, FREE, fill("two", true));
        assert!(matches!(second, Err(Error::Busy(_))), "{second:?}");
        fill("one", true)(out)
    })?;
    assert!(file(&place, FREE, fill("torn", false)).is_err());
    assert_eq!(fs::read(&place).ok().as_deref(), Some(&b"one"[..]));
    assert_eq!(names(dir.path()), ["m.gguf"]);
    Ok(())
}

#[test]
fn of_many_that_write_one_place_each_writes_it_whole_or_not_at_all() -> Result<()> {
    let dir = temp();
    for round in 0..60 {
        let place = dir.path().join(format!("m{}", round % 3));
        remove(&place)?;
        // Every other round may replace what is there, as with --force.
        let force = round % 2 == 1;
        let vacant = || if force || !exists(&place) { Ok(()) } else { Err(Error::damaged(&place, "taken")) };
        let writer = |n: usize| {
            let fill = |aside: &Path| {
                ["weights", "config"]
                    .iter()
                    .try_for_each(|name| fs::write(aside.join(name), n.to_string()).map_err(Error::io("write", aside)))
            };
            folder(&place, vacant, fill).is_ok()
        };
        let wrote: Vec<usize> = thread::scope(|scope| {
            let writers: Vec<_> = (0..4).map(|n| (n, scope.spawn(move || writer(n)))).collect();
            writers.into_iter().filter_map(|(n, writer)| writer.join().is_ok_and(|wrote| wrote).then_some(n)).collect()
        });
        assert!(!wrote.is_empty() && (force || wrote.len() == 1), "round {round}: {wrote:?}");
        let read = |name: &str| fs::read_to_string(place.join(name)).ok();
        assert_eq!(read("weights"), read("config"), "round {round}");
        assert!(wrote.iter().any(|n| read("config") == Some(n.to_string())), "round {round}");
    }
    assert_eq!(names(dir.path()), ["m0", "m1", "m2"], "nothing is left lying about");
    Ok(())
}

#[test]
fn a_place_that_is_taken_meanwhile_is_left_alone() -> Result<()> {
    let dir = temp();
    let place = dir.path().join("merged");
    let vacant = || if exists(&place) { Err(Error::damaged(&place, "taken")) } else { Ok(()) };
    let taken = folder(&place, vacant, |aside| {
        put(aside, "ours")?;
        fs::create_dir(&place).map_err(Error::io("create", &place))?;
        put(&place, "theirs")
    });
    assert!(taken.is_err_and(|e| e.to_string().contains("taken")));
    assert_eq!(names(&place), ["theirs"]);
    let taken = file(&place.join("a"), || vacant().map_err(|_| Error::Interrupted), |_| Ok(()));
    assert!(matches!(taken, Err(Error::Interrupted)));
    assert_eq!(names(dir.path()), ["merged"]);
    assert!(write_new(&place.join("theirs"), b"ours").is_err());
    write_new(&place.join("new"), b"ours")?;
    assert_eq!(fs::read(place.join("theirs")).ok().as_deref(), Some(&b"theirs"[..]));
    assert_eq!(names(&place), ["new", "theirs"]);
    Ok(())
}

#[test]
fn only_what_nobody_writes_any_more_is_swept_away() -> Result<()> {
    let dir = temp();
    // As kills leave them: of this version, and of those before, which named what they wrote after the place.
    for left in [".writing-AbCdEf", ".writing-m.gguf", ".writing-m.gguf.lock"] {
        put(dir.path(), left)?;
    }
    fs::create_dir_all(dir.path().join(".writing-merged/x")).map_err(Error::io("create", dir.path()))?;
    let mut alive = AtomicFile::create(&dir.path().join("alive"))?;
    let folder = AsideFolder::create(dir.path())?;
    sweep(dir.path())?;
    assert_eq!(names(dir.path()).len(), 2, "{:?}", names(dir.path()));
    assert!(folder.path().exists());
    alive.write_all(b"whole").map_err(Error::io("write", "alive"))?;
    alive.commit()?;
    drop(folder);
    assert_eq!(names(dir.path()), ["alive"]);
    sweep(&dir.path().join("nowhere"))
}

#[test]
fn a_pipe_is_not_replaced() {
    let dir = temp();
    let pipe = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.is_ok_and(|status| status.success()));
    let said = |result: Result<()>| result.err().map(|e| e.to_string()).unwrap_or_default();
    for error in
        [said(write(&pipe, b"text")), said(file(&pipe, FREE, |_| Ok(()))), said(folder(&pipe, FREE, |_| Ok(())))]
    {
        assert!(error.contains("is a device, a pipe or a socket"), "{error}");
    }
    assert!(fs::symlink_metadata(&pipe).is_ok_and(|there| !there.is_file() && !there.is_dir()));
    assert_eq!(names(dir.path()), ["pipe"], "nothing is left beside it");
}
