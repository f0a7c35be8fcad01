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

impl Script {
    /// Whether nothing is waiting for its end.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.trim().is_empty()
    }

    /// Adds a line, without its line break; returns what it completes.
    ///
    /// # Errors
    ///
    /// `Invalid` if the text cannot be cut into statements.
    pub(crate) fn push(&mut self, line: &str) -> Result<Vec<Item>, Failure> {
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
        if line.trim_end().ends_with(';') && is_complete(&self.pending) {
            return self.cut();
        }
        Ok(Vec::new())
    }

    /// The end of the text: what is left is the last statement.
    ///
    /// # Errors
    ///
    /// As [`Script::push`].
    pub(crate) fn finish(mut self) -> Result<Vec<Item>, Failure> {
        self.cut()
    }

    fn cut(&mut self) -> Result<Vec<Item>, Failure> {
        let text = std::mem::take(&mut self.pending);
        let statements =
            split_statements(&text).map_err(|error| Failure::from(error).at(line(self.start)))?;
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
        for line in text.lines() {
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
    fn nothing_is_run_before_it_is_complete() {
        let mut script = Script::default();
        assert_eq!(script.push("SELECT 1;").unwrap().len(), 1);
        assert!(script.push("SELECT").unwrap().is_empty());
        assert!(!script.is_empty());
        assert_eq!(script.push("2;").unwrap().len(), 1);
        assert!(script.is_empty());
    }
}
