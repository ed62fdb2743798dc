//! What a template says, as a tree.

use std::sync::Arc;

/// A part of a template, and the line it starts in.
#[derive(Debug)]
pub struct Statement {
    pub line: u32,
    pub node: Node,
}

#[derive(Debug)]
pub enum Node {
    Text(Arc<str>),
    Print(Expr),
    Set(Target, Expr),
    /// `{% set x %}...{% endset %}`, with the filters of `{% set x | trim %}`.
    SetBlock(Target, Vec<Filter>, Vec<Statement>),
    /// Conditions with their bodies, in order, and the body of `else`.
    If(Vec<(Expr, Vec<Statement>)>, Vec<Statement>),
    For(Arc<For>),
    Macro(Arc<Macro>),
    /// A call, and the block that it gets as `caller`.
    Call(Call, Arc<Macro>),
    Filter(Vec<Filter>, Vec<Statement>),
    With(Vec<(Target, Expr)>, Vec<Statement>),
    /// What the assistant writes. Its body is, as in transformers, that of a macro.
    Generation(Vec<Statement>),
    /// A block that nothing extends.
    Block(Vec<Statement>),
    Break,
    Continue,
}

#[derive(Debug)]
pub struct For {
    pub target: Target,
    pub over: Expr,
    pub test: Option<Expr>,
    pub body: Vec<Statement>,
    pub otherwise: Vec<Statement>,
    pub calls_itself: bool,
}

#[derive(Debug)]
pub struct Macro {
    /// None for the block of a call.
    pub name: Option<Arc<str>>,
    pub parameters: Vec<(Arc<str>, Option<Expr>)>,
    pub body: Vec<Statement>,
    /// Which of `caller`, `kwargs` and `varargs` the body reads: only then are they accepted.
    pub caller: bool,
    pub kwargs: bool,
    pub varargs: bool,
}

/// What is assigned to.
#[derive(Debug)]
pub enum Target {
    Name(Arc<str>),
    /// `ns.x`.
    Attribute(Arc<str>, Arc<str>),
    Tuple(Vec<Target>),
}

#[derive(Debug)]
pub enum Expr {
    Const(Const),
    Name(Arc<str>),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Attribute(Box<Expr>, Arc<str>),
    Item(Box<Expr>, Box<Expr>),
    /// Start, stop and step.
    Slice(Box<Expr>, Box<[Option<Expr>; 3]>),
    Call(Box<Call>),
    Filter(Box<Expr>, Box<Filter>),
    Test(Box<Expr>, Box<Filter>),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Positive(Box<Expr>),
    Binary(Operator, Box<Expr>, Box<Expr>),
    Concat(Vec<Expr>),
    Compare(Box<Expr>, Vec<(Comparison, Expr)>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    /// Condition, value, and the value of `else`.
    If(Box<(Expr, Expr, Option<Expr>)>),
}

#[derive(Debug)]
pub enum Const {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Arc<str>),
}

#[derive(Debug)]
pub struct Call {
    pub callee: Expr,
    pub arguments: Arguments,
}

#[derive(Debug, Default)]
pub struct Arguments {
    pub positional: Vec<Expr>,
    pub keyword: Vec<(Arc<str>, Expr)>,
    pub star: Option<Expr>,
    pub double_star: Option<Expr>,
}

/// A filter or a test, with its arguments.
#[derive(Debug)]
pub struct Filter {
    pub name: Arc<str>,
    pub arguments: Arguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Modulo,
    Power,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}
