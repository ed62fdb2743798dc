//! Tokens to a tree, by jinja2's grammar: blocks of the core, `break` and `continue` of loopcontrols, and transformers'
//! `generation`.

use std::sync::Arc;

use super::{
    failure::{Failure, Result},
    free::free,
    lexer::{Kind, Token, tokens},
    names::{is_filter, is_test},
    syntax::{Arguments, Call, Comparison, Const, Expr, Filter, For, Macro, Node, Operator, Statement, Target},
};

/// How deep expressions and blocks may lie in one another.
const DEPTH: usize = 100;

/// How many operators, filters, attributes and calls a tag may have: each may lie around the one before.
const LINKS: usize = 2000;

/// The statements of a normalised source.
pub fn parse(source: &str) -> Result<Vec<Statement>> {
    let mut parser = Parser { tokens: tokens(source)?, at: 0, depth: 0, links: 0, conditional: false, loops: 0 };
    let body = parser.body(&[])?;
    Ok(body)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// Of this tag, so far.
    links: usize,
    /// Within a condition an unknown filter is only an error where it is applied.
    conditional: bool,
    /// How many loops `break` could leave.
    loops: usize,
}

impl Parser {
    fn kind(&self) -> &Kind {
        &self.tokens[self.at].kind
    }

    fn line(&self) -> u32 {
        self.tokens[self.at].line
    }

    fn next(&mut self) -> Kind {
        let kind = self.kind().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        kind
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(Failure::new(message).at(self.line()))
    }

    fn unexpected<T>(&self, wanted: &str) -> Result<T> {
        self.fail(format!("expected {wanted}, found {}", self.kind()))
    }

    fn is_operator(&self, operator: &str) -> bool {
        matches!(self.kind(), Kind::Operator(o) if *o == operator)
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(self.kind(), Kind::Name(n) if **n == *name)
    }

    fn skip_operator(&mut self, operator: &str) -> bool {
        let found = self.is_operator(operator);
        if found {
            self.next();
        }
        found
    }

    fn skip_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, kind: &Kind) -> Result<()> {
        if self.kind() != kind {
            return self.unexpected(&kind.to_string());
        }
        self.next();
        Ok(())
    }

    fn operator(&mut self, operator: &'static str) -> Result<()> {
        self.expect(&Kind::Operator(operator))
    }

    fn name(&mut self) -> Result<Arc<str>> {
        match self.kind().clone() {
            Kind::Name(name) => {
                self.next();
                Ok(name)
            }
            _ => self.unexpected("a name"),
        }
    }

    /// What `read` reads, one level down.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.depth += 1;
        if self.depth > DEPTH {
            return self.fail(format!("the template is nested too deeply: more than {DEPTH} levels"));
        }
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Count an operator, filter, attribute or call.
    fn link(&mut self) -> Result<()> {
        self.links += 1;
        if self.links > LINKS {
            return self.fail(format!("an expression is too long: more than {LINKS} operators, filters and calls"));
        }
        Ok(())
    }

    /// What `read` reads, in a condition.
    fn within_condition<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let outer = std::mem::replace(&mut self.conditional, true);
        let result = read(self);
        self.conditional = outer;
        result
    }

    /// Statements up to a tag named in `ends`, whose name is the current token then.
    fn body(&mut self, ends: &[&str]) -> Result<Vec<Statement>> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            self.links = 0;
            match self.next() {
                Kind::Data(text) => body.push(Statement { line, node: Node::Text(text) }),
                Kind::VariableBegin => {
                    let expr = self.tuple()?;
                    self.expect(&Kind::VariableEnd)?;
                    body.push(Statement { line, node: Node::Print(expr) });
                }
                Kind::BlockBegin => {
                    if ends.iter().any(|end| self.is_name(end)) {
                        return Ok(body);
                    }
                    self.deeper(|p| p.statement(&mut body))?;
                    self.expect(&Kind::BlockEnd)?;
                }
                _ if ends.is_empty() => return Ok(body),
                _ => return self.fail(format!("a block is not closed: {} is missing", ends[ends.len() - 1])),
            }
        }
    }

    /// The body of a block whose tag ends here, with the name of the end.
    fn block(&mut self, ends: &[&str]) -> Result<Vec<Statement>> {
        self.skip_operator(":");
        self.expect(&Kind::BlockEnd)?;
        self.body(ends)
    }

    /// A block that is looked through even where it stands in a condition.
    fn inner_block(&mut self, end: &str) -> Result<Vec<Statement>> {
        let outer = std::mem::replace(&mut self.conditional, false);
        let body = self.block(&[end])?;
        self.next();
        self.conditional = outer;
        Ok(body)
    }

    /// A block whose body is a function of its own in jinja2: no loop outside can be left from it.
    fn function_block(&mut self, end: &str) -> Result<Vec<Statement>> {
        let loops = std::mem::replace(&mut self.loops, 0);
        let body = self.inner_block(end)?;
        self.loops = loops;
        Ok(body)
    }

    fn statement(&mut self, body: &mut Vec<Statement>) -> Result<()> {
        let line = self.line();
        let name = self.name()?;
        let node = match &*name {
            "set" => self.set()?,
            "if" => self.within_condition(Self::conditions)?,
            "for" => self.for_loop()?,
            "macro" => {
                let name = self.name()?;
                let parameters = self.parameters()?;
                let body = self.function_block("endmacro")?;
                Node::Macro(Arc::new(definition(Some(name), parameters, body)))
            }
            "call" => {
                let parameters = if self.is_operator("(") { self.parameters()? } else { Vec::new() };
                let Expr::Call(call) = self.expression()? else { return self.fail("expected a call") };
                let body = self.function_block("endcall")?;
                Node::Call(*call, Arc::new(definition(None, parameters, body)))
            }
            "filter" => {
                let mut filters = vec![self.filter()?];
                filters.extend(self.filters()?);
                Node::Filter(filters, self.inner_block("endfilter")?)
            }
            "with" => {
                let mut values = Vec::new();
                while self.kind() != &Kind::BlockEnd {
                    if !values.is_empty() {
                        self.operator(",")?;
                    }
                    let target = self.target()?;
                    self.operator("=")?;
                    values.push((target, self.expression()?));
                }
                Node::With(values, self.inner_block("endwith")?)
            }
            "generation" => Node::Generation(self.function_block("endgeneration")?),
            "block" => {
                let name = self.name()?;
                self.skip_name("scoped");
                let node = Node::Block(self.function_block("endblock")?);
                self.skip_name(&name);
                node
            }
            "print" => {
                let mut printed = Vec::new();
                while self.kind() != &Kind::BlockEnd {
                    if !printed.is_empty() {
                        self.operator(",")?;
                    }
                    printed.push(self.expression()?);
                }
                body.extend(printed.into_iter().map(|expr| Statement { line, node: Node::Print(expr) }));
                return Ok(());
            }
            "break" | "continue" if self.loops == 0 => return self.fail(format!("`{name}` outside a loop")),
            "break" => Node::Break,
            "continue" => Node::Continue,
            "include" | "import" | "from" | "extends" => {
                return self.fail(format!("`{name}`: a chat template has no other templates"));
            }
            "autoescape" => return self.fail("`autoescape` is not supported"),
            _ => return self.fail(format!("unknown tag `{name}`")),
        };
        body.push(Statement { line, node });
        Ok(())
    }

    fn set(&mut self) -> Result<Node> {
        let target = self.target()?;
        if self.skip_operator("=") {
            return Ok(Node::Set(target, self.tuple()?));
        }
        let filters = self.filters()?;
        Ok(Node::SetBlock(target, filters, self.inner_block("endset")?))
    }

    fn conditions(&mut self) -> Result<Node> {
        let mut branches = Vec::new();
        loop {
            let test = self.tuple_without_condition(&[])?;
            let body = self.block(&["elif", "else", "endif"])?;
            branches.push((test, body));
            if self.skip_name("elif") {
                continue;
            }
            let otherwise = if self.skip_name("else") { self.block(&["endif"])? } else { Vec::new() };
            self.next();
            return Ok(Node::If(branches, otherwise));
        }
    }

    fn for_loop(&mut self) -> Result<Node> {
        let target = self.target()?;
        if !self.skip_name("in") {
            return self.unexpected("in");
        }
        let over = self.tuple_without_condition(&["recursive"])?;
        let test = if self.skip_name("if") { Some(self.expression()?) } else { None };
        let calls_itself = self.skip_name("recursive");
        let outer = std::mem::replace(&mut self.conditional, false);
        self.loops += 1;
        let body = self.block(&["endfor", "else"])?;
        self.loops -= 1;
        let otherwise = if self.skip_name("else") { self.block(&["endfor"])? } else { Vec::new() };
        self.next();
        self.conditional = outer;
        Ok(Node::For(Arc::new(For { target, over, test, body, otherwise, calls_itself })))
    }

    fn parameters(&mut self) -> Result<Vec<(Arc<str>, Option<Expr>)>> {
        let mut parameters: Vec<(Arc<str>, Option<Expr>)> = Vec::new();
        self.operator("(")?;
        while !self.is_operator(")") {
            if !parameters.is_empty() {
                self.operator(",")?;
            }
            let name = self.name()?;
            let default = if self.skip_operator("=") { Some(self.expression()?) } else { None };
            if default.is_none() && parameters.last().is_some_and(|(_, default)| default.is_some()) {
                return self.fail("a parameter without a default follows one that has one");
            }
            parameters.push((name, default));
        }
        self.operator(")")?;
        Ok(parameters)
    }

    /// Names, or attributes of namespaces, with commas between.
    fn target(&mut self) -> Result<Target> {
        let first = self.single_target()?;
        if !self.is_operator(",") {
            return Ok(first);
        }
        let mut targets = vec![first];
        while self.skip_operator(",") {
            if self.is_name("in") || self.is_operator("=") || self.is_operator(")") {
                break;
            }
            targets.push(self.single_target()?);
        }
        Ok(Target::Tuple(targets))
    }

    fn single_target(&mut self) -> Result<Target> {
        if self.skip_operator("(") {
            let target = self.deeper(Self::target)?;
            self.operator(")")?;
            return Ok(target);
        }
        let name = self.name()?;
        if ["true", "false", "none", "True", "False", "None"].contains(&&*name) {
            return self.fail(format!("`{name}` cannot be assigned to"));
        }
        if self.skip_operator(".") {
            return Ok(Target::Attribute(name, self.name()?));
        }
        Ok(Target::Name(name))
    }

    /// An expression, or several with commas between.
    fn tuple(&mut self) -> Result<Expr> {
        self.items(&[], Self::expression)
    }

    fn tuple_without_condition(&mut self, ends: &[&str]) -> Result<Expr> {
        self.items(ends, |p| p.deeper(Self::or))
    }

    fn items(&mut self, ends: &[&str], read: impl Fn(&mut Self) -> Result<Expr>) -> Result<Expr> {
        let first = read(self)?;
        if !self.is_operator(",") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.skip_operator(",") {
            let over = matches!(self.kind(), Kind::VariableEnd | Kind::BlockEnd | Kind::Operator(")"));
            if over || ends.iter().any(|end| self.is_name(end)) {
                break;
            }
            items.push(read(self)?);
        }
        Ok(Expr::Tuple(items))
    }

    fn expression(&mut self) -> Result<Expr> {
        self.deeper(Self::conditional)
    }

    fn conditional(&mut self) -> Result<Expr> {
        let start = self.at;
        let mut value = self.or()?;
        if !self.is_name("if") {
            return Ok(value);
        }
        // What stands before the `if` belongs to the condition, which is seen only now.
        if !self.conditional {
            self.at = start;
            return self.within_condition(Self::conditional);
        }
        while self.skip_name("if") {
            self.link()?;
            let test = self.or()?;
            let otherwise = if self.skip_name("else") { Some(self.expression()?) } else { None };
            value = Expr::If(Box::new((test, value, otherwise)));
        }
        Ok(value)
    }

    fn or(&mut self) -> Result<Expr> {
        let mut left = self.and()?;
        while self.skip_name("or") {
            self.link()?;
            left = Expr::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expr> {
        let mut left = self.not()?;
        while self.skip_name("and") {
            self.link()?;
            left = Expr::And(Box::new(left), Box::new(self.not()?));
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Expr> {
        if self.skip_name("not") {
            return Ok(Expr::Not(Box::new(self.deeper(Self::not)?)));
        }
        let first = self.sum()?;
        let mut others = Vec::new();
        while let Some(comparison) = self.comparison() {
            others.push((comparison, self.sum()?));
        }
        Ok(if others.is_empty() { first } else { Expr::Compare(Box::new(first), others) })
    }

    fn comparison(&mut self) -> Option<Comparison> {
        let found = match self.kind() {
            Kind::Operator("==") => Comparison::Equal,
            Kind::Operator("!=") => Comparison::NotEqual,
            Kind::Operator("<") => Comparison::Less,
            Kind::Operator("<=") => Comparison::LessOrEqual,
            Kind::Operator(">") => Comparison::Greater,
            Kind::Operator(">=") => Comparison::GreaterOrEqual,
            Kind::Name(name) if **name == *"in" => Comparison::In,
            Kind::Name(name) if **name == *"not" => {
                let after = self.tokens.get(self.at + 1).map(|t| &t.kind);
                if !matches!(after, Some(Kind::Name(name)) if **name == *"in") {
                    return None;
                }
                self.next();
                Comparison::NotIn
            }
            _ => return None,
        };
        self.next();
        Some(found)
    }

    fn sum(&mut self) -> Result<Expr> {
        let mut left = self.concat()?;
        loop {
            let operator = match self.kind() {
                Kind::Operator("+") => Operator::Add,
                Kind::Operator("-") => Operator::Subtract,
                _ => return Ok(left),
            };
            self.next();
            self.link()?;
            left = Expr::Binary(operator, Box::new(left), Box::new(self.concat()?));
        }
    }

    fn concat(&mut self) -> Result<Expr> {
        let first = self.product()?;
        if !self.is_operator("~") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.skip_operator("~") {
            parts.push(self.product()?);
        }
        Ok(Expr::Concat(parts))
    }

    fn product(&mut self) -> Result<Expr> {
        let mut left = self.power()?;
        loop {
            let operator = match self.kind() {
                Kind::Operator("*") => Operator::Multiply,
                Kind::Operator("/") => Operator::Divide,
                Kind::Operator("//") => Operator::FloorDivide,
                Kind::Operator("%") => Operator::Modulo,
                _ => return Ok(left),
            };
            self.next();
            self.link()?;
            left = Expr::Binary(operator, Box::new(left), Box::new(self.power()?));
        }
    }

    fn power(&mut self) -> Result<Expr> {
        let mut left = self.unary()?;
        while self.skip_operator("**") {
            self.link()?;
            left = Expr::Binary(Operator::Power, Box::new(left), Box::new(self.unary()?));
        }
        Ok(left)
    }

    /// With the filters and tests that follow, which also apply to the sign before.
    fn unary(&mut self) -> Result<Expr> {
        let mut expr = self.signed()?;
        loop {
            if self.skip_operator("|") {
                let filter = self.filter()?;
                expr = Expr::Filter(Box::new(expr), Box::new(filter));
            } else if self.skip_name("is") {
                expr = self.test(expr)?;
            } else if self.is_operator("(") {
                expr = self.call(expr)?;
            } else {
                return Ok(expr);
            }
            self.link()?;
        }
    }

    fn signed(&mut self) -> Result<Expr> {
        let expr = if self.skip_operator("-") {
            Expr::Negative(Box::new(self.deeper(Self::signed)?))
        } else if self.skip_operator("+") {
            Expr::Positive(Box::new(self.deeper(Self::signed)?))
        } else {
            self.primary()?
        };
        self.postfix(expr)
    }

    fn primary(&mut self) -> Result<Expr> {
        let kind = self.kind().clone();
        let constant = match kind {
            Kind::Name(name) => {
                self.next();
                match &*name {
                    "true" | "True" => Const::Bool(true),
                    "false" | "False" => Const::Bool(false),
                    "none" | "None" => Const::None,
                    _ => return Ok(Expr::Name(name)),
                }
            }
            Kind::Str(first) => {
                self.next();
                if !matches!(self.kind(), Kind::Str(_)) {
                    return Ok(Expr::Const(Const::Str(first)));
                }
                let mut text = first.to_string();
                while let Kind::Str(more) = self.kind().clone() {
                    self.next();
                    text.push_str(&more);
                }
                Const::Str(text.into())
            }
            Kind::Int(value) => {
                self.next();
                Const::Int(value)
            }
            Kind::Float(value) => {
                self.next();
                Const::Float(value)
            }
            Kind::Operator("(") => {
                self.next();
                let expr = if self.is_operator(")") { Expr::Tuple(Vec::new()) } else { self.tuple()? };
                self.operator(")")?;
                return Ok(expr);
            }
            Kind::Operator("[") => {
                self.next();
                return Ok(Expr::List(self.separated("]", Self::expression)?));
            }
            Kind::Operator("{") => {
                self.next();
                let entry = |p: &mut Self| {
                    let key = p.expression()?;
                    p.operator(":")?;
                    Ok((key, p.expression()?))
                };
                return Ok(Expr::Dict(self.separated("}", entry)?));
            }
            _ => return self.unexpected("an expression"),
        };
        Ok(Expr::Const(constant))
    }

    /// Items with commas between, up to `end`.
    fn separated<T>(&mut self, end: &'static str, item: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = Vec::new();
        while !self.is_operator(end) {
            if !items.is_empty() {
                self.operator(",")?;
                if self.is_operator(end) {
                    break;
                }
            }
            items.push(item(self)?);
        }
        self.operator(end)?;
        Ok(items)
    }

    fn postfix(&mut self, mut expr: Expr) -> Result<Expr> {
        loop {
            if self.skip_operator(".") {
                expr = match self.next() {
                    Kind::Name(name) => Expr::Attribute(Box::new(expr), name),
                    Kind::Int(index) => Expr::Item(Box::new(expr), Box::new(Expr::Const(Const::Int(index)))),
                    _ => return self.unexpected("a name or a number"),
                };
            } else if self.skip_operator("[") {
                expr = self.subscript(expr)?;
            } else if self.is_operator("(") {
                expr = self.call(expr)?;
            } else {
                return Ok(expr);
            }
            self.link()?;
        }
    }

    fn subscript(&mut self, of: Expr) -> Result<Expr> {
        let mut bounds = [None, None, None];
        if !self.is_operator(":") {
            let first = self.expression()?;
            if self.is_operator(",") {
                let mut items = vec![first];
                while self.skip_operator(",") {
                    items.push(self.expression()?);
                }
                self.operator("]")?;
                return Ok(Expr::Item(Box::new(of), Box::new(Expr::Tuple(items))));
            }
            if self.skip_operator("]") {
                return Ok(Expr::Item(Box::new(of), Box::new(first)));
            }
            bounds[0] = Some(first);
        }
        for bound in &mut bounds[1..] {
            if self.skip_operator(":") && !self.is_operator(":") && !self.is_operator("]") {
                *bound = Some(self.expression()?);
            }
        }
        self.operator("]")?;
        Ok(Expr::Slice(Box::new(of), Box::new(bounds)))
    }

    fn call(&mut self, callee: Expr) -> Result<Expr> {
        let arguments = self.arguments()?;
        Ok(Expr::Call(Box::new(Call { callee, arguments })))
    }

    fn arguments(&mut self) -> Result<Arguments> {
        self.operator("(")?;
        let mut arguments = Arguments::default();
        let mut first = true;
        while !self.is_operator(")") {
            if !std::mem::take(&mut first) {
                self.operator(",")?;
                if self.is_operator(")") {
                    break;
                }
            }
            let named = matches!(self.tokens.get(self.at + 1).map(|t| &t.kind), Some(Kind::Operator("=")));
            let Arguments { positional, keyword, star, double_star } = &mut arguments;
            if double_star.is_some() {
                return self.fail("an argument follows **");
            }
            if self.skip_operator("*") {
                if star.is_some() {
                    return self.fail("a call has two *");
                }
                *star = Some(self.expression()?);
            } else if self.skip_operator("**") {
                *double_star = Some(self.expression()?);
            } else if let (Kind::Name(name), true) = (self.kind().clone(), named) {
                self.next();
                self.next();
                self.link()?;
                if keyword.iter().any(|(other, _)| *other == name) {
                    return self.fail(format!("a call has two arguments `{name}`"));
                }
                keyword.push((name, self.expression()?));
            } else if star.is_some() || !keyword.is_empty() {
                return self.fail("an argument without a name follows one with a name");
            } else {
                positional.push(self.expression()?);
            }
        }
        self.operator(")")?;
        Ok(arguments)
    }

    fn filters(&mut self) -> Result<Vec<Filter>> {
        let mut filters = Vec::new();
        while self.skip_operator("|") {
            filters.push(self.filter()?);
        }
        Ok(filters)
    }

    /// A filter after its bar.
    fn filter(&mut self) -> Result<Filter> {
        let name = self.dotted()?;
        if !self.conditional && !is_filter(&name) {
            return self.fail(format!("no filter is called `{name}`"));
        }
        let arguments = if self.is_operator("(") { self.arguments()? } else { Arguments::default() };
        Ok(Filter { name, arguments })
    }

    /// A test after its `is`.
    fn test(&mut self, of: Expr) -> Result<Expr> {
        let negated = self.skip_name("not");
        let name = self.dotted()?;
        if !self.conditional && !is_test(&name) {
            return self.fail(format!("no test is called `{name}`"));
        }
        let takes = match self.kind() {
            Kind::Name(next) => !["else", "or", "and"].contains(&&**next),
            Kind::Str(_) | Kind::Int(_) | Kind::Float(_) | Kind::Operator("[" | "{") => true,
            _ => false,
        };
        let arguments = if self.is_operator("(") {
            self.arguments()?
        } else if self.is_name("is") {
            return self.fail("tests cannot be chained with `is`");
        } else if takes {
            let argument = self.primary()?;
            let argument = self.postfix(argument)?;
            Arguments { positional: vec![argument], ..Arguments::default() }
        } else {
            Arguments::default()
        };
        let test = Expr::Test(Box::new(of), Box::new(Filter { name, arguments }));
        Ok(if negated { Expr::Not(Box::new(test)) } else { test })
    }

    fn dotted(&mut self) -> Result<Arc<str>> {
        let first = self.name()?;
        if !self.is_operator(".") {
            return Ok(first);
        }
        let mut name = first.to_string();
        while self.skip_operator(".") {
            name.push('.');
            name.push_str(&self.name()?);
        }
        Ok(name.into())
    }
}

fn definition(name: Option<Arc<str>>, parameters: Vec<(Arc<str>, Option<Expr>)>, body: Vec<Statement>) -> Macro {
    let free = free(&body);
    let [caller, kwargs, varargs] = ["caller", "kwargs", "varargs"].map(|name| free.iter().any(|f| f.name == name));
    drop(free);
    Macro { name, parameters, body, caller, kwargs, varargs }
}
