//! Which model a path is of.

use super::schema::Model;

impl Model {
    /// Whether a path is of the model that a recipe describes: what it says of its name, commit and licence is true of no other.
    pub fn is_at(&self, path: &str) -> bool {
        path == self.path || names(path, &self.repo) || (!self.is_tiny() && names(path, &self.path))
    }
}

/// Whether a path is one of the model called `name`: its folder, its file, or its place in the Hub's cache.
pub fn names(path: &str, name: &str) -> bool {
    let last = |text: &str| text.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_lowercase();
    let (file, name) = (last(path), last(name));
    // `SmolLM2-135M-Instruct.Q4_1.gguf` is of SmolLM2-135M-Instruct; `TinyLlama` is not of `tiny`.
    let same = file.strip_prefix(&name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    !name.is_empty() && (same || path.to_lowercase().contains(&format!("--{name}/snapshots/")))
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_base_is_known_by_its_whole_name() {
        let cases = [
            ("models/SmolLM2-135M-Instruct/", "HuggingFaceTB/SmolLM2-135M-Instruct", true),
            ("/a/smollm2-135m-instruct.Q4_1.gguf", "HuggingFaceTB/SmolLM2-135M-Instruct", true),
            ("/h/models--o--n-1/snapshots/abc", "o/N-1", true),
            ("/a/TinyLlama-1.1B", "tiny", false),
            ("/a/SmolLM2-135M-Instruct-mine", "HuggingFaceTB/SmolLM2-135M-Instruct", false),
            ("/a/b", "", false),
        ];
        for (path, name, same) in cases {
            assert_eq!(names(path, name), same, "{path} {name}");
        }
    }
}
