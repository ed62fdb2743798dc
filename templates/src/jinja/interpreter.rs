//! Runs a template.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use super::{
    arguments::Arguments,
    attributes,
    callables::{Loop, MacroValue},
    clock::Clock,
    failure::{Failure, Result},
    filters, functions,
    generation::MARKS,
    limits::{self, Rendering, deeper, fits, spend},
    methods,
    objects::{Cycler, Joiner, Namespace},
    operators,
    scope::Scope,
    slices, str_methods,
    syntax::{self, Call, Comparison, Const, Expr, Filter, For, Node, Statement, Target},
    tests,
    text::write_str,
    value::{Class, Dict, Html, Text, Value, equal},
};

/// Whether the output of `{% generation %}` blocks is marked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    Off,
    On,
}

/// How a body ended.
#[derive(PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// Steps of making the block of a loop's item.
const ITERATION: usize = 2;

pub struct Interpreter<'a> {
    clock: Option<&'a Clock>,
    marks: Marks,
    /// Whether to print what is undefined is an error.
    strict: bool,
    /// Blocks that hold a macro, which holds them: they are cleared at the end.
    closures: RefCell<Vec<Rc<Scope>>>,
}

impl<'a> Interpreter<'a> {
    pub fn new(clock: Option<&'a Clock>, marks: Marks) -> Self {
        Self { clock, marks, strict: false, closures: RefCell::default() }
    }

    /// One that does not use what is undefined, as with jinja2's StrictUndefined; but for `default` and `is defined`, already when it is read.
    pub fn strict() -> Self {
        Self { strict: true, ..Self::new(None, Marks::Off) }
    }

    /// The text of a template.
    pub fn render(&self, body: &[Statement], variables: Vec<(&str, Value)>) -> Result<String> {
        let items = |value: &Value| if let Value::List(items) = value { items.len() } else { 0 };
        let _bounds = Rendering::begin(variables.iter().map(|(_, value)| items(value)).max().unwrap_or(0));
        let given = Rc::new(Scope::default());
        for (name, value) in variables {
            given.set(&name.into(), value);
        }
        let scope = Scope::within(&given);
        let mut out = String::new();
        let result = self.body(body, &scope, &mut out);
        for scope in self.closures.take() {
            scope.clear();
        }
        // What could not fail may have used up the steps.
        result.and_then(|_| spend(0)).map(|()| out)
    }

    fn body(&self, body: &[Statement], scope: &Rc<Scope>, out: &mut String) -> Result<Flow> {
        for statement in body {
            let run = || self.statement(&statement.node, scope, out);
            let flow = deeper(run).map_err(|failure| failure.at(statement.line))?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn statement(&self, node: &Node, scope: &Rc<Scope>, out: &mut String) -> Result<Flow> {
        match node {
            Node::Text(text) => write(&Value::Str(Text { text: text.clone(), html: Html::Plain }), out)?,
            Node::Print(expr) => write(&self.eval(expr, scope)?, out)?,
            Node::Set(target, expr) => {
                let value = self.eval(expr, scope)?;
                assign(target, value, scope)?;
            }
            Node::If(branches, otherwise) => {
                for (test, body) in branches {
                    if self.eval(test, scope)?.truth() {
                        return self.body(body, scope, out);
                    }
                }
                return self.body(otherwise, scope, out);
            }
            Node::For(node) => {
                let over = self.eval(&node.over, scope)?;
                return self.for_loop(node, &over, scope, 0, out);
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
            _ => return self.block(node, scope, out),
        }
        Ok(Flow::Next)
    }

    /// The rarer statements.
    fn block(&self, node: &Node, scope: &Rc<Scope>, out: &mut String) -> Result<Flow> {
        match node {
            Node::SetBlock(target, filters, body) => {
                let mut text = String::new();
                let flow = self.body(body, &Scope::within(scope), &mut text)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                let value = self.filtered(Value::from(text), filters, scope)?;
                assign(target, value, scope)?;
            }
            Node::Filter(filters, body) => {
                let inner = Scope::within(scope);
                let mut text = String::new();
                let flow = self.body(body, &inner, &mut text)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                write(&self.filtered(Value::from(text), filters, &inner)?, out)?;
            }
            Node::Macro(node) => {
                self.closures.borrow_mut().push(scope.clone());
                let value = Value::object(MacroValue { node: node.clone(), scope: scope.clone() });
                if let Some(name) = &node.name {
                    scope.set(name, value);
                }
            }
            Node::Call(call, block) => {
                let caller = Value::object(MacroValue { node: block.clone(), scope: scope.clone() });
                let value = self.call(call, scope, Some(caller))?;
                write(&value, out)?;
            }
            Node::With(values, body) => {
                let inner = Scope::within(scope);
                for (target, expr) in values {
                    assign(target, self.eval(expr, scope)?, &inner)?;
                }
                return self.body(body, &inner, out);
            }
            Node::Generation(body) => {
                if self.marks == Marks::On {
                    out.push(MARKS[0]);
                }
                self.body(body, &Scope::within(scope), out)?;
                if self.marks == Marks::On {
                    out.push(MARKS[1]);
                }
            }
            Node::Block(body) => {
                self.body(body, &Scope::within(scope), out)?;
            }
            _ => {}
        }
        Ok(Flow::Next)
    }

    fn filtered(&self, value: Value, filters: &[Filter], scope: &Rc<Scope>) -> Result<Value> {
        filters.iter().try_fold(value, |value, filter| self.filter(&value, filter, scope))
    }

    fn for_loop(
        &self,
        node: &Arc<For>,
        over: &Value,
        scope: &Rc<Scope>,
        depth0: usize,
        out: &mut String,
    ) -> Result<Flow> {
        let mut items = over.items()?;
        if let Some(test) = &node.test {
            let mut kept = Vec::new();
            for item in items {
                spend(ITERATION)?;
                let inner = Scope::within(scope);
                assign(&node.target, item.clone(), &inner)?;
                if self.eval(test, &inner)?.truth() {
                    kept.push(item);
                }
            }
            items = kept;
        }
        if items.is_empty() {
            return self.body(&node.otherwise, &Scope::within(scope), out);
        }
        let state = Rc::new(Loop {
            node: node.clone(),
            scope: scope.clone(),
            items,
            at: Cell::new(0),
            depth0,
            changed: RefCell::default(),
        });
        let name: Arc<str> = "loop".into();
        for (at, item) in state.items.iter().enumerate() {
            spend(ITERATION)?;
            state.at.set(at);
            let inner = Scope::within(scope);
            inner.set(&name, Value::Object(state.clone()));
            assign(&node.target, item.clone(), &inner)?;
            if self.body(&node.body, &inner, out)? == Flow::Break {
                break;
            }
        }
        Ok(Flow::Next)
    }

    fn eval(&self, expr: &Expr, scope: &Rc<Scope>) -> Result<Value> {
        match self.lenient(expr, scope)? {
            Value::Undefined(why) if self.strict => Err(Failure::new(why.to_string())),
            value => Ok(value),
        }
    }

    /// What a test or filter looks at: to ask whether it is there is no use of it.
    fn looked_at(&self, of: &Expr, by: &Filter, scope: &Rc<Scope>) -> Result<Value> {
        if matches!(&*by.name, "default" | "d" | "defined" | "undefined") {
            self.lenient(of, scope)
        } else {
            self.eval(of, scope)
        }
    }

    fn lenient(&self, expr: &Expr, scope: &Rc<Scope>) -> Result<Value> {
        match expr {
            Expr::Const(constant) => Ok(constant_value(constant)),
            Expr::Name(name) => Ok(variable(name, scope)),
            _ => deeper(|| self.composed(expr, scope)),
        }
    }

    fn all(&self, exprs: &[Expr], scope: &Rc<Scope>) -> Result<Vec<Value>> {
        exprs.iter().map(|e| self.eval(e, scope)).collect()
    }

    fn composed(&self, expr: &Expr, scope: &Rc<Scope>) -> Result<Value> {
        match expr {
            Expr::Attribute(of, name) => attributes::attribute(&self.eval(of, scope)?, name),
            Expr::Item(of, key) => {
                let (of, at) = (self.eval(of, scope)?, self.eval(key, scope)?);
                if let (true, Value::Int(index @ ..0)) = (self.strict && !matches!(**key, Expr::Negative(_)), &at) {
                    return Err(Failure::new(format!("the index {index} of a {} is that of no label", of.class())));
                }
                attributes::item(&of, &at)
            }
            Expr::Filter(of, filter) => {
                let value = self.looked_at(of, filter, scope)?;
                self.filter(&value, filter, scope)
            }
            Expr::Test(of, test) => self.test(of, test, scope),
            Expr::Call(call) => self.call(call, scope, None),
            Expr::Not(of) => Ok(Value::Bool(!self.eval(of, scope)?.truth())),
            Expr::And(a, b) => {
                let a = self.eval(a, scope)?;
                if a.truth() { self.eval(b, scope) } else { Ok(a) }
            }
            Expr::Or(a, b) => {
                let a = self.eval(a, scope)?;
                if a.truth() { Ok(a) } else { self.eval(b, scope) }
            }
            Expr::Compare(first, others) => self.compare(first, others, scope),
            Expr::If(parts) => {
                let (test, value, otherwise) = &**parts;
                match otherwise {
                    _ if self.eval(test, scope)?.truth() => self.eval(value, scope),
                    Some(otherwise) => self.eval(otherwise, scope),
                    None => Ok(Value::undefined("an `if` without `else` has no value")),
                }
            }
            _ => self.made(expr, scope),
        }
    }

    /// Expressions that make a new value of others.
    fn made(&self, expr: &Expr, scope: &Rc<Scope>) -> Result<Value> {
        match expr {
            Expr::Binary(operator, a, b) => {
                let (a, b) = (self.eval(a, scope)?, self.eval(b, scope)?);
                let value = operators::binary(*operator, &a, &b)?;
                pass(&value)?;
                Ok(value)
            }
            Expr::Concat(parts) => {
                let value = operators::concat(&self.all(parts, scope)?)?;
                pass(&value)?;
                Ok(value)
            }
            Expr::List(items) => self.all(items, scope).map(Value::list),
            Expr::Tuple(items) => self.all(items, scope).map(Value::tuple),
            Expr::Dict(entries) => {
                let mut dict = Dict::default();
                for (key, value) in entries {
                    dict.insert(self.eval(key, scope)?, self.eval(value, scope)?)?;
                }
                Ok(Value::dict(dict))
            }
            Expr::Slice(of, bounds) => {
                let of = self.eval(of, scope)?;
                pass(&of)?;
                let bound = |i: usize| bounds[i].as_ref().map(|b| self.eval(b, scope)).transpose();
                slices::slice(&of, [bound(0)?, bound(1)?, bound(2)?])
            }
            Expr::Negative(of) => operators::negative(&self.eval(of, scope)?),
            Expr::Positive(of) => operators::positive(&self.eval(of, scope)?),
            _ => Ok(Value::None),
        }
    }

    fn compare(&self, first: &Expr, others: &[(Comparison, Expr)], scope: &Rc<Scope>) -> Result<Value> {
        let mut left = self.eval(first, scope)?;
        for (comparison, other) in others {
            let right = self.eval(other, scope)?;
            pass(&right)?;
            let order = || operators::compare(&left, &right);
            let holds = match comparison {
                Comparison::Equal => equal(&left, &right),
                Comparison::NotEqual => !equal(&left, &right),
                Comparison::Less => order()?.is_some_and(std::cmp::Ordering::is_lt),
                Comparison::LessOrEqual => order()?.is_some_and(std::cmp::Ordering::is_le),
                Comparison::Greater => order()?.is_some_and(std::cmp::Ordering::is_gt),
                Comparison::GreaterOrEqual => order()?.is_some_and(std::cmp::Ordering::is_ge),
                Comparison::In => operators::contains(&right, &left)?,
                Comparison::NotIn => !operators::contains(&right, &left)?,
            };
            if !holds {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    fn filter(&self, value: &Value, filter: &Filter, scope: &Rc<Scope>) -> Result<Value> {
        let arguments = self.arguments(&filter.arguments, scope)?;
        pass(value)?;
        arguments.pass()?;
        let made = filters::apply(&filter.name, value, arguments)?;
        pass(&made)?;
        Ok(made)
    }

    fn test(&self, of: &Expr, test: &Filter, scope: &Rc<Scope>) -> Result<Value> {
        let value = self.looked_at(of, test, scope)?;
        let arguments = self.arguments(&test.arguments, scope)?;
        pass(&value)?;
        arguments.pass()?;
        tests::holds(&test.name, &value, arguments).map(Value::Bool)
    }

    fn arguments(&self, given: &syntax::Arguments, scope: &Rc<Scope>) -> Result<Arguments> {
        let mut arguments = Arguments { positional: self.all(&given.positional, scope)?, named: Vec::new() };
        for (name, expr) in &given.keyword {
            arguments.named.push((name.clone(), self.eval(expr, scope)?));
        }
        if let Some(star) = &given.star {
            arguments.positional.extend(self.eval(star, scope)?.items()?);
        }
        if let Some(stars) = &given.double_star {
            let value = self.eval(stars, scope)?;
            let Value::Dict(dict) = &value else {
                return Err(Failure::new(format!("** needs a dict, not {:?}", Class(&value))));
            };
            for (key, value) in dict.entries() {
                let Value::Str(Text { text, .. }) = key else {
                    return Err(Failure::new("** needs keys that are strings"));
                };
                if arguments.named.iter().any(|(name, _)| name == text) {
                    return Err(Failure::new("a call has two arguments of one name"));
                }
                arguments.named.push((text.clone(), value.clone()));
            }
        }
        Ok(arguments)
    }

    fn call(&self, call: &Call, scope: &Rc<Scope>, caller: Option<Value>) -> Result<Value> {
        let callee = self.eval(&call.callee, scope)?;
        let mut arguments = self.arguments(&call.arguments, scope)?;
        if let Some(caller) = caller {
            arguments.named.push(("caller".into(), caller));
        }
        let value = self.call_value(&callee, arguments)?;
        pass(&value)?;
        Ok(value)
    }

    fn call_value(&self, callee: &Value, arguments: Arguments) -> Result<Value> {
        if let Some(failure) = callee.missing() {
            return Err(failure);
        }
        match callee {
            Value::Function(name) => return functions::call(name, arguments, self.clock),
            Value::Method(of, name) => {
                pass(of)?;
                arguments.pass()?;
                if let Value::Str(text) = &**of {
                    return str_methods::call(text, name, arguments);
                }
                return match (of.downcast::<Loop>(), of.downcast::<Cycler>()) {
                    (Some(state), _) => state.call(name, arguments),
                    (_, Some(cycler)) => cycler.call(name, arguments),
                    _ => methods::call(of, name, arguments),
                };
            }
            _ => {}
        }
        if let Some(node) = callee.downcast::<MacroValue>() {
            return self.call_macro(node, arguments);
        }
        if let Some(joiner) = callee.downcast::<Joiner>() {
            return joiner.call(arguments);
        }
        if let Some(state) = callee.downcast::<Loop>() {
            let [over] = arguments.bind("loop", ["iterable"])?;
            let over = over.filter(|_| state.node.calls_itself);
            let over = over
                .ok_or_else(|| Failure::new("`loop(...)` needs a loop marked `recursive`, and what to go through"))?;
            let mut out = String::new();
            deeper(|| self.for_loop(&state.node, &over, &state.scope, state.depth0 + 1, &mut out))?;
            return Ok(Value::from(out));
        }
        Err(Failure::new(format!("a {:?} cannot be called", Class(callee))))
    }

    fn call_macro(&self, called: &MacroValue, arguments: Arguments) -> Result<Value> {
        let node = &called.node;
        let title = node.name.as_deref().unwrap_or("caller");
        // Each parameter looks through the names that are given.
        spend(node.parameters.len() * (1 + arguments.named.len()) / 8)?;
        let scope = Scope::within(&called.scope);
        let Arguments { positional, mut named } = arguments;
        let mut positional = positional.into_iter();
        for (name, default) in &node.parameters {
            let by_name = |named: &mut Vec<(Arc<str>, Value)>| {
                let place = named.iter().position(|(n, _)| n == name)?;
                Some(named.remove(place).1)
            };
            let value = match positional.next().or_else(|| by_name(&mut named)) {
                Some(value) => value,
                None => match default {
                    Some(default) => self.eval(default, &scope)?,
                    None => Value::undefined(format!("the parameter `{name}` is not given")),
                },
            };
            scope.set(name, value);
        }
        if node.caller && !node.parameters.iter().any(|(name, _)| **name == *"caller") {
            let place = named.iter().position(|(n, _)| **n == *"caller");
            let caller = place.map(|place| named.remove(place).1);
            scope.set(&"caller".into(), caller.unwrap_or_else(|| Value::undefined("there is no caller")));
        }
        if node.kwargs {
            let mut kwargs = Dict::default();
            for (name, value) in named.drain(..) {
                kwargs.set(&name, value);
            }
            scope.set(&"kwargs".into(), Value::dict(kwargs));
        } else if let Some((name, _)) = named.first() {
            return Err(Failure::new(format!("the macro `{title}` has no parameter `{name}`")));
        }
        let rest: Vec<Value> = positional.collect();
        if node.varargs {
            scope.set(&"varargs".into(), Value::tuple(rest));
        } else if !rest.is_empty() {
            let most = node.parameters.len();
            return Err(Failure::new(format!("the macro `{title}` takes {most} arguments at most")));
        }
        let mut out = String::new();
        deeper(|| self.body(&node.body, &scope, &mut out))?;
        Ok(Value::from(out))
    }
}

/// The steps of going through a value.
fn pass(value: &Value) -> Result<()> {
    match value {
        Value::Str(text) => limits::read(text),
        Value::List(items) | Value::Tuple(items) => spend(items.len()),
        Value::Dict(dict) | Value::View(_, dict) => spend(dict.entries().len()),
        Value::Generator(left) => spend(left.len()),
        Value::Range(_) => spend(value.length().unwrap_or(0)),
        _ => Ok(()),
    }
}

impl Arguments {
    /// The steps of going through them.
    fn pass(&self) -> Result<()> {
        self.positional.iter().chain(self.named.iter().map(|(_, value)| value)).try_for_each(pass)
    }
}

/// Append what is printed of a value.
fn write(value: &Value, out: &mut String) -> Result<()> {
    // A text is charged where it is written.
    if !matches!(value, Value::Str(_)) {
        pass(value)?;
    }
    write_str(value, out)?;
    fits(out.len()).map(drop)
}

fn variable(name: &str, scope: &Scope) -> Value {
    let found = scope.get(name).or_else(|| functions::find(name));
    found.unwrap_or_else(|| Value::undefined(format!("`{name}` is undefined")))
}

fn constant_value(constant: &Const) -> Value {
    match constant {
        Const::None => Value::None,
        Const::Bool(b) => Value::Bool(*b),
        Const::Int(i) => Value::Int(*i),
        Const::Float(f) => Value::Float(*f),
        Const::Str(text) => Value::Str(Text { text: text.clone(), html: Html::Plain }),
    }
}

fn assign(target: &Target, value: Value, scope: &Rc<Scope>) -> Result<()> {
    match target {
        Target::Name(name) => scope.set(name, value),
        Target::Attribute(namespace, name) => {
            let found = scope.get(namespace);
            let Some(namespace) = found.as_ref().and_then(|v| v.downcast::<Namespace>()) else {
                return Err(Failure::new(format!("`{namespace}` is no namespace, and its attributes cannot be set")));
            };
            namespace.set(name, value)?;
        }
        Target::Tuple(targets) => {
            let items = value.items()?;
            if items.len() != targets.len() {
                return Err(Failure::new(format!("{} values for {} names", items.len(), targets.len())));
            }
            for (target, item) in targets.iter().zip(items) {
                assign(target, item, scope)?;
            }
        }
    }
    Ok(())
}
