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

/// Whether statements read a variable of this name that no loop, macro or `with` around it binds. A `set` does not
/// bind: before it, the name is that of the outside.
pub fn reads(statements: &[Statement], name: &str) -> bool {
    statements.iter().any(|s| node_reads(&s.node, name))
}

fn node_reads(node: &Node, name: &str) -> bool {
    match node {
        Node::Text(_) | Node::Break | Node::Continue => false,
        Node::Print(expr) => expr_reads(expr, name),
        Node::Set(target, expr) => target_reads(target, name) || expr_reads(expr, name),
        Node::SetBlock(target, filters, body) => {
            target_reads(target, name) || filters.iter().any(|f| filter_reads(f, name)) || reads(body, name)
        }
        Node::If(branches, otherwise) => {
            branches.iter().any(|(test, body)| expr_reads(test, name) || reads(body, name)) || reads(otherwise, name)
        }
        Node::For(node) => {
            let inside = !binds(&node.target, name)
                && (node.test.as_ref().is_some_and(|t| expr_reads(t, name)) || reads(&node.body, name));
            inside || expr_reads(&node.over, name) || reads(&node.otherwise, name)
        }
        Node::Macro(node) => macro_reads(node, name),
        Node::Call(call, block) => call_reads(call, name) || macro_reads(block, name),
        Node::Filter(filters, body) => filters.iter().any(|f| filter_reads(f, name)) || reads(body, name),
        Node::With(values, body) => {
            let bound = values.iter().any(|(target, _)| binds(target, name));
            values.iter().any(|(_, value)| expr_reads(value, name)) || (!bound && reads(body, name))
        }
        Node::Generation(body) | Node::Block(body) => reads(body, name),
    }
}

fn macro_reads(node: &Macro, name: &str) -> bool {
    let defaults = node.parameters.iter().filter_map(|(_, default)| default.as_ref());
    let bound = node.parameters.iter().any(|(parameter, _)| **parameter == *name);
    defaults.into_iter().any(|d| expr_reads(d, name)) || (!bound && reads(&node.body, name))
}

fn binds(target: &Target, name: &str) -> bool {
    match target {
        Target::Name(bound) => **bound == *name,
        Target::Attribute(..) => false,
        Target::Tuple(targets) => targets.iter().any(|t| binds(t, name)),
    }
}

fn target_reads(target: &Target, name: &str) -> bool {
    match target {
        Target::Name(_) => false,
        Target::Attribute(namespace, _) => **namespace == *name,
        Target::Tuple(targets) => targets.iter().any(|t| target_reads(t, name)),
    }
}

fn filter_reads(filter: &Filter, name: &str) -> bool {
    arguments_read(&filter.arguments, name)
}

fn call_reads(call: &Call, name: &str) -> bool {
    expr_reads(&call.callee, name) || arguments_read(&call.arguments, name)
}

fn arguments_read(arguments: &Arguments, name: &str) -> bool {
    let stars = [&arguments.star, &arguments.double_star];
    arguments.positional.iter().any(|e| expr_reads(e, name))
        || arguments.keyword.iter().any(|(_, e)| expr_reads(e, name))
        || stars.into_iter().flatten().any(|e| expr_reads(e, name))
}

fn expr_reads(expr: &Expr, name: &str) -> bool {
    let read = |e: &Expr| expr_reads(e, name);
    match expr {
        Expr::Const(_) => false,
        Expr::Name(read) => **read == *name,
        Expr::List(items) | Expr::Tuple(items) | Expr::Concat(items) => items.iter().any(read),
        Expr::Dict(entries) => entries.iter().any(|(k, v)| read(k) || read(v)),
        Expr::Attribute(of, _) | Expr::Not(of) | Expr::Negative(of) | Expr::Positive(of) => read(of),
        Expr::Item(a, b) | Expr::Binary(_, a, b) | Expr::And(a, b) | Expr::Or(a, b) => read(a) || read(b),
        Expr::Slice(of, bounds) => read(of) || bounds.iter().flatten().any(read),
        Expr::Call(call) => call_reads(call, name),
        Expr::Filter(of, filter) | Expr::Test(of, filter) => read(of) || filter_reads(filter, name),
        Expr::Compare(first, others) => read(first) || others.iter().any(|(_, e)| read(e)),
        Expr::If(parts) => read(&parts.0) || read(&parts.1) || parts.2.as_ref().is_some_and(read),
    }
}
