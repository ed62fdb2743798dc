//! A build without the trainer says how to get it.

use crate::lab::setaccio;

#[test]
fn the_trainers_commands_say_how_to_get_it() {
    for command in ["train", "generate"] {
        let said = setaccio(&[command, "pipelines/train/sft.toml", "--plan"]).bad();
        assert!(said.contains("--features train") && said.contains("--features cuda"), "{said}");
    }
}
