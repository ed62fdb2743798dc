//! What is asked of each row: prompts by templates, examples before them, answers to choose from.

use regex::Regex;
use serde_json::{Map, Value};
use setaccio_base::row::Message;
use setaccio_templates::ColumnTemplate;

use crate::{
    error::{Error, Result},
    recipe::{Choice, Choices, Column, Edit, Generate, Groups, Task, TaskFile, expression},
    rows::{DataFile, DataRow, DataRows},
    shots::Sampler,
    whitespace,
};

/// What is asked of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Number of the row's file among those of the task.
    pub file: usize,
    /// The row's number in it.
    pub row: u64,
    /// What is asked.
    pub asked: Asked,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// The likelihood of each of some continuations, each of its context.
    Choice {
        /// What stands before each.
        contexts: Vec<Prompt>,
        /// What is scored, with the space before it.
        continuations: Vec<String>,
        /// The answers, as they are counted in characters and bytes.
        choices: Vec<String>,
        /// The right one; none where the row's is none of them.
        right: Option<usize>,
        /// Whether each is true, if that is said.
        truths: Vec<bool>,
        /// Whether each term of the task's groups is in the row.
        terms: Vec<bool>,
    },
    /// A text that goes on.
    Generate {
        /// What stands before it.
        prompt: Prompt,
        /// What should be written.
        target: String,
    },
    /// The likelihood of a text.
    Perplexity {
        /// The text.
        text: String,
    },
}

/// What a model is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// A text.
    Text(String),
    /// Turns, for the model's chat template.
    Chat(Vec<(&'static str, String)>),
}

impl Prompt {
    /// The turns as messages.
    pub fn messages(turns: &[(&'static str, String)]) -> Vec<Message> {
        turns.iter().map(|(role, text)| Message::new(*role, text)).collect()
    }

    /// As results show it, before any chat template.
    pub fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Chat(turns) => {
                turns.iter().map(|(role, text)| format!("<{role}>\n{text}\n")).collect::<Vec<_>>().concat()
            }
        }
    }
}

/// What stands between a question and its answer.
const BETWEEN: &str = " ";
/// What stands behind an example.
const BEHIND: &str = "\n\n";

/// The questions of a task, with so many examples each, for models that are given turns or texts. Examples are of a pool of rows, of which
/// it is said whether they are the task's own.
///
/// # Errors
/// A template fails at a row, which is named, or there are too few examples.
pub fn make(
    file: &TaskFile,
    (rows, (pool, own)): (&DataRows, (&DataRows, bool)),
    (shots, chat): (usize, bool),
) -> Result<Vec<Question>> {
    let task = &file.task;
    let name = file.place.name();
    let templates = Templates::new(task).map_err(|e| Error::task(&name, e))?;
    let mut sampler =
        task.shots.as_ref().filter(|_| shots > 0).map(|table| Sampler::new(table, shots, (&pool.rows, own)));
    if sampler.is_none() && shots > 0 {
        return Err(Error::task(&name, "has no [shots]: it is asked without examples"));
    }
    let mut all = Vec::with_capacity(rows.rows.len());
    for row in &rows.rows {
        let of_row = |message: String| in_row(&rows.files, row, message);
        let doc = templates.doc(row).map_err(of_row)?;
        let mut turns = Vec::new();
        for example in sampler.as_mut().map_or(Ok(Vec::new()), |sampler| sampler.next(row)).map_err(of_row)? {
            let of_example = |message| in_row(&pool.files, example, message);
            let doc = templates.doc(example).map_err(of_example)?;
            turns.push(templates.example(&doc).map_err(of_example)?);
        }
        let asked = templates.asked(&doc, &turns, chat).map_err(of_row)?;
        all.push(Question { file: row.file, row: row.row, asked });
    }
    Ok(all)
}

fn in_row(files: &[DataFile], row: &DataRow, message: String) -> Error {
    Error::Row { file: files[row.file].file.clone(), row: row.row, message }
}

/// The templates of a task, read.
struct Templates {
    columns: Vec<ColumnMaker>,
    description: TextTemplate,
    kind: Kind,
}

enum Kind {
    Choice {
        prompt: TextTemplate,
        choices: Answers,
        answer: Option<TextTemplate>,
        truths: Option<TextTemplate>,
        groups: Option<Terms>,
    },
    Gap {
        prompts: TextTemplate,
        continuation: TextTemplate,
        answer: TextTemplate,
    },
    Generate {
        prompt: TextTemplate,
        target: TextTemplate,
    },
    Perplexity(TextTemplate),
}

/// Terms that are looked for, as whole words, in what a template gives.
struct Terms {
    text: TextTemplate,
    terms: Vec<Regex>,
}

enum Answers {
    Fixed(Vec<String>),
    Template(TextTemplate),
}

struct ColumnMaker {
    name: String,
    made: Made,
    edits: Vec<Change>,
}

enum Made {
    There,
    Text(TextTemplate),
    Json(TextTemplate),
}

enum Change {
    Strip,
    Replace(String, String),
    Regex(Regex, String),
}

/// A row with the columns that the task makes.
type Doc = Map<String, Value>;

/// A question and its answer.
struct Turn {
    question: String,
    answer: String,
}

/// A template, whose last line break is one of the text's: lm-evaluation-harness keeps it, and Jinja does not.
struct TextTemplate {
    template: ColumnTemplate,
    line_break: bool,
}

fn template(text: &str) -> Result<TextTemplate, String> {
    let template = ColumnTemplate::new(text).map_err(|e| e.to_string())?;
    Ok(TextTemplate { template, line_break: text.ends_with('\n') })
}

impl TextTemplate {
    fn render(&self, doc: &Doc) -> Result<String, String> {
        let mut text = self.template.render(doc)?;
        if self.line_break {
            text.push('\n');
        }
        Ok(text)
    }
}

impl Terms {
    fn new(groups: &Groups) -> Result<Self, String> {
        let terms = groups.terms.iter().map(|term| expression(&format!(r"(?i)\b{}\b", regex::escape(term))));
        Ok(Self { text: template(&groups.text)?, terms: terms.collect::<Result<_, _>>()? })
    }

    /// Whether each is in a row.
    fn found(&self, doc: &Doc) -> Result<Vec<bool>, String> {
        let text = render("choice.groups.text", &self.text, doc)?;
        Ok(self.terms.iter().map(|term| term.is_match(&text)).collect())
    }
}

impl Templates {
    fn new(task: &Task) -> Result<Self, String> {
        let columns = task.column.iter().map(ColumnMaker::new).collect::<Result<_, _>>()?;
        let given = |text: &String| if text.is_empty() { Ok(None) } else { template(text).map(Some) };
        let kind = match (&task.choice, &task.generate, &task.perplexity) {
            (Some(choice @ Choice { prompts, .. }), ..) if !prompts.is_empty() => Kind::Gap {
                prompts: template(prompts)?,
                continuation: template(&choice.continuation)?,
                answer: template(&choice.answer)?,
            },
            (Some(choice), ..) => Kind::Choice {
                prompt: template(&choice.prompt)?,
                choices: match &choice.choices {
                    Choices::Fixed(list) => Answers::Fixed(list.clone()),
                    Choices::Template(text) => Answers::Template(template(text)?),
                },
                answer: given(&choice.answer)?,
                truths: given(&choice.truths)?,
                groups: choice.groups.as_ref().map(Terms::new).transpose()?,
            },
            (_, Some(Generate { prompt, target, .. }), _) => {
                Kind::Generate { prompt: template(prompt)?, target: template(target)? }
            }
            (.., Some(perplexity)) => Kind::Perplexity(template(&perplexity.text)?),
            _ => return Err("asks nothing".into()),
        };
        Ok(Self { columns, description: template(&task.description)?, kind })
    }

    fn doc(&self, row: &DataRow) -> Result<Doc, String> {
        let mut doc = row.columns.clone();
        for column in &self.columns {
            column.make(&mut doc).map_err(|e| format!("column `{}` {e}", column.name))?;
        }
        Ok(doc)
    }

    fn example(&self, doc: &Doc) -> Result<Turn, String> {
        let rendered = |what: &str, template: &TextTemplate| render(what, template, doc);
        let of = |list: Vec<String>, at: Option<usize>| {
            at.and_then(|at| list.into_iter().nth(at))
                .ok_or("is an example, and its answer is none of its choices".to_owned())
        };
        match &self.kind {
            Kind::Choice { prompt, choices, answer: Some(answer), .. } => {
                let choices = choices.of(doc)?;
                let right = right(&rendered("choice.answer", answer)?, &choices);
                Ok(Turn { question: rendered("choice.prompt", prompt)?, answer: of(choices, right)? })
            }
            Kind::Choice { .. } => Err("is an example, and choice.answer does not say which answer is right".into()),
            Kind::Gap { prompts, continuation, answer } => {
                let prompts = texts("choice.prompts", &rendered("choice.prompts", prompts)?)?;
                let right = right(&rendered("choice.answer", answer)?, &prompts);
                Ok(Turn { question: of(prompts, right)?, answer: rendered("choice.continuation", continuation)? })
            }
            Kind::Generate { prompt, target } => Ok(Turn {
                question: rendered("generate.prompt", prompt)?,
                answer: rendered("generate.target", target)?,
            }),
            Kind::Perplexity(_) => Err("a text has no examples".into()),
        }
    }

    fn asked(&self, doc: &Doc, examples: &[Turn], chat: bool) -> Result<Asked, String> {
        let rendered = |what: &str, template: &TextTemplate| render(what, template, doc);
        let description = rendered("description", &self.description)?;
        let whole = |question: &str| whole(&description, examples, question, chat);
        // The answer of a turn begins where the template says.
        let between = if chat { "" } else { BETWEEN };
        let asks = |what: &str, template: &TextTemplate| {
            let text = rendered(what, template)?;
            if text.trim().is_empty() { Err(format!("has no question: {what} makes nothing of it")) } else { Ok(text) }
        };
        match &self.kind {
            Kind::Choice { prompt, choices, answer, truths, groups } => {
                let choices = choices.of(doc)?;
                several(&choices)?;
                let context = whole(&asks("choice.prompt", prompt)?);
                let said = answer.as_ref().map(|answer| rendered("choice.answer", answer)).transpose()?;
                let truths = match truths {
                    Some(template) => truths_of(&rendered("choice.truths", template)?, choices.len())?,
                    None => Vec::new(),
                };
                let terms = groups.as_ref().map_or(Ok(Vec::new()), |groups| groups.found(doc))?;
                Ok(Asked::Choice {
                    terms,
                    contexts: vec![context; choices.len()],
                    continuations: choices.iter().map(|choice| format!("{between}{choice}")).collect(),
                    right: said.and_then(|said| right(&said, &choices)),
                    choices,
                    truths,
                })
            }
            Kind::Gap { prompts, continuation, answer } => {
                let prompts = texts("choice.prompts", &rendered("choice.prompts", prompts)?)?;
                several(&prompts)?;
                let continuation = format!("{between}{}", rendered("choice.continuation", continuation)?);
                Ok(Asked::Choice {
                    contexts: prompts.iter().map(|prompt| whole(prompt)).collect(),
                    continuations: vec![continuation; prompts.len()],
                    right: right(&rendered("choice.answer", answer)?, &prompts),
                    choices: prompts,
                    truths: Vec::new(),
                    terms: Vec::new(),
                })
            }
            Kind::Generate { prompt, target } => Ok(Asked::Generate {
                prompt: whole(&asks("generate.prompt", prompt)?),
                target: rendered("generate.target", target)?,
            }),
            Kind::Perplexity(text) => {
                let text = rendered("perplexity.text", text)?;
                if text.is_empty() { Err("has no text".into()) } else { Ok(Asked::Perplexity { text }) }
            }
        }
    }
}

/// Refuses answers of which there is nothing to choose.
fn several(choices: &[String]) -> Result<(), String> {
    match choices {
        [] => Err("has no answers to choose from".into()),
        [_] => Err("has one answer, and choosing takes two at least".into()),
        _ if choices.iter().any(String::is_empty) => Err("has an answer without text".into()),
        _ => Ok(()),
    }
}

fn render(what: &str, template: &TextTemplate, doc: &Doc) -> Result<String, String> {
    template.render(doc).map_err(|e| format!("{what} {e}"))
}

/// A question with what stands before it.
fn whole(description: &str, examples: &[Turn], question: &str, chat: bool) -> Prompt {
    if chat {
        let mut turns = Vec::new();
        if !description.is_empty() {
            turns.push(("system", description.to_owned()));
        }
        for example in examples {
            turns.extend([("user", example.question.clone()), ("assistant", example.answer.clone())]);
        }
        turns.push(("user", question.to_owned()));
        return Prompt::Chat(turns);
    }
    let mut text = description.to_owned();
    for Turn { question, answer } in examples {
        text.extend([question.as_str(), BETWEEN, answer, BEHIND]);
    }
    Prompt::Text(text + question)
}

/// The number of the right answer, which is said by its number or by its text.
fn right(said: &str, choices: &[String]) -> Option<usize> {
    if !said.is_empty() && said.bytes().all(|b| b.is_ascii_digit()) {
        return said.parse().ok().filter(|at| *at < choices.len());
    }
    choices.iter().position(|choice| choice == said)
}

fn truths_of(said: &str, choices: usize) -> Result<Vec<bool>, String> {
    let wrong = |why: String| format!("choice.truths gives {said:?}, {why}");
    let list: Vec<u8> = serde_json::from_str(said).map_err(|_| wrong("and not a list of 1 and 0".into()))?;
    if list.len() != choices {
        return Err(wrong(format!("and there are {choices} answers")));
    }
    Ok(list.into_iter().map(|truth| truth == 1).collect())
}

fn texts(what: &str, said: &str) -> Result<Vec<String>, String> {
    serde_json::from_str(said)
        .map_err(|_| format!("{what} gives {said:?}, and not a list of texts as JSON: end it with `| tojson`"))
}

impl Answers {
    fn of(&self, doc: &Doc) -> Result<Vec<String>, String> {
        match self {
            Self::Fixed(list) => Ok(list.clone()),
            Self::Template(template) => texts("choice.choices", &render("choice.choices", template, doc)?),
        }
    }
}

impl ColumnMaker {
    fn new(column: &Column) -> Result<Self, String> {
        let made = match (&column.text, &column.json) {
            (Some(text), _) => Made::Text(template(text)?),
            (None, Some(json)) => Made::Json(template(json)?),
            (None, None) => Made::There,
        };
        let change = |edit: &Edit| {
            Ok::<_, String>(match edit {
                Edit::Strip { strip: true } => Some(Change::Strip),
                Edit::Strip { strip: false } => None,
                Edit::Replace { find, put } => Some(Change::Replace(find.clone(), put.clone())),
                Edit::Regex { regex, put } => Some(Change::Regex(expression(regex)?, put.clone())),
            })
        };
        let edits: Vec<Option<Change>> = column.edits.iter().map(change).collect::<Result<_, _>>()?;
        Ok(Self { name: column.name.clone(), made, edits: edits.into_iter().flatten().collect() })
    }

    fn make(&self, doc: &mut Doc) -> Result<(), String> {
        let value = match &self.made {
            Made::There => doc.get(&self.name).cloned().ok_or("is not in the row")?,
            Made::Text(template) => Value::String(template.render(doc)?),
            Made::Json(template) => {
                let text = template.render(doc)?;
                serde_json::from_str(&text)
                    .map_err(|_| format!("gives {text:?}, and not JSON: end it with `| tojson`"))?
            }
        };
        let edited = self.edited(value)?;
        doc.insert(self.name.clone(), edited);
        Ok(())
    }

    fn edited(&self, value: Value) -> Result<Value, String> {
        match value {
            value if self.edits.is_empty() => Ok(value),
            Value::String(text) => Ok(Value::String(self.edits.iter().fold(text, |text, change| change.apply(&text)))),
            Value::Array(list) => list.into_iter().map(|value| self.edited(value)).collect(),
            Value::Null => Ok(Value::Null),
            other => Err(format!("holds {other}, and edits are of texts")),
        }
    }
}

impl Change {
    fn apply(&self, text: &str) -> String {
        match self {
            Self::Strip => whitespace::strip(text).to_owned(),
            Self::Replace(find, put) => text.replace(find.as_str(), put),
            Self::Regex(regex, put) => regex.replace_all(text, regex::NoExpand(put)).into_owned(),
        }
    }
}
