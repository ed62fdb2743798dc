//! A query as the engine gets it. Some of what the engine makes of SQL is silently another answer than the standard's: such a question is put
//! in other words, or refused.

use std::ops::ControlFlow;

use setaccio_base::names::short;
use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, GroupByExpr, OrderByExpr, OrderByKind, Query, Select,
    SelectItem, SetExpr, Value, Visit, VisitMut, Visitor, VisitorMut,
};

/// Functions whose results the engine holds as numbers without a sign: one less another would be enormous where it is negative.
const COUNTS: [&str; 12] = [
    "array_length",
    "bit_count",
    "bit_length",
    "bitcount",
    "char_length",
    "character_length",
    "count",
    "dense_rank",
    "length",
    "octet_length",
    "rank",
    "row_number",
];

/// Functions that make one value of many rows.
const AGGREGATES: [&str; 28] = [
    "array_agg",
    "avg",
    "corr",
    "count",
    "covar",
    "covar_pop",
    "covar_samp",
    "first",
    "group_concat",
    "last",
    "listagg",
    "max",
    "median",
    "min",
    "quantile_cont",
    "quantile_disc",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "stdev",
    "stdev_samp",
    "string_agg",
    "sum",
    "total",
    "var",
    "var_pop",
    "var_samp",
    "variance",
];

/// Functions of dates and times.
const TIMES: [&str; 8] = ["date", "date_part", "datetime", "extract", "strftime", "strptime", "time", "timestamp"];

const NO_TIMES: &str = "dates and times are left out: compare them as texts, in which 2026-01-31 is before 2026-02-01";
const NO_PLACES: &str = "the place of a text in another is left out: the engine counts bytes there, and characters elsewhere; \
                         split_part(text, 'x', 1) is what comes before the first x";
const NO_WINDOWS: &str = "OVER stands beside groups, where the engine sees only one of them at a time: make the groups in a subquery, \
                          and use OVER around it";

/// Terms of a chain of AND or OR that stay as they are.
const CHAIN: usize = 8;
/// How deep an expression is, at the most: the engine goes down into it on a small stack.
const DEEPEST: usize = 80;
/// Queries that are put together by UNION and the like, at the most, for the same reason.
const MOST_UNITED: usize = 100;

/// Put a query in words that the engine answers as the standard does.
///
/// # Errors
/// In a sentence, what the engine would answer in another way.
pub fn rewrite(query: &mut Query) -> Result<(), String> {
    if let ControlFlow::Break(why) = VisitMut::visit(query, &mut Rewrite) {
        return Err(why);
    }
    match Visit::visit(query, &mut Depth(0)) {
        ControlFlow::Break(why) => Err(why),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Rewrite;

impl VisitorMut for Rewrite {
    type Break = String;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<String> {
        if united(&query.body) > MOST_UNITED {
            return ControlFlow::Break(format!("UNION and the like put more than {MOST_UNITED} queries together"));
        }
        let Some(order) = &mut query.order_by else { return ControlFlow::Continue(()) };
        let (SetExpr::Select(select), OrderByKind::Expressions(by)) = (&*query.body, &mut order.kind) else {
            return ControlFlow::Continue(());
        };
        if is_grouped(select) || by.iter().any(|by| has_aggregate(&by.expr)) {
            by.iter_mut().try_for_each(|by| by_column(select, by))?;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<String> {
        if is_grouped(select) && select.projection.iter().filter_map(expression).any(has_window) {
            return ControlFlow::Break(NO_WINDOWS.into());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        balance(expr);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        match expr {
            Expr::Position { .. } => ControlFlow::Break(NO_PLACES.into()),
            Expr::TypedString(_) | Expr::Interval(_) | Expr::Extract { .. } | Expr::AtTimeZone { .. } => {
                ControlFlow::Break(NO_TIMES.into())
            }
            Expr::Function(function) => {
                let name = name_of(function);
                if name == "strpos" {
                    return ControlFlow::Break(NO_PLACES.into());
                }
                if TIMES.contains(&name.as_str()) {
                    return ControlFlow::Break(NO_TIMES.into());
                }
                if COUNTS.contains(&name.as_str())
                    || (matches!(name.as_str(), "sum" | "total") && adds_conditions(function))
                {
                    let counted = std::mem::replace(expr, Expr::value(Value::Null));
                    *expr = Expr::Cast {
                        kind: CastKind::Cast,
                        expr: Box::new(counted),
                        data_type: DataType::BigInt(None),
                        array: false,
                        format: None,
                    };
                }
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Order rows of groups by a column of the answer, by its number: the engine overlooks an aggregate there.
fn by_column(select: &Select, by: &mut OrderByExpr) -> ControlFlow<String> {
    if matches!(by.expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_)) {
        return ControlFlow::Continue(());
    }
    let has_all = select.projection.iter().all(|item| expression(item).is_some());
    let at = select.projection.iter().position(|item| expression(item) == Some(&by.expr)).filter(|_| has_all);
    let Some(at) = at else {
        let what = short(&by.expr.to_string());
        return ControlFlow::Break(format!(
            "ORDER BY {what}: put it into SELECT, as `{what} AS n`, and say ORDER BY n"
        ));
    };
    by.expr = Expr::value(Value::Number((at + 1).to_string(), false));
    ControlFlow::Continue(())
}

/// What a column of the answer is.
fn expression(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

fn name_of(function: &Function) -> String {
    function.name.to_string().to_lowercase()
}

/// Whether a query says GROUP BY.
pub fn groups(select: &Select) -> bool {
    match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(by, _) => !by.is_empty(),
    }
}

/// Whether rows of a query stand for many.
fn is_grouped(select: &Select) -> bool {
    groups(select) || select.projection.iter().filter_map(expression).any(has_aggregate)
}

fn has_aggregate(expr: &Expr) -> bool {
    any(expr, |function| function.over.is_none() && AGGREGATES.contains(&name_of(function).as_str()))
}

fn has_window(expr: &Expr) -> bool {
    any(expr, |function| function.over.is_some())
}

/// Whether a function of an expression, and not of a subquery in it, is such a one.
fn any(expr: &Expr, is: impl Fn(&Function) -> bool) -> bool {
    struct Any<F>(F, usize);
    impl<F: Fn(&Function) -> bool> Visitor for Any<F> {
        type Break = ();

        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.1 += 1;
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.1 -= 1;
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(function) if self.1 == 0 && (self.0)(function) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    expr.visit(&mut Any(is, 0)).is_break()
}

/// Whether a sum is of conditions, which the engine counts.
fn adds_conditions(function: &Function) -> bool {
    struct First(Option<bool>);
    impl Visitor for First {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if matches!(expr, Expr::Nested(_)) {
                return ControlFlow::Continue(());
            }
            self.0 = Some(is_condition(expr));
            ControlFlow::Break(())
        }
    }
    let mut first = First(None);
    let _ = function.args.visit(&mut first);
    first.0.unwrap_or(false)
}

fn is_condition(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryOp { op, .. } => matches!(
            op,
            BinaryOperator::And
                | BinaryOperator::Or
                | BinaryOperator::Eq
                | BinaryOperator::NotEq
                | BinaryOperator::Lt
                | BinaryOperator::LtEq
                | BinaryOperator::Gt
                | BinaryOperator::GtEq
        ),
        Expr::UnaryOp { op, .. } => matches!(op, sqlparser::ast::UnaryOperator::Not),
        Expr::Function(function) => {
            matches!(name_of(function).as_str(), "array_contains" | "ends_with" | "regexp_like" | "starts_with")
        }
        _ => matches!(
            expr,
            Expr::IsNull(_)
                | Expr::IsNotNull(_)
                | Expr::IsTrue(_)
                | Expr::IsNotTrue(_)
                | Expr::IsFalse(_)
                | Expr::IsNotFalse(_)
                | Expr::InList { .. }
                | Expr::InSubquery { .. }
                | Expr::Between { .. }
                | Expr::Like { .. }
                | Expr::ILike { .. }
                | Expr::RLike { .. }
        ),
    }
}

/// Make a long chain of AND or of OR as deep as it has to be, and not as deep as it is long.
fn balance(expr: &mut Expr) {
    let Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } = &*expr else { return };
    let op = op.clone();
    let mut terms = Vec::new();
    let mut rest = std::mem::replace(expr, Expr::value(Value::Null));
    loop {
        match rest {
            Expr::BinaryOp { left, op: of, right } if of == op => {
                terms.push(*right);
                rest = *left;
            }
            first => {
                terms.push(first);
                break;
            }
        }
    }
    terms.reverse();
    *expr = if terms.len() <= CHAIN { chain(terms, &op) } else { tree(terms, &op) };
}

/// Terms one after another, as they were written.
fn chain(terms: Vec<Expr>, op: &BinaryOperator) -> Expr {
    let both = |left, right| Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) };
    terms.into_iter().reduce(both).unwrap_or_else(|| Expr::value(Value::Null))
}

/// Terms in halves of halves, in parentheses, which say so in the text that the engine gets.
fn tree(mut terms: Vec<Expr>, op: &BinaryOperator) -> Expr {
    if terms.len() <= CHAIN {
        return chain(terms, op);
    }
    let right = terms.split_off(terms.len() / 2);
    let halves = [terms, right].map(|half| Expr::Nested(Box::new(tree(half, op))));
    chain(halves.into(), op)
}

/// How many queries are put together, one after another.
fn united(body: &SetExpr) -> usize {
    let (mut body, mut count) = (body, 1);
    while let SetExpr::SetOperation { left, .. } = body {
        (body, count) = (left, count + 1);
    }
    count
}

/// How many expressions one is in.
struct Depth(usize);

impl Visitor for Depth {
    type Break = String;

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<String> {
        self.0 += 1;
        if self.0 > DEEPEST {
            return ControlFlow::Break(format!(
                "an expression is more than {DEEPEST} deep: of many texts say `IN (...)`, or one pattern with `|` in regexp_like"
            ));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<String> {
        self.0 -= 1;
        ControlFlow::Continue(())
    }
}
