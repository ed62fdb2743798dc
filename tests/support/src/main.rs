//! `test-hub [PORT] [KIND/OWNER/NAME=FOLDER ...]`: a Hub for clients in other languages, until its input ends.
//! Prints the address, then one token that may write and one that may read.

use std::{io::Read, path::Path};

use setaccio_test_hub::{READ, TestHub, WRITE};

fn main() {
    let mut arguments = std::env::args().skip(1).peekable();
    let port = arguments.next_if(|a| a.parse::<u16>().is_ok()).and_then(|a| a.parse().ok());
    let hub = TestHub::on(port.unwrap_or(0));
    for argument in arguments {
        let put = argument.split_once('=').map(|(repo, folder)| hub.store().put_folder(repo, Path::new(folder)));
        if !matches!(put, Some(Ok(_))) {
            eprintln!("{argument}: write KIND/OWNER/NAME=FOLDER, for instance datasets/anna/web=data: {put:?}");
            std::process::exit(2);
        }
    }
    println!("{} {WRITE} {READ}", hub.endpoint());
    // Whoever started it holds the other end.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
