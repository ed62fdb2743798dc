//! What a query is, before it is run: one that reads tables and does nothing else, and in which order its rows come.

use std::ops::ControlFlow;

use setaccio_base::names::short;
use sqlparser::{
    ast::{Expr, ObjectName, OrderBy, OrderByKind, Query, Select, SetExpr, Statement, TableFactor, Visit, Visitor},
    dialect::GenericDialect,
    parser::{Parser, ParserError, ParserOptions},
};

use crate::{
    error::{Error, Result},
    rewrite::{groups, rewrite},
};

/// A query that only reads tables.
pub struct Asked {
    query: Query,
    /// The tables that it names, each once.
    pub tables: Vec<String>,
    /// The names of what it makes itself.
    pub made: Vec<String>,
    /// Whether rows of several places are brought together in it.
    mixes: bool,
}

impl Asked {
    /// Understand a query.
    ///
    /// # Errors
    /// It is not SQL, or not one query, or something other than a query, or it would read a file.
    pub fn parse(sql: &str) -> Result<Self> {
        let mut statements = statements(sql).map_err(|error| place(sql, &error))?;
        let (Some(statement), true) = (statements.pop(), statements.is_empty()) else {
            return Err(Error::Query("ask one query, which begins with SELECT, FROM or WITH".into()));
        };
        let Statement::Query(mut query) = statement else {
            let word = statement.to_string();
            let word = word.split_whitespace().next().unwrap_or_default().to_uppercase();
            return Err(Error::Query(format!("{word} is no query: only SELECT is answered, and nothing is changed")));
        };
        // First, as it makes chains shallow.
        rewrite(&mut query).map_err(Error::Query)?;
        let mut names = Names::default();
        if let ControlFlow::Break(why) = query.visit(&mut names) {
            return Err(Error::Query(why));
        }
        let Names { relations, made, mixes } = names;
        let mut tables: Vec<String> = relations.into_iter().filter(|name| !made.contains(name)).collect();
        tables.sort();
        tables.dedup();
        Ok(Self { query: *query, tables, made, mixes })
    }

    /// Its text.
    pub fn sql(&self) -> String {
        self.query.to_string()
    }

    /// Its text where rows that it makes of others, as groups and joins, are also ordered by its columns, of these names and
    /// whether they have an order: the engine gives them in another order each time, and so it does with what ORDER BY finds equal. None for all other
    /// queries, whose rows come as they lie in their tables.
    pub fn ordered(&self, columns: &[(String, bool)]) -> Option<String> {
        if !self.mixes && self.query.order_by.is_none() {
            return None;
        }
        let mut query = self.query.clone();
        let mut by = match query.order_by.take() {
            None => Vec::new(),
            Some(OrderBy { kind: OrderByKind::Expressions(by), interpolate: None }) => by,
            Some(_) => return None,
        };
        // The engine does not bear the same column twice.
        let mut there = Vec::new();
        by.retain(|by| {
            let key = key(&by.expr, columns);
            let new = !there.contains(&key);
            there.push(key);
            new
        });
        let rest = columns.iter().zip(1..).filter(|((_, orders), at)| *orders && !there.contains(&at.to_string()));
        let rest: Vec<String> = rest.map(|(_, at)| at.to_string()).collect();
        if let Some(OrderBy { kind: OrderByKind::Expressions(more), .. }) = order_by(&rest.join(", ")) {
            by.extend(more);
        }
        if by.is_empty() {
            return None;
        }
        query.order_by = Some(OrderBy { kind: OrderByKind::Expressions(by), interpolate: None });
        Some(query.to_string())
    }
}

/// What rows are ordered by: the number of a column of the answer, or else the words.
fn key(expr: &Expr, columns: &[(String, bool)]) -> String {
    let name = match expr {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(names) => names.last(),
        _ => None,
    };
    let at = name.and_then(|name| columns.iter().position(|(column, _)| *column == name.value));
    at.map_or_else(|| expr.to_string(), |at| (at + 1).to_string())
}

fn statements(sql: &str) -> std::result::Result<Vec<Statement>, ParserError> {
    let options = ParserOptions { trailing_commas: true, ..ParserOptions::default() };
    Parser::new(&GenericDialect).with_options(options).try_with_sql(sql)?.parse_statements()
}

/// `ORDER BY` with these words behind it.
fn order_by(words: &str) -> Option<OrderBy> {
    match statements(&format!("SELECT 1 ORDER BY {words}")).ok()?.pop()? {
        Statement::Query(query) => query.order_by,
        _ => None,
    }
}

/// Whether rows of a query are made of others, and not only chosen of them.
fn mixes(select: &Select) -> bool {
    let joined = select.from.len() > 1 || select.from.iter().any(|from| !from.joins.is_empty());
    groups(select) || joined || select.distinct.is_some()
}

/// The names of tables in a query, and what it makes itself; stops at what is no reading of tables.
#[derive(Default)]
struct Names {
    relations: Vec<String>,
    made: Vec<String>,
    mixes: bool,
}

const ONLY: &str =
    "a query reads the tables of its folder and nothing else: no files, and no functions in place of a table";

impl Visitor for Names {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        self.made.extend(query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| cte.alias.name.value.clone()));
        if !query.locks.is_empty() || query.for_clause.is_some() || query.format_clause.is_some() {
            return ControlFlow::Break("only SELECT is answered: no FOR and no FORMAT".into());
        }
        self.mixes |= matches!(*query.body, SetExpr::SetOperation { .. });
        reads(&query.body)
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<String> {
        self.mixes |= mixes(select);
        match select.into {
            Some(_) => ControlFlow::Break("INTO is no part of a query: --output names a file for the rows".into()),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<String> {
        match factor {
            TableFactor::Table { args: None, .. }
            | TableFactor::Derived { .. }
            | TableFactor::UNNEST { .. }
            | TableFactor::NestedJoin { .. } => ControlFlow::Continue(()),
            other => ControlFlow::Break(format!("{}: {ONLY}", short(&other.to_string()))),
        }
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<String> {
        match name.0.as_slice() {
            [part] if part.as_ident().is_some() => {
                self.relations.extend(part.as_ident().map(|ident| ident.value.clone()));
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Break(format!("{}: a table has one name", short(&name.to_string()))),
        }
    }
}

/// Whether a body only reads.
fn reads(body: &SetExpr) -> ControlFlow<String> {
    match body {
        SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => ControlFlow::Continue(()),
        SetExpr::SetOperation { left, right, .. } => {
            reads(left)?;
            reads(right)
        }
        _ => ControlFlow::Break("only SELECT is answered, and nothing is changed".into()),
    }
}

/// What is wrong with SQL, and the line of it with a mark below the place.
fn place(sql: &str, error: &ParserError) -> Error {
    let said = match error {
        ParserError::TokenizerError(said) | ParserError::ParserError(said) => said.as_str(),
        ParserError::RecursionLimitExceeded => "it is too deep",
    };
    let Some((what, line, column)) = at(said) else { return Error::Query(format!("this is not SQL: {said}")) };
    let marked = sql.lines().nth(line.saturating_sub(1)).map_or_else(String::new, |text| {
        format!("\n  {text}\n  {}^", " ".repeat(text.chars().take(column.saturating_sub(1)).count()))
    });
    Error::Query(format!("this is not SQL, at line {line}, column {column}: {what}{marked}"))
}

/// What a message says, and the place that it names.
fn at(said: &str) -> Option<(&str, usize, usize)> {
    let (what, place) = said.rsplit_once(" at Line: ")?;
    let (line, column) = place.split_once(", Column: ")?;
    Some((what, line.trim().parse().ok()?, column.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(sql: &str) -> String {
        Asked::parse(sql).err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_query_names_its_tables() -> Result<()> {
        let cases = [
            ("SELECT 1", &[][..]),
            ("SELECT rule, count(*) FROM rejects GROUP BY 1;", &["rejects"]),
            ("FROM shards", &["shards"]),
            (
                "WITH a AS (SELECT * FROM rejects) SELECT * FROM a JOIN ledger l ON a.rule = l.rule",
                &["ledger", "rejects"],
            ),
            ("SELECT * FROM (SELECT id FROM shards) AS s WHERE id IN (SELECT id FROM rejects)", &["rejects", "shards"]),
            ("SELECT m.role FROM shards CROSS JOIN UNNEST(messages) AS m", &["shards"]),
            ("SELECT id FROM shards UNION ALL (SELECT id FROM rejects)", &["rejects", "shards"]),
        ];
        for (sql, tables) in cases {
            assert_eq!(Asked::parse(sql)?.tables, tables, "{sql}");
        }
        Ok(())
    }

    #[test]
    fn what_does_not_only_read_tables_is_refused() {
        for (sql, why) in [
            ("DROP TABLE shards", "DROP is no query"),
            ("CREATE TABLE x AS SELECT * FROM shards", "CREATE is no query"),
            ("DELETE FROM shards", "DELETE is no query"),
            ("TRUNCATE TABLE shards", "TRUNCATE is no query"),
            ("INSERT INTO shards VALUES (1)", "INSERT is no query"),
            ("COPY shards TO 'x.csv'", "COPY is no query"),
            ("SHOW TABLES", "SHOW is no query"),
            ("EXPLAIN SELECT 1", "EXPLAIN is no query"),
            ("SELECT 1; SELECT 2", "ask one query"),
            ("", "ask one query"),
            ("SELECT * INTO x FROM shards", "INTO is no part"),
            ("SELECT * FROM read_parquet('/etc/x')", "no files"),
            ("SELECT * FROM read_csv('/etc/passwd') AS t", "no files"),
            ("SELECT * FROM shards WHERE id IN (SELECT id FROM READ_JSON('x'))", "no files"),
            ("WITH a AS (SELECT * FROM read_ipc('x')) SELECT * FROM a", "no files"),
            ("SELECT (SELECT max(a) FROM scan_parquet('x'))", "no files"),
            ("SELECT * FROM TABLE(generate_series(1, 9))", "no files"),
            ("SELECT * FROM other.shards", "one name"),
            ("TABLE shards", "this is not SQL"),
        ] {
            let said = refused(sql);
            assert!(said.contains(why), "{sql}: {said}");
        }
    }

    #[test]
    fn what_is_no_sql_is_marked() {
        let said = refused("SELECT rule\nFROM rejects\nGROUP 1");
        assert!(said.contains("at line 3, column 1") && said.ends_with("\n  GROUP 1\n  ^"), "{said}");
        let said = refused("SELECT 'open FROM rejects");
        assert!(said.contains("line 1, column 8") && said.contains("Unterminated"), "{said}");
        let said = refused("selec rule from rejects");
        assert!(said.contains("line 1, column 1"), "{said}");
    }

    #[test]
    fn rows_that_are_made_of_others_come_in_one_order() -> Result<()> {
        let columns = ["a", "b"].map(|name| (name.to_owned(), true));
        for (sql, expected) in [
            ("SELECT a, b FROM t GROUP BY 1, 2", Some("SELECT a, b FROM t GROUP BY 1, 2 ORDER BY 1, 2")),
            ("SELECT DISTINCT a, b FROM t LIMIT 3", Some("SELECT DISTINCT a, b FROM t ORDER BY 1, 2 LIMIT 3")),
            ("SELECT a, b FROM t ORDER BY b DESC", Some("SELECT a, b FROM t ORDER BY b DESC, 1")),
            ("SELECT a, b FROM t ORDER BY t.b, 2, a, a + 1, a + 1", Some("SELECT a, b FROM t ORDER BY t.b, a, a + 1")),
            (
                "SELECT a, b FROM t UNION SELECT a, b FROM u",
                Some("SELECT a, b FROM t UNION SELECT a, b FROM u ORDER BY 1, 2"),
            ),
            (
                "SELECT * FROM (SELECT a, b FROM t GROUP BY a, b) AS s WHERE b > 1 LIMIT 3",
                Some("SELECT * FROM (SELECT a, b FROM t GROUP BY a, b) AS s WHERE b > 1 ORDER BY 1, 2 LIMIT 3"),
            ),
            (
                "WITH g AS (SELECT a, b FROM t GROUP BY a, b) SELECT * FROM g",
                Some("WITH g AS (SELECT a, b FROM t GROUP BY a, b) SELECT * FROM g ORDER BY 1, 2"),
            ),
            ("SELECT a, b FROM t JOIN u ON t.a = u.a", Some("SELECT a, b FROM t JOIN u ON t.a = u.a ORDER BY 1, 2")),
            ("SELECT a, b FROM t WHERE a > 1", None),
        ] {
            assert_eq!(Asked::parse(sql)?.ordered(&columns).as_deref(), expected, "{sql}");
        }
        let nested = [("a".to_owned(), false)];
        assert_eq!(Asked::parse("SELECT DISTINCT a FROM t")?.ordered(&nested), None);
        Ok(())
    }

    #[test]
    fn what_the_engine_answers_otherwise_is_put_in_other_words_or_refused() -> Result<()> {
        for (sql, expected) in [
            ("SELECT count(*) - 5 FROM t", "SELECT CAST(count(*) AS BIGINT) - 5 FROM t"),
            ("SELECT Length(a) FROM t", "SELECT CAST(Length(a) AS BIGINT) FROM t"),
            ("SELECT sum((a > 3)), sum(a) FROM t", "SELECT CAST(sum((a > 3)) AS BIGINT), sum(a) FROM t"),
            (
                "SELECT a, count(*) AS n FROM t GROUP BY a ORDER BY count(*) DESC, a",
                "SELECT a, CAST(count(*) AS BIGINT) AS n FROM t GROUP BY a ORDER BY 2 DESC, a",
            ),
            ("SELECT a FROM t ORDER BY length(a)", "SELECT a FROM t ORDER BY CAST(length(a) AS BIGINT)"),
        ] {
            assert_eq!(Asked::parse(sql)?.sql(), expected);
        }
        for (sql, why) in [
            ("SELECT a FROM t GROUP BY a ORDER BY count(*)", "put it into SELECT"),
            ("SELECT a FROM t ORDER BY sum(b)", "put it into SELECT"),
            ("SELECT a FROM t WHERE b IN (SELECT max(a) FROM t ORDER BY sum(b))", "put it into SELECT"),
            ("SELECT a, count(*) OVER () FROM t GROUP BY a", "in a subquery"),
            ("SELECT sum(sum(a)) OVER () FROM t GROUP BY a", "in a subquery"),
            ("SELECT strpos(a, 'x') FROM t", "counts bytes"),
            ("SELECT POSITION('x' IN a) FROM t", "counts bytes"),
            ("SELECT * FROM t WHERE a > DATE '2026-01-01'", "compare them as texts"),
            ("SELECT date(a) FROM t", "compare them as texts"),
        ] {
            let said = refused(sql);
            assert!(said.contains(why), "{sql}: {said}");
        }
        Ok(())
    }

    #[test]
    fn long_chains_are_no_deeper_than_they_have_to_be() -> Result<()> {
        let many = (0..2000).map(|i| format!("a = {i}")).collect::<Vec<_>>();
        let sql = format!("SELECT a FROM t WHERE {}", many.join(" OR "));
        let said = Asked::parse(&sql)?.sql();
        assert!(many.iter().all(|term| said.contains(term)) && said.contains("((("), "{said}");
        // It is read again as it is.
        assert_eq!(Asked::parse(&said)?.sql(), said);
        let short = "SELECT a FROM t WHERE a = 1 OR a = 2 AND b = 3";
        assert_eq!(Asked::parse(short)?.sql(), short);
        let said = refused(&format!("SELECT {} FROM t", vec!["a"; 300].join(" + ")));
        assert!(said.contains("more than 80 deep"), "{said}");
        let said = refused(&vec!["SELECT a FROM t"; 300].join(" UNION ALL "));
        assert!(said.contains("more than 100 queries"), "{said}");
        Ok(())
    }
}
