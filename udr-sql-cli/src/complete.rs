//! What the word at the cursor can become.
//!
//! In: the line up to the cursor and the names of the repository. Out: candidates. Called by
//! `editor`; pure, so that every context has a test.

use crate::command;
use crate::output::Format;
use crate::session::Names;

const KEYWORDS: &[&str] = &[
    "ALL",
    "ALTER",
    "ANALYZE",
    "AND",
    "AS",
    "AS OF",
    "ASC",
    "BEGIN",
    "BETWEEN",
    "BRANCH",
    "BRANCHES",
    "BY",
    "CASE",
    "CAST",
    "COMMENT",
    "COMMIT",
    "COPY",
    "COUNT",
    "CREATE",
    "CROSS",
    "DELETE",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "DROP",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "EXTERNAL",
    "FALSE",
    "FROM",
    "FULL",
    "GROUP BY",
    "HAVING",
    "IMPORT PARQUET",
    "IN",
    "INNER",
    "INSERT INTO",
    "INSERT OVERWRITE",
    "INTERSECT",
    "IS",
    "JOIN",
    "LEFT",
    "LIKE",
    "LIMIT",
    "LOCATION",
    "LOG",
    "MERGE BRANCH",
    "MESSAGE",
    "NOT",
    "NULL",
    "OFFSET",
    "ON",
    "OR",
    "ORDER BY",
    "OUTER",
    "OVER",
    "PARTITION BY",
    "READ ONLY",
    "RELEASE",
    "REPLACE",
    "RIGHT",
    "ROLLBACK",
    "SAVEPOINT",
    "SCHEMA",
    "SELECT",
    "SET",
    "SHOW",
    "STATUS",
    "STORED AS",
    "TABLE",
    "TABLES",
    "TAG",
    "TAGS",
    "THEN",
    "TIMESTAMP AS OF",
    "TRANSACTION",
    "TRUE",
    "UNION",
    "USE BRANCH",
    "USING",
    "VALUES",
    "VERSION AS OF",
    "VIEW",
    "WHEN",
    "WHERE",
    "WITH",
];

/// What can stand at the cursor.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Completion {
    /// Where in the line the word starts.
    pub(crate) start: usize,
    /// What it can become, sorted.
    pub(crate) candidates: Vec<String>,
    /// Names of files are wanted instead.
    pub(crate) files: bool,
}

/// Completes the end of `line`.
pub(crate) fn complete(line: &str, names: &Names) -> Completion {
    let context = Context::of(line);
    let start = line.len() - context.word.len();
    let files = context.last() == "\\I" || context.ends_with(&["LOCATION"]);
    let mut candidates = if files {
        Vec::new()
    } else {
        context.candidates(names)
    };
    candidates.sort();
    candidates.dedup();
    Completion {
        start,
        candidates,
        files,
    }
}

struct Context<'a> {
    /// The unfinished word.
    word: &'a str,
    /// The words before it, in capitals.
    before: Vec<String>,
    /// The same, as written.
    written: Vec<&'a str>,
    quoted: bool,
}

impl<'a> Context<'a> {
    fn of(line: &'a str) -> Self {
        let word_start = line.rfind(|c: char| !is_word(c)).map_or(0, |i| {
            i + line[i..].chars().next().map_or(0, char::len_utf8)
        });
        let (head, word) = line.split_at(word_start);
        let written = head
            .split(|c: char| !is_word(c))
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>();
        let before = written.iter().map(|word| word.to_uppercase()).collect();
        Self {
            word,
            before,
            written,
            quoted: head.ends_with(['"', '\'']),
        }
    }

    fn last(&self) -> &str {
        self.before.last().map_or("", String::as_str)
    }

    fn ends_with(&self, words: &[&str]) -> bool {
        self.before.len() >= words.len()
            && self.before[self.before.len() - words.len()..]
                .iter()
                .eq(words)
    }

    fn starts_with(&self, words: &[&str]) -> bool {
        self.before.len() >= words.len() && self.before.iter().zip(words).all(|(a, b)| a == b)
    }

    fn candidates(&self, names: &Names) -> Vec<String> {
        if self.word.starts_with('\\') && self.before.is_empty() {
            return matching(self.word, command::NAMES.iter().copied());
        }
        let branches = || names.branches.iter().map(String::as_str);
        let tags = || names.tags.iter().map(String::as_str);
        let branch_statement = self.starts_with(&["MERGE", "BRANCH"])
            || self.starts_with(&["CREATE", "BRANCH"])
            || self.starts_with(&["CREATE", "TAG"]);
        match self.last() {
            "\\FORMAT" => {
                use clap::ValueEnum as _;
                let formats = Format::value_variants().iter().map(Format::to_string);
                formats.filter(|name| name.starts_with(self.word)).collect()
            }
            "BRANCH" | "\\BRANCH" => self.names(branches()),
            "INTO" if branch_statement => self.names(branches()),
            "FROM" | "OF" if branch_statement || self.ends_with(&["AS", "OF"]) => {
                self.names(branches().chain(tags()))
            }
            "TAG" => self.names(tags()),
            "FROM" | "JOIN" | "INTO" | "OVERWRITE" | "TABLE" | "UPDATE" | "DESCRIBE"
            | "TRUNCATE" | "\\D" => self.tables(names),
            _ if self.word.contains('.') => self.qualified(names),
            _ => self.anything(names),
        }
    }

    /// `table.col`, `alias.col`.
    fn qualified(&self, names: &Names) -> Vec<String> {
        let Some((qualifier, column)) = self.word.rsplit_once('.') else {
            return Vec::new();
        };
        let table = self.table_of(qualifier);
        names
            .columns
            .iter()
            .filter(|(name, _)| same_name(name, table))
            .flat_map(|(_, columns)| columns)
            .filter(|name| starts_with(name, column))
            .map(|name| format!("{qualifier}.{}", quoted_if_needed(name)))
            .collect()
    }

    /// The table that a qualifier stands for: `FROM flights AS f`, `JOIN flights f`.
    fn table_of<'b>(&'b self, qualifier: &'b str) -> &'b str {
        let alias = qualifier.to_uppercase();
        let places = self
            .before
            .iter()
            .enumerate()
            .filter(|(_, word)| **word == alias);
        for (i, _) in places {
            let table = if i > 0 && self.before[i - 1] == "AS" {
                i.checked_sub(2)
            } else {
                i.checked_sub(1)
            };
            let Some(table) = table else { continue };
            let opener = table.checked_sub(1).map_or("", |i| self.before[i].as_str());
            if matches!(opener, "FROM" | "JOIN" | "INTO" | "UPDATE") {
                return self.written[table];
            }
        }
        qualifier
    }

    fn anything(&self, names: &Names) -> Vec<String> {
        let lower = self.word.chars().all(|c| !c.is_ascii_uppercase());
        let keywords = KEYWORDS
            .iter()
            .filter(|keyword| !self.word.is_empty() && starts_with(keyword, self.word))
            .map(|k| {
                if lower {
                    k.to_lowercase()
                } else {
                    (*k).to_owned()
                }
            });
        let mentioned = |table: &str| self.before.iter().any(|word| same_name(table, word));
        let any_mentioned = names.columns.iter().any(|(table, _)| mentioned(table));
        let columns = names
            .columns
            .iter()
            .filter(|(table, _)| !any_mentioned || mentioned(table))
            .flat_map(|(_, columns)| columns.iter().map(String::as_str));
        keywords
            .chain(self.names(columns))
            .chain(self.tables(names))
            .collect()
    }

    /// Tables; those outside of the namespace `public` have two parts.
    fn tables(&self, names: &Names) -> Vec<String> {
        let quoted = |name: &String| {
            let parts = name.split('.').map(quoted_if_needed);
            parts.collect::<Vec<_>>().join(".")
        };
        let found = names.tables.iter();
        let found = found.filter(|name| starts_with(name, self.word));
        match self.quoted {
            true => found.cloned().collect(),
            false => found.map(quoted).collect(),
        }
    }

    fn names<'n>(&self, names: impl Iterator<Item = &'n str>) -> Vec<String> {
        names
            .filter(|name| starts_with(name, self.word))
            .map(|name| {
                if self.quoted {
                    name.to_owned()
                } else {
                    quoted_if_needed(name)
                }
            })
            .collect()
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '$' | '\\' | '/' | '-' | '~' | '@')
}

fn matching<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Vec<String> {
    names
        .filter(|name| starts_with(name, word))
        .map(str::to_owned)
        .collect()
}

fn starts_with(name: &str, word: &str) -> bool {
    name.to_lowercase().starts_with(&word.to_lowercase())
}

/// Whether a table is meant by a word, with or without its namespace.
fn same_name(table: &str, word: &str) -> bool {
    let last = |name: &str| name.rsplit('.').next().unwrap_or(name).to_lowercase();
    table.eq_ignore_ascii_case(word) || last(table) == last(word)
}

/// SQL folds what is not quoted to lower case.
fn quoted_if_needed(name: &str) -> String {
    let plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && part
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    if name.split('.').all(plain) {
        name.to_owned()
    } else {
        format!("\"{name}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        Names {
            tables: list(&["flights", "planes", "Odd Name", "sales.Items"]),
            columns: vec![
                ("flights".into(), list(&["carrier", "dep_delay", "flight"])),
                ("planes".into(), list(&["tailnum", "seats"])),
            ],
            branches: list(&["main", "dev", "feature/x"]),
            tags: list(&["v1", "release"]),
        }
    }

    fn candidates(line: &str) -> Vec<String> {
        complete(line, &names()).candidates
    }

    #[test]
    fn tables_follow_from_join_and_into() {
        assert_eq!(candidates("SELECT * FROM f"), ["flights"]);
        assert_eq!(candidates("select * from flights join pl"), ["planes"]);
        assert_eq!(
            candidates("INSERT INTO "),
            ["\"Odd Name\"", "flights", "planes", "sales.\"Items\""]
        );
        assert_eq!(candidates("\\d fl"), ["flights"]);
    }

    #[test]
    fn branches_and_tags_follow_their_words() {
        assert_eq!(candidates("USE BRANCH d"), ["dev"]);
        assert_eq!(candidates("USE BRANCH f"), ["\"feature/x\""]);
        assert_eq!(candidates("USE BRANCH \"f"), ["feature/x"]);
        assert_eq!(candidates("MERGE BRANCH dev INTO m"), ["main"]);
        assert_eq!(candidates("CREATE BRANCH b FROM re"), ["release"]);
        assert_eq!(candidates("SELECT * FROM flights VERSION AS OF 'v"), ["v1"]);
        assert_eq!(candidates("DROP TAG r"), ["release"]);
        assert_eq!(candidates("\\branch de"), ["dev"]);
    }

    #[test]
    fn columns_are_those_of_the_tables_mentioned() {
        assert_eq!(candidates("SELECT flights.dep"), ["flights.dep_delay"]);
        assert_eq!(
            candidates("SELECT 1 FROM flights AS f WHERE f.ca"),
            ["f.carrier"]
        );
        assert_eq!(
            candidates("SELECT 1 FROM flights f WHERE f.ca"),
            ["f.carrier"]
        );
        assert_eq!(candidates("SELECT 1 FROM planes WHERE sea"), ["seats"]);
        assert!(!candidates("SELECT 1 FROM planes WHERE dep").contains(&"dep_delay".into()));
        assert!(candidates("SELECT dep").contains(&"dep_delay".into()));
    }

    #[test]
    fn keywords_follow_the_case_typed() {
        assert_eq!(candidates("SEL"), ["SELECT"]);
        assert_eq!(candidates("sel"), ["select"]);
        assert_eq!(candidates("SELECT 1 GRO"), ["GROUP BY"]);
    }

    #[test]
    fn commands_formats_and_files() {
        assert_eq!(candidates("\\f"), ["\\format"]);
        assert_eq!(candidates("\\format nd"), ["ndjson"]);
        assert!(complete("\\i scr", &names()).files);
        assert!(complete("LOCATION 'dat", &names()).files);
    }

    #[test]
    fn the_word_starts_where_it_does() {
        assert_eq!(complete("SELECT * FROM fl", &names()).start, 14);
        assert_eq!(
            complete("SELECT 'ü', fl", &names()).start,
            "SELECT 'ü', ".len()
        );
    }
}
