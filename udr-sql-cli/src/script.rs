//! Text cut into statements as it arrives.
//!
//! In: lines, from a `-c`, a file or standard input. Out: whole statements and backslash commands,
//! each with the line it starts at. Called by `run` and `prompt`.

use crate::exit::Failure;
use crate::session::{is_complete, split_statements};

/// Something to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// The line it starts at, from 1.
    pub(crate) line: usize,
    /// What it is.
    pub(crate) step: Step,
}

/// What can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// One SQL statement, without its semicolon.
    Sql(String),
    /// One backslash command.
    Command(String),
}

/// Lines that do not make a whole statement yet.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pending: String,
    /// The line that `pending` starts at.
    start: usize,
    lines: usize,
}

/// Text that cannot be cut into statements.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Uncut {
    /// The line it starts at, from 1.
    pub(crate) line: usize,
    /// Why.
    pub(crate) failure: Box<Failure>,
}

/// The lines of a text. What else ends a line in a string is part of the string.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.strip_suffix('\n').unwrap_or(text).split('\n')
}

impl Script {
    /// Whether nothing is waiting for its end.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.trim().is_empty()
    }

    /// Adds a line, without its line break; returns what it completes.
    ///
    /// # Errors
    ///
    /// Text that cannot be cut into statements; it is dropped.
    pub(crate) fn push(&mut self, line: &str) -> Result<Vec<Item>, Uncut> {
        self.lines += 1;
        if self.is_empty() {
            self.pending.clear();
            self.start = self.lines;
            if line.trim_start().starts_with('\\') {
                let step = Step::Command(line.trim().to_owned());
                return Ok(vec![Item {
                    line: self.lines,
                    step,
                }]);
            }
        }
        self.pending.push_str(line);
        self.pending.push('\n');
        if line.contains(';') && is_complete(&self.pending) {
            return self.cut();
        }
        // Comments between statements begin none.
        if self.pending.trim_start().starts_with(['-', '/'])
            && split_statements(&self.pending).is_ok_and(|found| found.is_empty())
        {
            self.pending.clear();
        }
        Ok(Vec::new())
    }

    /// The end of the text: what is left is the last statement.
    ///
    /// # Errors
    ///
    /// As [`Script::push`].
    pub(crate) fn finish(mut self) -> Result<Vec<Item>, Uncut> {
        self.cut()
    }

    fn cut(&mut self) -> Result<Vec<Item>, Uncut> {
        let text = std::mem::take(&mut self.pending);
        let statements = split_statements(&text).map_err(|error| Uncut {
            line: self.start,
            failure: Box::new(Failure::from(error)),
        })?;
        let mut from = 0;
        let items = statements.into_iter().map(|statement| {
            let at = text[from..]
                .find(&statement)
                .map_or(from, |found| from + found);
            let item = Item {
                line: self.start + text[..at].matches('\n').count(),
                step: Step::Sql(statement.clone()),
            };
            from = (at + statement.len()).min(text.len());
            while !text.is_char_boundary(from) {
                from += 1;
            }
            item
        });
        Ok(items.collect())
    }
}

/// How a line is named in messages.
pub(crate) fn line(number: usize) -> String {
    format!("line {number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str) -> Vec<Item> {
        let mut script = Script::default();
        let mut items = Vec::new();
        for line in lines(text) {
            items.extend(script.push(line).unwrap());
        }
        items.extend(script.finish().unwrap());
        items
    }

    fn sql(line: usize, text: &str) -> Item {
        Item {
            line,
            step: Step::Sql(text.to_owned()),
        }
    }

    #[test]
    fn statements_know_the_line_they_start_at() {
        assert_eq!(
            items("SELECT 1;\n\n\nSELECT\n 2; SELECT 3;\n\\timing\nSELECT 4"),
            [
                sql(1, "SELECT 1"),
                sql(4, "SELECT\n 2"),
                sql(5, "SELECT 3"),
                Item {
                    line: 6,
                    step: Step::Command("\\timing".into())
                },
                sql(7, "SELECT 4"),
            ]
        );
    }

    #[test]
    fn semicolons_and_backslashes_inside_strings_are_text() {
        assert_eq!(
            items("SELECT 'a;\n\\q;\n';"),
            [sql(1, "SELECT 'a;\n\\q;\n'")]
        );
    }

    #[test]
    fn comments_neither_begin_a_statement_nor_keep_one_from_its_end() {
        let command = |line| Item {
            line,
            step: Step::Command("\\timing".into()),
        };
        assert_eq!(
            items("-- how long\n\\timing\nSELECT 1;"),
            [command(2), sql(3, "SELECT 1")]
        );
        assert_eq!(
            items("/* one;\n\\q */\n\\timing\nSELECT 1"),
            [command(3), sql(4, "SELECT 1")]
        );
        let mut script = Script::default();
        let done = script.push("SELECT 1; -- first").unwrap();
        assert_eq!(done, [sql(1, "SELECT 1")]);
        assert!(script.is_empty());
        assert!(script.push("SELECT 2 -- not yet;").unwrap().is_empty());
        assert_eq!(script.push(";").unwrap().len(), 1);
    }

    #[test]
    fn carriage_returns_in_strings_are_kept() {
        assert_eq!(
            items("SELECT 'a\r\nb';\r\nSELECT 2;\r\n"),
            [sql(1, "SELECT 'a\r\nb'"), sql(3, "SELECT 2")]
        );
    }

    #[test]
    fn text_that_cannot_be_cut_says_where_and_is_dropped() {
        let mut script = Script::default();
        assert!(script.push("SELECT").unwrap().is_empty());
        let uncut = script.push("U&'\\zzzz';").unwrap_err();
        assert_eq!(uncut.line, 1);
        assert!(script.is_empty());
    }

    #[test]
    fn nothing_is_run_before_it_is_complete() {
        let mut script = Script::default();
        assert_eq!(script.push("SELECT 1;").unwrap().len(), 1);
        assert!(script.push("SELECT").unwrap().is_empty());
        assert!(!script.is_empty());
        assert_eq!(script.push("2;").unwrap().len(), 1);
        assert!(script.is_empty());
    }
}
