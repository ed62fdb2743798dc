//! The evaluation sets that a recipe names: those that the program knows, and its own.

use setaccio_base::suggest;
use setaccio_dataset::{
    decontamination::{Decontamination, EvaluationSet},
    recipe::{Recipe, Source},
};

/// A set that the program knows.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its name in a recipe.
    pub name: &'static str,
    /// The repository of the Hub.
    pub repo: &'static str,
    /// The files that evaluations read: test and validation, and not what models may be trained on.
    pub files: &'static [&'static str],
    /// What an item says, as `fields` of a recipe has it.
    pub fields: &'static [&'static str],
    /// The field that names an item.
    pub id: Option<&'static str>,
}

/// All of them. How files and columns are called was checked in what public programs read and in the Hub's own pages of the repositories, as
/// they were stored by others: the English ones and `m_arc`, `m_hellaswag`, `m_mmlu`, `m_truthfulqa` (`data/LANGUAGE/SPLIT.jsonl`; columns in
/// lm-evaluation-harness, tasks `okapi`), `gsm8k_italian` and `winogrande_italian` (files in their listings; columns in ITA-Bench, which reads
/// `input_translation` since October 2024). The files themselves were not read. A question is looked for by itself, because rows give other
/// answers to it, and with its answers, because some questions are of few words.
pub const KNOWN: [Known; 12] = [
    Known {
        name: "arc",
        repo: "allenai/ai2_arc",
        files: &["*/test-*.parquet", "*/validation-*.parquet"],
        fields: &["question", "question + choices.text"],
        id: Some("id"),
    },
    Known {
        name: "hellaswag",
        repo: "Rowan/hellaswag",
        files: &["data/validation-*.parquet"],
        fields: &["ctx", "ctx + endings"],
        id: Some("ind"),
    },
    Known {
        name: "mmlu",
        repo: "cais/mmlu",
        files: &["all/test-*.parquet", "all/validation-*.parquet"],
        fields: &["question", "question + choices"],
        id: None,
    },
    Known {
        name: "gsm8k",
        repo: "openai/gsm8k",
        files: &["main/test-*.parquet"],
        fields: &["question", "question + answer"],
        id: None,
    },
    Known {
        name: "truthfulqa",
        repo: "truthfulqa/truthful_qa",
        files: &["generation/validation-*.parquet"],
        fields: &["question", "question + best_answer"],
        id: None,
    },
    Known {
        name: "winogrande",
        repo: "allenai/winogrande",
        files: &["winogrande_xl/validation-*.parquet"],
        fields: &["sentence"],
        id: None,
    },
    Known {
        name: "arc-it",
        repo: "alexandrainst/m_arc",
        files: &["data/it/test.jsonl", "data/it/val.jsonl"],
        fields: &["instruction", "instruction + option_a + option_b + option_c + option_d + option_e"],
        id: Some("id"),
    },
    Known {
        name: "hellaswag-it",
        repo: "alexandrainst/m_hellaswag",
        files: &["data/it/val.jsonl"],
        fields: &["ctx", "ctx + endings"],
        id: Some("ind"),
    },
    Known {
        name: "mmlu-it",
        repo: "alexandrainst/m_mmlu",
        files: &["data/it/test.jsonl", "data/it/val.jsonl"],
        fields: &["instruction", "instruction + option_a + option_b + option_c + option_d"],
        id: Some("id"),
    },
    Known {
        name: "gsm8k-it",
        repo: "sapienzanlp/gsm8k_italian",
        files: &["gsm8k.test.json"],
        fields: &["input_translation"],
        id: Some("id"),
    },
    Known {
        name: "truthfulqa-it",
        repo: "alexandrainst/m_truthfulqa",
        files: &["data/it/val.jsonl"],
        fields: &["question", "question + mc1_targets_choices"],
        id: None,
    },
    Known {
        name: "winogrande-it",
        repo: "sapienzanlp/winogrande_italian",
        files: &["winogrande_xl.validation.json"],
        fields: &["input_translation"],
        id: Some("id"),
    },
];

impl Known {
    /// The path, in the repository of the program, of the sample that stands for it.
    pub fn sample(&self) -> String {
        format!("data/samples/evaluation/{}.jsonl", self.name)
    }

    /// As a recipe would write it.
    fn set(&self) -> EvaluationSet {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        EvaluationSet {
            name: self.name.to_owned(),
            fields: owned(self.fields),
            id: self.id.map(str::to_owned),
            repo: self.repo.to_owned(),
            revision: "main".to_owned(),
            files: owned(self.files),
            ..EvaluationSet::default()
        }
    }
}

/// The set that the program knows by this name.
pub fn known(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

/// The sets that a recipe names, in order: first those that the program knows.
pub fn sets(recipe: &Recipe) -> Vec<EvaluationSet> {
    let Some(settings) = &recipe.decontamination else { return Vec::new() };
    let known = settings.sets.iter().filter_map(|name| known(name)).map(Known::set);
    known.chain(settings.set.iter().cloned()).collect()
}

/// The folder of evaluation sets, and what their names begin with where those of sources are beside them.
pub const EVALUATION: &str = "evaluation/";

/// A set as a source of rows, of a name that no source of a recipe has.
pub fn source(set: &EvaluationSet) -> Source {
    Source {
        name: format!("{EVALUATION}{}", set.name),
        path: set.path.clone(),
        repo: set.repo.clone(),
        revision: set.revision.clone(),
        files: set.files.clone(),
        samples: set.samples.clone(),
        format: set.format,
        field: set.field.clone(),
        separator: set.separator,
        columns: set.columns.clone(),
        encoding: set.encoding.clone(),
        documents: set.documents,
        ..Source::default()
    }
}

/// Runs of more words than this are no use: no item is so long.
const LONGEST: u32 = 64;

/// What is wrong with `[decontamination]`, beside where its files are.
pub fn check(settings: &Decontamination) -> Result<(), String> {
    let measure = settings.measure();
    if !(1..=LONGEST).contains(&measure.ngram) {
        return Err(format!("decontamination.ngram must be between 1 and {LONGEST}"));
    }
    if measure.share.is_some_and(|share| !(share > 0.0 && share <= 1.0)) {
        return Err("decontamination.share must be above 0 and at most 1".into());
    }
    for name in &settings.sets {
        if known(name).is_none() {
            let names = || KNOWN.iter().map(|known| known.name);
            let near = suggest::nearest(name, names());
            let all = names().collect::<Vec<_>>().join(", ");
            return Err(format!(
                "decontamination.sets names `{name}`, which the program does not know{near}; it knows {all}, and \
                 [[decontamination.set]] describes any other"
            ));
        }
    }
    for (key, names) in [("sets", &settings.sets), ("against", &settings.against)] {
        if let Some((_, twice)) = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
            return Err(format!("decontamination.{key} names `{twice}` twice"));
        }
    }
    for (i, set) in settings.set.iter().enumerate() {
        let name = &set.name;
        if settings.set[..i].iter().any(|other| other.name == *name) || settings.sets.contains(name) {
            return Err(format!("two evaluation sets are called `{name}`"));
        }
        if set.fields.is_empty() || set.fields.iter().any(|text| text.split('+').any(|part| part.trim().is_empty())) {
            return Err(format!(
                "evaluation set `{name}`: `fields` says what an item is made of, for instance [\"question\", \"question + choices\"]"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_set_is_one_that_could_be_written() {
        let sets: Vec<EvaluationSet> = KNOWN.iter().map(Known::set).collect();
        let settings = Decontamination { set: sets, ..Decontamination::default() };
        assert_eq!(check(&settings), Ok(()));
        assert_eq!(known("arc").map(|k| k.repo), Some("allenai/ai2_arc"));
    }
}
