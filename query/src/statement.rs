//! What a query is, before it is run: one that reads tables and does nothing else, and in which order its rows come.

use std::ops::ControlFlow;

use setaccio_base::names::short;
use sqlparser::{
    ast::{
        Distinct, GroupByExpr, ObjectName, OrderBy, OrderByKind, Query, Select, SetExpr, SetQuantifier, Statement,
        TableFactor, Visit, Visitor,
    },
    dialect::GenericDialect,
    parser::{Parser, ParserError, ParserOptions},
};

use crate::error::{Error, Result};

/// A query that only reads tables.
pub struct Asked {
    query: Query,
    /// The tables that it names, each once.
    pub tables: Vec<String>,
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
        let Statement::Query(query) = statement else {
            let word = statement.to_string();
            let word = word.split_whitespace().next().unwrap_or_default().to_uppercase();
            return Err(Error::Query(format!("{word} is no query: only SELECT is answered, and nothing is changed")));
        };
        let mut names = Names::default();
        if let ControlFlow::Break(why) = query.visit(&mut names) {
            return Err(Error::Query(why));
        }
        let Names { relations, made } = names;
        let mut tables: Vec<String> = relations.into_iter().filter(|name| !made.contains(name)).collect();
        tables.sort();
        tables.dedup();
        Ok(Self { query: *query, tables })
    }

    /// Its text.
    pub fn sql(&self) -> String {
        self.query.to_string()
    }

    /// Its text where rows that it makes of others, groups and distinct ones, are also ordered by these of its columns, counted from 1: the
    /// engine gives them in another order each time. None for all other queries, whose rows come as they lie in their tables or as they say.
    pub fn ordered(&self, columns: &[usize]) -> Option<String> {
        if columns.is_empty() || !groups(&self.query.body) {
            return None;
        }
        let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
        let by = order_by(&columns.join(", "))?;
        let mut query = self.query.clone();
        match (&mut query.order_by, by) {
            (order @ None, by) => *order = Some(by),
            (
                Some(OrderBy { kind: OrderByKind::Expressions(said), .. }),
                OrderBy { kind: OrderByKind::Expressions(more), .. },
            ) => said.extend(more),
            _ => return None,
        }
        Some(query.to_string())
    }
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

/// Whether a query's rows are made of groups of others.
fn groups(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => {
            let grouped = match &select.group_by {
                GroupByExpr::All(_) => true,
                GroupByExpr::Expressions(by, _) => !by.is_empty(),
            };
            grouped || matches!(select.distinct, Some(Distinct::Distinct))
        }
        SetExpr::SetOperation { set_quantifier, .. } => {
            !matches!(set_quantifier, SetQuantifier::All | SetQuantifier::AllByName)
        }
        _ => false,
    }
}

/// The names of tables in a query, and what it makes itself; stops at what is no reading of tables.
#[derive(Default)]
struct Names {
    relations: Vec<String>,
    made: Vec<String>,
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
        reads(&query.body)
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<String> {
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
    fn groups_come_in_one_order() -> Result<()> {
        for (sql, expected) in [
            (
                "SELECT rule, count(*) FROM rejects GROUP BY 1",
                Some("SELECT rule, count(*) FROM rejects GROUP BY 1 ORDER BY 1, 2"),
            ),
            ("SELECT DISTINCT a, b FROM t LIMIT 3", Some("SELECT DISTINCT a, b FROM t ORDER BY 1, 2 LIMIT 3")),
            (
                "SELECT rule, count(*) AS n FROM t GROUP BY rule ORDER BY n DESC",
                Some("SELECT rule, count(*) AS n FROM t GROUP BY rule ORDER BY n DESC, 1, 2"),
            ),
            (
                "SELECT a, b FROM t UNION SELECT a, b FROM u",
                Some("SELECT a, b FROM t UNION SELECT a, b FROM u ORDER BY 1, 2"),
            ),
            ("SELECT a, b FROM t UNION ALL SELECT a, b FROM u", None),
            ("SELECT a, b FROM t WHERE a > 1 ORDER BY a", None),
            ("SELECT count(*), max(a) FROM t", None),
        ] {
            assert_eq!(Asked::parse(sql)?.ordered(&[1, 2]).as_deref(), expected, "{sql}");
        }
        assert_eq!(Asked::parse("SELECT DISTINCT a FROM t")?.ordered(&[]), None);
        Ok(())
    }
}
