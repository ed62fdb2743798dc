//! `test-store [PORT] BUCKET=FOLDER ...`: folders as buckets of a store, until its input ends. Prints what `AWS_ENDPOINT_URL` has to be.

use std::{
    io::{self, Read},
    path::Path,
};

use setaccio_test_hub::{Bytes, TestStore};

fn main() {
    let mut arguments = std::env::args().skip(1).peekable();
    let port = arguments.next_if(|a| a.parse::<u16>().is_ok()).and_then(|a| a.parse().ok());
    let store = TestStore::on(port.unwrap_or(0));
    for argument in arguments {
        let put = argument.split_once('=').map(|(bucket, folder)| put(&store, bucket, Path::new(folder)));
        if !matches!(put, Some(Ok(()))) {
            eprintln!("{argument}: write BUCKET=FOLDER, for instance lab=data/samples: {put:?}");
            std::process::exit(2);
        }
    }
    println!("{}", store.endpoint());
    // Whoever started it holds the other end.
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

/// Put the files of a folder and of those in it below `prefix`.
fn put(store: &TestStore, prefix: &str, folder: &Path) -> io::Result<()> {
    for entry in folder.read_dir()? {
        let path = entry?.path();
        let key = format!("{prefix}/{}", path.file_name().unwrap_or_default().to_string_lossy());
        if path.is_dir() {
            put(store, &key, &path)?;
        } else {
            store.buckets().put(&key, Bytes::File(path));
        }
    }
    Ok(())
}
