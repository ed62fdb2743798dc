//! `setaccio browse` where nothing can be drawn; `tests/python/check_browse.py` walks through a build in a real terminal.

use crate::fixture::{Fixture, assert_snapshot, setaccio};

#[test]
fn without_a_terminal_it_names_what_to_use_instead() {
    let fixture = Fixture::text("[[filter]]\nrule = 'length'\nmin_chars = 10\n");
    fixture.write("data/web/a.jsonl", "{\"text\": \"Il gatto dorme al sole.\"}\n");
    fixture.build("out", &[]).assert_success();
    let said = setaccio(&["browse", fixture.path("out").to_str().unwrap()]).assert_failure();
    assert_snapshot("browse-no-terminal", said);
    let said = setaccio(&["browse", fixture.path("nowhere").to_str().unwrap()]).assert_failure();
    assert!(said.contains("there is no such folder"), "{said}");
}
