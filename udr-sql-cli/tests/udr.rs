//! The program with an environment of its own.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A folder for repositories and files, and the program in it.
pub(crate) struct Udr {
    home: TempDir,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Udr {
    pub(crate) fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes a file into the folder.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The program, in the folder, with nothing of the machine's settings.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_udr"));
        command
            .args(arguments)
            .current_dir(self.home())
            .env("HOME", self.home());
        for name in [
            "UDR_REPO",
            "UDR_AUTHOR",
            "PAGER",
            "NO_COLOR",
            "XDG_STATE_HOME",
        ] {
            command.env_remove(name);
        }
        command
    }

    /// Runs it with nothing on standard input.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    /// Runs it with a text on standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Ran {
        let mut child = self.spawn(arguments);
        // It may stop before it has read everything.
        drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
        finished(child)
    }

    /// Starts it with pipes on all three.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs statements on the repository `lake` in the folder.
    pub(crate) fn lake(&self, statements: &[&str]) -> Ran {
        let mut arguments = vec!["--repo", "lake", "--durability", "none"];
        for statement in statements {
            arguments.extend(["-c", statement]);
        }
        self.run(&arguments)
    }
}

/// Waits for the end.
pub(crate) fn finished(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Ran {
    /// Checks that it ended well.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self
    }

    /// Checks the exit code.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }
}
