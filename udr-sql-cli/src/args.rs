//! The command line.
//!
//! In: the words after `udr`. Out: [`Args`], checked, with `-c` and `-f` in the order they were
//! given. Called by `main`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgMatches, Args as ClapArgs, CommandFactory as _, FromArgMatches as _, Parser};
use clap::{Subcommand, ValueEnum};

use crate::memory::MemoryLimit;
use crate::output::Format;

/// Versioned, transactional tables in a folder or a bucket.
///
/// Without -c, -f or a command, statements are read from standard input: with a prompt if it is a
/// terminal, as a script if it is not.
#[derive(Debug, Parser)]
#[command(name = "udr", version, about, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) connection: Connection,

    /// Run these SQL statements; may be repeated, also mixed with -f, and is run in that order
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    commands: Vec<String>,

    /// Run the statements of a file (- for standard input); may be repeated
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// How results are shown on standard output
    #[arg(long, value_enum, default_value_t, global = true)]
    pub(crate) format: Format,

    /// Say nothing on standard error but errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    /// Go on after a statement that fails; the exit code is that of the first failure
    #[arg(long)]
    pub(crate) keep_going: bool,

    #[command(subcommand)]
    pub(crate) action: Option<Action>,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done; 1 error in a statement; 2 wrong usage; 3 conflict with another writer;
4 store unreachable; 5 repository damaged; 130 interrupted.

Environment: UDR_REPO is used where --repo is not given, and UDR_AUTHOR, else the user's name, where
--author is not; NO_COLOR turns colours off; PAGER shows
long results at the prompt. Stores read their usual variables (AWS_*, GOOGLE_*, AZURE_*).";

/// Which repository, and how it is opened.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Connection {
    /// Folder or URL of the repository (made if absent); without it, one in memory
    #[arg(long, value_name = "PATH_OR_URL", global = true)]
    pub(crate) repo: Option<String>,

    /// Branch to work on
    #[arg(long, value_name = "BRANCH", global = true)]
    pub(crate) branch: Option<String>,

    /// Whether commits survive a power cut
    #[arg(long, value_enum, default_value_t, global = true)]
    pub(crate) durability: Durability,

    /// Option of the object store, such as aws_region=eu-west-1; may be repeated
    #[arg(long = "store-option", value_name = "KEY=VALUE", value_parser = key_value, global = true)]
    pub(crate) store_options: Vec<(String, String)>,

    /// Who the commits are by
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) author: Option<String>,

    /// Memory for queries and writes, such as 2GiB, 50% or unlimited; past it they spill to disk
    #[arg(long, value_name = "SIZE", default_value_t, global = true)]
    pub(crate) memory_limit: MemoryLimit,
}

/// What a commit waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Durability {
    /// Everything is synced to disk
    #[default]
    Full,
    /// Nothing is: for tests and scratch
    None,
}

/// A command that is not SQL.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Check that everything stored is there and undamaged
    Fsck {
        /// Read whole data files, too
        #[arg(long)]
        data: bool,
    },
    /// Tell whether a transaction was published whose commit ended without an answer
    ///
    /// Prints `committed`, `not published` or `unknown` (exit codes 0, 1 and 4). With --branch, the
    /// branch it was for, what is not found there is kept from being published later.
    Txn {
        /// The id of the transaction, from the error's message
        id: String,
    },
    /// Load the flights out of New York in 2013 and show what a repository can do
    Demo,
}

/// Where statements come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The text of a `-c`.
    Text(String),
    /// The file of a `-f`.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

/// The command line, checked.
#[derive(Debug)]
pub(crate) struct Args {
    /// The options.
    pub(crate) cli: Cli,
    /// `-c` and `-f`, in the order given.
    pub(crate) sources: Vec<Source>,
}

impl Args {
    /// Parses the words of a command line, the program's name first.
    ///
    /// # Errors
    ///
    /// What to print, and the exit code: 2, or 0 for `--help` and `--version`.
    pub(crate) fn parse(
        words: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, Box<clap::Error>> {
        let mut command = Cli::command();
        let matches = command.try_get_matches_from_mut(words)?;
        let cli = Cli::from_arg_matches(&matches)?;
        let sources = sources(&cli, &matches);
        if cli.action.is_some() && cli.keep_going {
            let kind = clap::error::ErrorKind::ArgumentConflict;
            return Err(Box::new(
                command.error(kind, "--keep-going cannot be used with a command"),
            ));
        }
        if cli.action.is_some() && !sources.is_empty() {
            let kind = clap::error::ErrorKind::ArgumentConflict;
            return Err(Box::new(
                command.error(kind, "-c and -f cannot be used with a command"),
            ));
        }
        if matches!(cli.action, Some(Action::Fsck { .. })) && cli.connection.branch.is_some() {
            let kind = clap::error::ErrorKind::ArgumentConflict;
            return Err(Box::new(
                command.error(kind, "fsck checks every branch; leave out --branch"),
            ));
        }
        Ok(Self { cli, sources })
    }
}

fn sources(cli: &Cli, matches: &ArgMatches) -> Vec<Source> {
    let positions = |id: &str| {
        matches
            .indices_of(id)
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
    };
    let texts = cli.commands.iter().cloned().map(Source::Text);
    let files = cli.files.iter().map(|path| {
        if path.as_os_str() == "-" {
            Source::Stdin
        } else {
            Source::File(path.clone())
        }
    });
    let mut sources = positions("commands")
        .into_iter()
        .zip(texts)
        .chain(positions("files").into_iter().zip(files))
        .collect::<Vec<_>>();
    sources.sort_by_key(|(position, _)| *position);
    sources.into_iter().map(|(_, source)| source).collect()
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Args, Box<clap::Error>> {
        Args::parse(
            std::iter::once("udr")
                .chain(words.iter().copied())
                .map(OsString::from),
        )
    }

    #[test]
    fn commands_and_files_keep_their_order() {
        let args = parse(&["-c", "A", "-f", "x.sql", "--command=B", "-f", "-"]).unwrap();
        assert_eq!(
            args.sources,
            [
                Source::Text("A".into()),
                Source::File("x.sql".into()),
                Source::Text("B".into()),
                Source::Stdin
            ]
        );
    }

    #[test]
    fn options_work_on_both_sides_of_a_command() {
        for words in [["--repo", "r", "fsck"], ["fsck", "--repo", "r"]] {
            let args = parse(&words).unwrap();
            assert_eq!(args.cli.connection.repo.as_deref(), Some("r"));
            assert!(matches!(
                args.cli.action,
                Some(Action::Fsck { data: false })
            ));
        }
    }

    #[test]
    fn wrong_usage_is_exit_code_2() {
        for words in [
            &["--format", "xml"][..],
            &["--store-option", "novalue"],
            &["--memory-limit", "much"],
            &["-c", "SELECT 1", "demo"],
            &["--keep-going", "demo"],
            &["--branch", "dev", "fsck"],
            &["--nope"],
        ] {
            let error = parse(words).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{words:?}: {error}");
        }
        assert_eq!(parse(&["--version"]).unwrap_err().exit_code(), 0);
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
