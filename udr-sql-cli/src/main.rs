//! The `udr` command: SQL on a repository, from the command line, a script or a prompt.
//!
//! Whatever it does, it does through `udr_datafusion`; it has no powers of its own.

mod account;
mod args;
mod command;
mod complete;
mod confirmation;
mod console;
mod demo;
mod editor;
mod environment;
mod excerpt;
mod exit;
mod fsck;
mod interrupt;
mod memory;
mod output;
mod progress;
mod prompt;
mod run;
mod screen;
mod script;
mod session;
mod tag;
mod txn;

use std::process::ExitCode;
use std::sync::Arc;

use args::{Action, Args, Source};
use console::Console;
use environment::Environment;
use exit::{Exit, Failure, Stop};
use interrupt::Interrupts;
use run::{Runner, Settings, ending};
use session::{Absent, Session, open_repository};
use tokio::runtime::Runtime;
use udr_core::ErrorKind;
use udr_core::maintenance::FsckOptions;

/// How many rows a result shows at the prompt, until `\\rows` says otherwise.
const ROWS_SHOWN_MAX: usize = 1_000;
/// Planning deep expressions recurses.
const STACK_BYTES: usize = 8 << 20;

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(error) => {
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage.code()));
        }
    };
    let environment = Environment::read();
    let console = Console::new(&environment, args.cli.quiet);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        // Queries keep every worker busy: without this, Ctrl-C and the clock wait for dozens of
        // batches.
        .event_interval(1)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            console.failure(&Failure::new(ErrorKind::Internal, error.to_string()));
            return Exit::Failed.into();
        }
    };
    let exit = act(&runtime, &args, environment, console).unwrap_or_else(|failure| {
        console.failure(&failure);
        failure.exit
    });
    // A read of standard input may still be waiting for a line.
    runtime.shutdown_background();
    exit.into()
}

#[expect(clippy::too_many_lines, reason = "one arm for each command")]
fn act(
    runtime: &Runtime,
    args: &Args,
    environment: Environment,
    console: Console,
) -> Result<Exit, Failure> {
    let interrupts = runtime.block_on(async { Interrupts::listen() });
    let format = args.cli.format;
    let mut connection = args.cli.connection.clone();
    match args.cli.action {
        Some(Action::Fsck { data }) => {
            let options = if data {
                FsckOptions::Data
            } else {
                FsckOptions::Metadata
            };
            let check = async {
                let repository =
                    open_repository(&connection, &environment, &console, Absent::Refuse).await?;
                fsck::fsck(&repository, options, format, &console).await
            };
            let ended = runtime.block_on(unless_interrupted(interrupts, check));
            return Ok(ended.unwrap_or_else(|stop| ending(&console, &stop)));
        }
        Some(Action::Txn { ref id }) => {
            let (id, branch) = (id.as_str(), connection.branch.as_deref());
            let find = async {
                let repository =
                    open_repository(&connection, &environment, &console, Absent::Refuse).await?;
                txn::txn(&repository, id, branch, format, &console).await
            };
            let ended = runtime.block_on(unless_interrupted(interrupts, find));
            return Ok(ended.unwrap_or_else(|stop| ending(&console, &stop)));
        }
        Some(Action::Demo) => {
            let location = connection
                .repo
                .get_or_insert_with(|| demo::LOCATION.to_owned());
            demo::check_location(location)?;
        }
        None => {}
    }
    let is_demo = args.cli.action.is_some();
    let interactive = !is_demo && args.sources.is_empty() && environment.stdin_terminal;
    let settings = Settings {
        format,
        timing: interactive || (is_demo && environment.stderr_terminal),
        rows_shown_max: Some(ROWS_SHOWN_MAX),
        interactive,
    };
    let open = async { Ok(Session::open(&connection, &environment, &console).await?) };
    let session = match runtime.block_on(unless_interrupted(interrupts.clone(), open)) {
        Ok(session) => session,
        Err(stop) => return Ok(ending(&console, &stop)),
    };
    let mut runner = Runner::new(
        Arc::new(session),
        console,
        environment,
        settings,
        interrupts,
    );
    let exit = if interactive {
        prompt::prompt(runtime, &mut runner)?
    } else if is_demo {
        let location = connection.repo.as_deref().unwrap_or(demo::LOCATION);
        runtime
            .block_on(demo::demo(&mut runner, location))
            .map_or_else(|stop| ending(&console, &stop), |()| Exit::Done)
    } else {
        runtime.block_on(script(&mut runner, &args.sources))
    };
    let lost = runtime.block_on(runner.close())?;
    // Somebody at the prompt has chosen to leave; a script that forgot COMMIT has not done its work.
    Ok(match exit {
        Exit::Done if lost && !interactive => Exit::Failed,
        exit => exit,
    })
}

async fn unless_interrupted<T>(
    mut interrupts: Interrupts,
    work: impl Future<Output = Result<T, Stop>>,
) -> Result<T, Stop> {
    tokio::select! {
        biased;
        () = interrupts.next() => Err(Stop::Interrupted),
        result = work => result,
    }
}

/// Runs every source, up to the first error.
async fn script(runner: &mut Runner, sources: &[Source]) -> Exit {
    let sources = if sources.is_empty() {
        &[Source::Stdin][..]
    } else {
        sources
    };
    for source in sources {
        if let Err(stop) = runner.source(source).await {
            return ending(&runner.console, &stop);
        }
    }
    Exit::Done
}
