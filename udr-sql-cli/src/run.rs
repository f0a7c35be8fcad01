//! Statements, run in order.
//!
//! In: sources of statements. Out: results on standard output, the rest on standard error, and a
//! reason to stop. Called by `main`, `prompt` and `demo`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNode as _;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use futures::StreamExt as _;
use indicatif::HumanCount;
use tokio::sync::mpsc;
use udr_datafusion::is_unbounded;

use crate::args::Source;
use crate::command;
use crate::confirmation::{Confirmation, rows_text};
use crate::console::Console;
use crate::environment::Environment;
use crate::excerpt::excerpt;
use crate::exit::{Exit, Failure, Stop, output_stop};
use crate::interrupt::Interrupts;
use crate::output::Format;
use crate::progress::Progress;
use crate::screen::{Pager, Screen};
use crate::script::{Item, Script, Step, Uncut, line, lines};
use crate::session::Session;

/// Lines read ahead of what is run.
const LINES_AHEAD_MAX: usize = 256;
/// Files that run files that run files.
const NESTING_MAX: usize = 16;

/// What backslash commands change.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// How results are shown.
    pub(crate) format: Format,
    /// Whether the time a statement took is said.
    pub(crate) timing: bool,
    /// How many rows a result for people shows at most.
    pub(crate) rows_shown_max: Option<usize>,
    /// Somebody is sitting in front of it: results may be cut and paged.
    pub(crate) interactive: bool,
    /// A script goes on after a statement that fails.
    pub(crate) keep_going: bool,
}

/// Runs statements in one session.
pub(crate) struct Runner {
    pub(crate) session: Arc<Session>,
    pub(crate) console: Console,
    pub(crate) environment: Environment,
    pub(crate) settings: Settings,
    pub(crate) interrupts: Interrupts,
    /// How the program ends because of the first statement that failed and was passed over.
    pub(crate) failed: Option<Exit>,
    pager: Option<Pager>,
    nesting: usize,
}

impl Runner {
    /// A runner with its own session.
    pub(crate) fn new(
        session: Arc<Session>,
        console: Console,
        environment: Environment,
        settings: Settings,
        interrupts: Interrupts,
    ) -> Self {
        let pager = (settings.interactive && environment.stdout_terminal)
            .then(|| Pager::of(&environment, &interrupts))
            .flatten();
        Self {
            session,
            console,
            environment,
            settings,
            interrupts,
            failed: None,
            pager,
            nesting: 0,
        }
    }

    /// Runs everything a source holds, up to the first error.
    ///
    /// # Errors
    ///
    /// Why it stopped before the end.
    pub(crate) async fn source(&mut self, source: &Source) -> Result<(), Stop> {
        match source {
            Source::Text(text) => {
                let one_line = !text.trim().contains('\n');
                let place = |n| if one_line { None } else { Some(line(n)) };
                let mut script = Script::default();
                for line in lines(text) {
                    self.items(script.push(line), &place).await?;
                }
                self.items(script.finish(), &place).await
            }
            Source::File(path) => {
                let file = File::open(path).map_err(|error| {
                    Failure::usage(format!("cannot read {}: {error}", path.display()))
                })?;
                self.lines(path, BufReader::new(file)).await
            }
            Source::Stdin => {
                self.lines(Path::new("standard input"), BufReader::new(io::stdin()))
                    .await
            }
        }
    }

    /// Runs a file from inside another source.
    ///
    /// # Errors
    ///
    /// As [`Runner::source`]; `Invalid` if files run each other without end.
    pub(crate) async fn nested(&mut self, path: &Path) -> Result<(), Stop> {
        if self.nesting >= NESTING_MAX {
            return Err(Stop::from(Failure::usage(
                "files run each other too deeply",
            )));
        }
        self.nesting += 1;
        let result = Box::pin(self.source(&Source::File(path.to_owned()))).await;
        self.nesting -= 1;
        result
    }

    async fn lines(
        &mut self,
        path: &Path,
        reader: impl BufRead + Send + 'static,
    ) -> Result<(), Stop> {
        let name = path.display().to_string();
        let place = |n| Some(format!("{name}, {}", line(n)));
        let mut lines = read_lines(reader);
        let mut script = Script::default();
        loop {
            let mut interrupts = self.interrupts.clone();
            let next = tokio::select! {
                biased;
                () = interrupts.next() => return Err(Stop::Interrupted),
                next = lines.recv() => next,
            };
            match next {
                Some(Ok(line)) => self.items(script.push(&line), &place).await?,
                Some(Err(error)) => {
                    return Err(Stop::from(Failure::usage(format!(
                        "cannot read {name}: {error}"
                    ))));
                }
                None => return self.items(script.finish(), &place).await,
            }
        }
    }

    async fn items(
        &mut self,
        items: Result<Vec<Item>, Uncut>,
        place: &impl Fn(usize) -> Option<String>,
    ) -> Result<(), Stop> {
        let placed = |stop: Stop, line| match place(line) {
            Some(place) => stop.at(|| place),
            None => stop,
        };
        let items = match items {
            Ok(items) => items,
            Err(uncut) => {
                self.pass_over(placed(Stop::Failed(uncut.failure), uncut.line))?;
                Vec::new()
            }
        };
        for item in items {
            match self.step(&item.step).await {
                // That nobody reads results ends a result; the rest has effects to come.
                Ok(()) | Err(Stop::OutputClosed) => {}
                Err(stop) => self.pass_over(placed(stop, item.line))?,
            }
        }
        Ok(())
    }

    /// Shows a failure and goes on, if that is wanted; else it is a reason to stop.
    fn pass_over(&mut self, stop: Stop) -> Result<(), Stop> {
        match stop {
            Stop::Failed(failure) if self.settings.keep_going => {
                self.console.failure(&failure);
                self.failed.get_or_insert(failure.exit);
                Ok(())
            }
            stop => Err(stop),
        }
    }

    /// Runs one statement or backslash command.
    ///
    /// # Errors
    ///
    /// What went wrong, or why to stop.
    pub(crate) async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        match step {
            Step::Sql(sql) => self.statement(sql).await,
            Step::Command(text) => command::run(self, text).await,
        }
    }

    /// Runs one statement; Ctrl-C drops it.
    ///
    /// # Errors
    ///
    /// As [`Runner::step`].
    pub(crate) async fn statement(&mut self, sql: &str) -> Result<(), Stop> {
        let mut interrupts = self.interrupts.clone();
        tokio::select! {
            biased;
            () = interrupts.next() => Err(Stop::Interrupted),
            result = self.execute(sql) => result,
        }
    }

    async fn execute(&self, sql: &str) -> Result<(), Stop> {
        let mut progress =
            Progress::start(self.environment.stderr_terminal && !self.console.is_quiet());
        let frame = progress
            .during(self.session.sql(sql))
            .await
            .map_err(|error| {
                let excerpt = excerpt(sql, &error).map(String::into_boxed_str);
                Failure {
                    excerpt,
                    ..Failure::from(error)
                }
            })?;
        let endless = is_unbounded(frame.logical_plan());
        let limit = self.rows_shown_max().filter(|_| !endless);
        // One row more tells that there are more; to count them all, all would have to be read.
        let cut = limit.filter(|_| is_query(sql, frame.logical_plan()));
        let frame = match cut {
            Some(limit) => frame.limit(0, Some(limit.saturating_add(1)))?,
            None => frame,
        };
        let context = Arc::new(frame.task_ctx());
        let plan = progress.during(frame.create_physical_plan()).await?;
        let schema = plan.schema();
        progress.follow(&plan);
        let mut stream = execute_stream(plan, context)?;
        if let Some(mut confirmation) = Confirmation::of(sql, &schema) {
            while let Some(batch) = progress.during(stream.next()).await {
                confirmation.add(&batch?)?;
            }
            progress.hide();
            self.confirm(confirmation, &progress);
            return Ok(());
        }
        let mut rows = self.settings.format.rows(&schema, self.screen(endless));
        let (mut total, mut shown) = (0, 0);
        while let Some(batch) = progress.during(stream.next()).await {
            let batch = batch?;
            total += batch.num_rows();
            let room = limit
                .map_or(batch.num_rows(), |limit| limit - shown)
                .min(batch.num_rows());
            shown += room;
            if room > 0 {
                if self.environment.stdout_terminal {
                    progress.hide();
                }
                progress.suspend(|| rows.write(&batch.slice(0, room)))?;
                if endless {
                    progress.suspend(|| rows.release())?;
                }
            }
        }
        progress.hide();
        let screen = rows.finish()?;
        screen.close().map_err(|error| output_stop(&error))?;
        let counted = if cut.is_some() && shown < total {
            format!("more than {}", rows_text(shown as u64))
        } else {
            rows_text(total as u64)
        };
        if shown < total {
            self.console.notice(&format!(
                "{} of {counted} are shown; \\rows sets how many",
                HumanCount(shown as u64)
            ));
        }
        self.summarize(&counted, &progress);
        Ok(())
    }

    /// Where rows are shown; a pager would wait for the end of those that have none.
    fn screen(&self, endless: bool) -> Screen {
        match &self.pager {
            Some(pager) if !endless => Screen::paged(pager),
            _ => Screen::plain(),
        }
    }

    fn rows_shown_max(&self) -> Option<usize> {
        self.settings
            .rows_shown_max
            .filter(|_| self.settings.interactive && !self.settings.format.is_for_machines())
    }

    fn confirm(&self, confirmation: Confirmation, progress: &Progress) {
        let mut text = confirmation.text();
        if self.settings.timing {
            let seconds = progress.elapsed().as_secs_f64();
            text.push_str(&format!(" ({seconds:.3} s)"));
        }
        self.console.notice(&text);
    }

    fn summarize(&self, counted: &str, progress: &Progress) {
        if self.settings.timing {
            let seconds = progress.elapsed().as_secs_f64();
            self.console.notice(&format!("({counted}, {seconds:.3} s)"));
        } else if self.settings.interactive {
            self.console.notice(&format!("({counted})"));
        }
    }

    /// Rolls back what was left open, says so, and whether changes were lost.
    ///
    /// # Errors
    ///
    /// What the rollback says.
    pub(crate) async fn close(&self) -> Result<bool, Failure> {
        let state = self.session.state();
        if !state.transaction {
            return Ok(false);
        }
        self.session.rollback().await?;
        if state.changed {
            self.console.tell(
                "notice: the open transaction was rolled back; its changes are gone (COMMIT keeps them)",
            );
        } else {
            self.console
                .notice("notice: the open transaction was rolled back; it had no changes");
        }
        Ok(state.changed)
    }
}

/// Whether a statement only reads, so that it need not be run to its end.
fn is_query(sql: &str, plan: &LogicalPlan) -> bool {
    let returning = sql
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .any(|word| word.eq_ignore_ascii_case("RETURNING"));
    let acts = plan.exists(|node| {
        Ok(matches!(
            node,
            LogicalPlan::Dml(_)
                | LogicalPlan::Ddl(_)
                | LogicalPlan::Copy(_)
                | LogicalPlan::Statement(_)
                | LogicalPlan::Explain(_)
                | LogicalPlan::Analyze(_)
                | LogicalPlan::DescribeTable(_)
                | LogicalPlan::Extension(_)
        ))
    });
    !returning && matches!(acts, Ok(false))
}

/// What is said and how the program ends, for a reason to stop.
pub(crate) fn ending(console: &Console, stop: &Stop) -> Exit {
    match stop {
        Stop::Failed(failure) => {
            console.failure(failure);
            failure.exit
        }
        Stop::Interrupted => {
            console.notice("interrupted");
            Exit::Interrupted
        }
        Stop::OutputClosed | Stop::Quit => Exit::Done,
    }
}

fn read_lines(mut reader: impl BufRead + Send + 'static) -> mpsc::Receiver<io::Result<String>> {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD_MAX);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut line = String::new();
            let sent = match reader.read_line(&mut line) {
                Ok(0) => return,
                Ok(_) => {
                    if line.ends_with('\n') {
                        line.pop();
                    }
                    sender.blocking_send(Ok(line))
                }
                Err(error) => {
                    drop(sender.blocking_send(Err(error)));
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
    });
    receiver
}
