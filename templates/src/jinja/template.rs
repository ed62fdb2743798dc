//! A template that is ready to be rendered.

use super::{
    clock::Clock,
    failure::Result,
    free::{Free, free},
    interpreter::{Interpreter, Marks},
    lexer::normalize,
    limits,
    parser::parse,
    syntax::{Node, Statement},
    value::Value,
};

/// A template, read.
#[derive(Debug)]
pub struct Template {
    body: Vec<Statement>,
    generates: bool,
}

impl Template {
    /// From its source.
    ///
    /// # Errors
    /// It is no template.
    pub fn new(source: &str) -> Result<Self> {
        limits::source(source)?;
        let body = parse(&normalize(source))?;
        let generates = generates(&body);
        Ok(Self { body, generates })
    }

    /// Whether it has `{% generation %}` blocks.
    pub fn generates(&self) -> bool {
        self.generates
    }

    /// Whether it reads the variable or function of this name.
    pub fn reads(&self, name: &str) -> bool {
        self.free().any(|free| free.name == name)
    }

    /// What it reads from outside, in its order, each time that it does.
    pub fn free(&self) -> impl Iterator<Item = Free<'_>> {
        free(&self.body).into_iter()
    }

    /// The text for these variables, at this moment.
    ///
    /// # Errors
    /// The template fails, or does not come to an end.
    pub fn render(&self, variables: Vec<(&str, Value)>, clock: Option<&Clock>, marks: Marks) -> Result<String> {
        Interpreter::new(clock, marks).render(&self.body, variables)
    }

    /// The text for these variables, where what is undefined is an error unless the template asks whether it is there, and so
    /// is a place before the first, which is where a negative label points.
    ///
    /// # Errors
    /// The template fails, does not come to an end, or uses what is not there.
    pub fn render_strictly(&self, variables: Vec<(&str, Value)>) -> Result<String> {
        Interpreter::strict().render(&self.body, variables)
    }
}

fn generates(body: &[Statement]) -> bool {
    body.iter().any(|statement| match &statement.node {
        Node::Generation(_) => true,
        Node::If(branches, otherwise) => branches.iter().any(|(_, body)| generates(body)) || generates(otherwise),
        Node::For(node) => generates(&node.body) || generates(&node.otherwise),
        Node::Macro(node) | Node::Call(_, node) => generates(&node.body),
        Node::SetBlock(_, _, body) | Node::Filter(_, body) | Node::With(_, body) | Node::Block(body) => generates(body),
        _ => false,
    })
}
