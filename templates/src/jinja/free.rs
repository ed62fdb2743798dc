//! Names that a template reads from outside: variables and functions that nothing in it binds.

#![allow(clippy::needless_for_each, reason = "one line each")]

use std::sync::Arc;

use super::syntax::{Arguments, Call, Const, Expr, Filter, Macro, Node, Statement, Target};

/// One reading of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free<'a> {
    /// The name.
    pub name: &'a str,
    /// `KEY` of `name['KEY']`.
    pub key: Option<&'a str>,
    /// Whether the template asks if it is there: `is defined`, `is undefined`, `default`.
    pub asked: bool,
}

/// What these statements read from outside, in their order. As in jinja2 a `set` binds from where it stands, and what a loop, a
/// macro or a `with` binds ends with it.
pub fn free(statements: &[Statement]) -> Vec<Free<'_>> {
    let mut search = Search { bound: Vec::new(), found: Vec::new() };
    search.body(statements);
    search.found
}

struct Search<'a> {
    bound: Vec<&'a str>,
    found: Vec<Free<'a>>,
}

impl<'a> Search<'a> {
    /// What `look` binds is bound no longer after it.
    fn scope(&mut self, look: impl FnOnce(&mut Self)) {
        let outside = self.bound.len();
        look(self);
        self.bound.truncate(outside);
    }

    fn body(&mut self, statements: &'a [Statement]) {
        for statement in statements {
            self.node(&statement.node);
        }
    }

    fn node(&mut self, node: &'a Node) {
        match node {
            Node::Text(_) | Node::Break | Node::Continue => {}
            Node::Print(expr) => self.expr(expr),
            Node::Set(target, expr) => {
                self.expr(expr);
                self.bind(target);
            }
            Node::SetBlock(target, filters, body) => {
                self.scope(|inside| inside.body(body));
                self.filters(filters);
                self.bind(target);
            }
            Node::If(branches, otherwise) => {
                let outside = self.bound.len();
                let mut bound: Vec<Vec<&str>> = Vec::new();
                for (test, body) in branches {
                    self.expr(test);
                    self.body(body);
                    bound.push(self.bound.split_off(outside));
                }
                self.body(otherwise);
                let last = self.bound.split_off(outside);
                // What every branch binds is bound.
                self.bound.extend(last.into_iter().filter(|name| bound.iter().all(|names| names.contains(name))));
            }
            Node::For(node) => {
                self.expr(&node.over);
                self.scope(|inside| {
                    inside.bind(&node.target);
                    inside.bound.push("loop");
                    node.test.iter().for_each(|test| inside.expr(test));
                    inside.body(&node.body);
                });
                self.scope(|inside| inside.body(&node.otherwise));
            }
            Node::Macro(node) => {
                self.bound.extend(node.name.as_deref());
                self.macro_body(node);
            }
            Node::Call(call, block) => {
                self.call(call);
                self.macro_body(block);
            }
            Node::Filter(filters, body) => {
                self.scope(|inside| inside.body(body));
                self.filters(filters);
            }
            Node::With(values, body) => {
                values.iter().for_each(|(_, value)| self.expr(value));
                self.scope(|inside| {
                    values.iter().for_each(|(target, _)| inside.bind(target));
                    inside.body(body);
                });
            }
            Node::Generation(body) | Node::Block(body) => self.scope(|inside| inside.body(body)),
        }
    }

    fn macro_body(&mut self, node: &'a Macro) {
        node.parameters.iter().filter_map(|(_, default)| default.as_ref()).for_each(|default| self.expr(default));
        let special = [(node.caller, "caller"), (node.kwargs, "kwargs"), (node.varargs, "varargs")];
        self.scope(|inside| {
            inside.bound.extend(node.parameters.iter().map(|(parameter, _)| &**parameter));
            inside.bound.extend(special.into_iter().filter_map(|(given, name)| given.then_some(name)));
            inside.body(&node.body);
        });
    }

    fn bind(&mut self, target: &'a Target) {
        match target {
            Target::Name(name) => self.bound.push(name),
            Target::Attribute(namespace, _) => self.name(namespace, None, false),
            Target::Tuple(targets) => targets.iter().for_each(|target| self.bind(target)),
        }
    }

    fn name(&mut self, name: &'a Arc<str>, key: Option<&'a str>, asked: bool) {
        if !self.bound.contains(&&**name) {
            self.found.push(Free { name, key, asked });
        }
    }

    fn filters(&mut self, filters: &'a [Filter]) {
        filters.iter().for_each(|filter| self.arguments(&filter.arguments));
    }

    fn call(&mut self, call: &'a Call) {
        self.expr(&call.callee);
        self.arguments(&call.arguments);
    }

    fn arguments(&mut self, arguments: &'a Arguments) {
        arguments.positional.iter().for_each(|value| self.expr(value));
        arguments.keyword.iter().for_each(|(_, value)| self.expr(value));
        arguments.star.iter().chain(&arguments.double_star).for_each(|value| self.expr(value));
    }

    fn expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Const(_) => {}
            Expr::Name(_) | Expr::Item(..) => self.place(expr, false),
            Expr::List(items) | Expr::Tuple(items) | Expr::Concat(items) => {
                items.iter().for_each(|item| self.expr(item));
            }
            Expr::Dict(entries) => {
                for (key, value) in entries {
                    self.expr(key);
                    self.expr(value);
                }
            }
            Expr::Attribute(of, _) | Expr::Not(of) | Expr::Negative(of) | Expr::Positive(of) => self.expr(of),
            Expr::Binary(_, a, b) | Expr::And(a, b) | Expr::Or(a, b) => {
                self.expr(a);
                self.expr(b);
            }
            Expr::Slice(of, bounds) => {
                self.expr(of);
                bounds.iter().flatten().for_each(|bound| self.expr(bound));
            }
            Expr::Call(call) => self.call(call),
            Expr::Filter(of, filter) => {
                self.place(of, matches!(&*filter.name, "default" | "d"));
                self.arguments(&filter.arguments);
            }
            Expr::Test(of, test) => {
                self.place(of, matches!(&*test.name, "defined" | "undefined"));
                self.arguments(&test.arguments);
            }
            Expr::Compare(first, others) => {
                self.expr(first);
                others.iter().for_each(|(_, other)| self.expr(other));
            }
            Expr::If(parts) => {
                let (test, value, otherwise) = &**parts;
                self.expr(test);
                self.expr(value);
                otherwise.iter().for_each(|value| self.expr(value));
            }
        }
    }

    /// An expression, of which it is asked whether it is there or not.
    fn place(&mut self, expr: &'a Expr, asked: bool) {
        match expr {
            Expr::Name(name) => self.name(name, None, asked),
            Expr::Item(of, key) => {
                if let (Expr::Name(name), Expr::Const(Const::Str(key))) = (&**of, &**key) {
                    self.name(name, Some(key), asked);
                } else {
                    self.expr(of);
                    self.expr(key);
                }
            }
            _ => self.expr(expr),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::template::Template;

    #[test]
    fn names_of_the_outside_are_found_as_jinja2_finds_them() {
        // Names as `jinja2.meta.find_undeclared_variables` gives them, and functions, which it leaves out.
        for (source, names) in [
            ("{% set x = a %}{{ x }}", "a"),
            ("{{ x }}{% set x = 1 %}{{ x }}", "x"),
            ("{% for x, y in a %}{{ x ~ y ~ b }}{% else %}{{ x }}{% endfor %}{{ y }}", "a b x y"),
            ("{% for x in a if x.k == c %}{{ loop.index }}{% endfor %}", "a c"),
            ("{% macro m(p, q=d) %}{{ p ~ q ~ e ~ varargs }}{% endmacro %}{{ m(1) }}{{ p }}", "d e p"),
            ("{% with x = a %}{{ x }}{% endwith %}{{ x }}", "a x"),
            ("{% set ns = namespace(k=1) %}{% set ns.k = z %}{{ ns.k }}", "namespace z"),
            ("{% set x %}{{ y }}{% endset %}{{ x | replace(u, v) }}", "y u v"),
            ("{% if a %}{% set x = 1 %}{% endif %}{{ x }}", "a x"),
            // jinja2 names x here too, which both branches bind.
            ("{% if a %}{% set x = 1 %}{% else %}{% set x = 2 %}{% endif %}{{ x }}", "a"),
            ("{% if a %}{% set x = 1 %}{{ x }}{% elif x %}{% endif %}", "a x"),
            ("{{ a['b'][c] }}{{ {d: e}[f:g] }}{{ h(i, j=k, *l, **m) }}", "a c d e f g h i k l m"),
        ] {
            let template = Template::new(source).unwrap();
            let found: Vec<&str> = template.free().map(|free| free.name).collect();
            assert_eq!(found.join(" "), names, "{source}");
        }
    }

    #[test]
    fn keys_and_questions_are_told() {
        let template =
            Template::new("{{ a['b c'] | default('') }}{% if d is not defined %}{{ e.f | d }}{% endif %}").unwrap();
        let found: Vec<(&str, Option<&str>, bool)> = template.free().map(|f| (f.name, f.key, f.asked)).collect();
        assert_eq!(found, [("a", Some("b c"), true), ("d", None, true), ("e", None, false)]);
    }
}
