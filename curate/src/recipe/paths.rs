//! Paths in a recipe: which of them mean the same wherever it lies, and what a lock may say of these.

use std::path::Path;

use setaccio_dataset::recipe::Recipe;

/// Whether a path means the same wherever the recipe lies.
pub fn is_absolute(path: &str) -> bool {
    path.starts_with("~/") || Path::new(path).is_absolute()
}

/// With `~/` as a shell has it.
pub fn expanded(path: &str) -> String {
    match (path.strip_prefix("~/"), std::env::var("HOME")) {
        (Some(rest), Ok(home)) => format!("{}/{rest}", glob::Pattern::escape(&home)),
        _ => path.to_owned(),
    }
}

/// The folder that a path or glob is in: above its last part, or above the first with a `*`, `?` or `[`.
pub fn anchor(path: &Path) -> &Path {
    let is_glob = |path: &Path| path.to_string_lossy().contains(['*', '?', '[']);
    path.ancestors().skip(1).find(|folder| !is_glob(folder)).unwrap_or(Path::new(""))
}

/// The recipe with the folders of this machine cut off from the paths in it: a lock goes where they mean nothing, and the
/// hashes say which files were read.
pub fn portable(mut recipe: Recipe) -> Recipe {
    for source in &mut recipe.source {
        source.path.iter_mut().chain([&mut source.samples]).for_each(cut);
    }
    for table in &mut recipe.filter {
        if let Some(toml::Value::String(path)) = table.settings.get_mut("model") {
            cut(path);
        }
    }
    recipe.output.template.iter_mut().chain(&mut recipe.output.tokenizer).for_each(cut);
    recipe.dedup.iter_mut().filter_map(|dedup| dedup.near.as_mut()).flat_map(|near| &mut near.against).for_each(cut);
    recipe.dedup.iter_mut().filter_map(|dedup| dedup.semantic.as_mut()).for_each(|semantic| cut(&mut semantic.model));
    if let Some(settings) = &mut recipe.decontamination {
        let sets = settings.set.iter_mut().flat_map(|set| set.path.iter_mut().chain([&mut set.samples]));
        sets.chain(&mut settings.against).for_each(cut);
    }
    recipe.filter.iter_mut().for_each(|filter| cut_model(&mut filter.settings));
    recipe
}

/// The model of a rule, which `clean_mc4_it` has in its table `language`.
fn cut_model(settings: &mut toml::Table) {
    for (key, value) in settings {
        match value {
            toml::Value::String(path) if key == "model" => cut(path),
            toml::Value::Table(inner) => cut_model(inner),
            _ => {}
        }
    }
}

/// Leave of an absolute path its last part; of a glob, what comes after the folders that it names.
pub fn cut(path: &mut String) {
    if !is_absolute(path) {
        return;
    }
    let anchor = anchor(Path::new(path));
    if let Ok(rest) = Path::new(path.as_str()).strip_prefix(anchor) {
        *path = rest.to_string_lossy().into_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_lock_says_of_a_path_names_no_folder_of_the_machine() {
        for (path, portable) in [
            ("rows/a.jsonl", "rows/a.jsonl"),
            ("../a.jsonl", "../a.jsonl"),
            ("/home/anna/rows/a.jsonl", "a.jsonl"),
            ("/home/anna/rows/", "rows"),
            ("/home/anna/*/a.jsonl", "*/a.jsonl"),
            ("~/rows/**/*.csv", "**/*.csv"),
        ] {
            let mut path = path.to_owned();
            cut(&mut path);
            assert_eq!(path, portable);
        }
    }
}
