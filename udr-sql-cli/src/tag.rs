//! What a statement is called in its confirmation.
//!
//! In: SQL. Out: its leading keywords, such as `CREATE TABLE`. Called by `run` and `prompt`.

/// The words that a confirmation repeats; the first other word ends it.
const WORDS: &[&str] = &[
    "ABORT",
    "ALTER",
    "ANALYZE",
    "BEGIN",
    "BRANCH",
    "CALL",
    "COMMENT",
    "COMMIT",
    "COPY",
    "CREATE",
    "DATABASE",
    "DEALLOCATE",
    "DELETE",
    "DROP",
    "END",
    "EXECUTE",
    "EXTERNAL",
    "FUNCTION",
    "INDEX",
    "INSERT",
    "MERGE",
    "NAMESPACE",
    "OVERWRITE",
    "PREPARE",
    "RELEASE",
    "RENAME",
    "RESET",
    "RESTORE",
    "ROLLBACK",
    "SAVEPOINT",
    "SCHEMA",
    "SET",
    "START",
    "TABLE",
    "TAG",
    "TEMPORARY",
    "TRANSACTION",
    "TRUNCATE",
    "UPDATE",
    "USE",
    "VIEW",
];
/// What a statement is about: a name follows, which may be spelled like a keyword.
const OBJECTS: &[&str] = &[
    "BRANCH",
    "DATABASE",
    "FUNCTION",
    "INDEX",
    "NAMESPACE",
    "SAVEPOINT",
    "SCHEMA",
    "TABLE",
    "TAG",
    "VIEW",
];
/// Words between those that are left out.
const SKIPPED: &[&str] = &["OR", "REPLACE", "UNBOUNDED", "WORK"];

/// The leading keywords of a statement, without comments.
pub(crate) fn tag(sql: &str) -> String {
    let mut words = Vec::new();
    let mut rest = after_comments(sql);
    while words.len() < 3 {
        let end = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let word = rest[..end].to_ascii_uppercase();
        if WORDS.contains(&word.as_str()) {
            let about = OBJECTS.contains(&word.as_str());
            words.push(word);
            if about {
                break;
            }
        } else if !SKIPPED.contains(&word.as_str()) {
            break;
        }
        rest = after_comments(&rest[end..]);
    }
    if words.is_empty() {
        "done".to_owned()
    } else {
        words.join(" ")
    }
}

fn after_comments(mut sql: &str) -> &str {
    loop {
        sql = sql.trim_start();
        if let Some(comment) = sql.strip_prefix("--") {
            sql = comment.find('\n').map_or("", |end| &comment[end..]);
        } else if let Some(comment) = sql.strip_prefix("/*") {
            sql = comment.find("*/").map_or("", |end| &comment[end + 2..]);
        } else {
            return sql;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_called_by_its_keywords() {
        for (sql, name) in [
            ("create table t (a int)", "CREATE TABLE"),
            ("CREATE OR REPLACE VIEW v AS SELECT 1", "CREATE VIEW"),
            ("insert into t values (1)", "INSERT"),
            ("INSERT OVERWRITE t SELECT 1", "INSERT OVERWRITE"),
            ("-- why\n /* how */ BEGIN", "BEGIN"),
            (
                "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 'x'",
                "CREATE EXTERNAL TABLE",
            ),
            ("USE BRANCH dev", "USE BRANCH"),
            ("CREATE TABLE copy AS SELECT 1", "CREATE TABLE"),
            ("whatever", "done"),
            ("", "done"),
        ] {
            assert_eq!(tag(sql), name, "{sql}");
        }
    }
}
