//! `udr demo`: what a repository can do, shown on real data.
//!
//! In: a runner on an empty repository. Out: every statement and its result on standard output.
//! Called by `main`. Everything it does is SQL that works at the prompt, too.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use udr_core::ErrorKind;

use crate::exit::{Failure, Stop, output_stop};
use crate::run::Runner;

/// Where the demo puts its repository unless told otherwise.
pub(crate) const LOCATION: &str = "./udr-demo";

/// The data: every flight out of New York in 2013, and what belongs to them.
const FILES: [(&str, &[u8]); 5] = [
    (
        "airlines",
        include_bytes!("../../examples/data/nycflights13/airlines.parquet"),
    ),
    (
        "airports",
        include_bytes!("../../examples/data/nycflights13/airports.parquet"),
    ),
    (
        "planes",
        include_bytes!("../../examples/data/nycflights13/planes.parquet"),
    ),
    (
        "weather",
        include_bytes!("../../examples/data/nycflights13/weather.parquet"),
    ),
    (
        "flights",
        include_bytes!("../../examples/data/nycflights13/flights.parquet"),
    ),
];

/// One thing that the demo does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Says something.
    Say(&'static str),
    /// Runs a statement that works.
    Run(String),
    /// Runs a statement that must fail.
    Refused(&'static str),
}

/// Refuses a folder that has something in it.
///
/// # Errors
///
/// A usage failure that says how to choose another.
pub(crate) fn check_location(location: &str) -> Result<(), Failure> {
    if location.contains("://") {
        return Ok(());
    }
    match Path::new(location)
        .read_dir()
        .map(|mut entries| entries.next().is_some())
    {
        Ok(true) => Err(
            Failure::usage(format!("{location} exists and is not empty"))
                .with_hint("remove it, or choose another folder: udr demo --repo FOLDER"),
        ),
        // Not there, or not readable, which opening it will say better.
        Ok(false) | Err(_) => Ok(()),
    }
}

/// Runs the demo.
///
/// # Errors
///
/// Why it stopped before the end.
pub(crate) async fn demo(runner: &mut Runner, location: &str) -> Result<(), Stop> {
    let files = unpack().map_err(|error| {
        Failure::new(
            ErrorKind::Invalid,
            format!("the data cannot be unpacked: {error}"),
        )
    })?;
    for step in load(files.path()).into_iter().chain(show()) {
        run(runner, &step).await?;
    }
    say(&format!(
        "\nThe repository stays. Go on with: udr --repo {location}"
    ))
}

async fn run(runner: &mut Runner, step: &Step) -> Result<(), Stop> {
    match step {
        Step::Say(text) => say(&format!("\n-- {}", text.replace('\n', "\n-- "))),
        Step::Run(sql) => {
            say(&format!("{sql};"))?;
            runner.statement(sql).await
        }
        Step::Refused(sql) => {
            say(&format!("{sql};"))?;
            match runner.statement(sql).await {
                Err(Stop::Failed(failure)) => {
                    runner.console.failure(&failure);
                    Ok(())
                }
                Err(stop) => Err(stop),
                Ok(()) => Err(Stop::from(Failure::new(
                    ErrorKind::Internal,
                    "the statement should have been refused",
                ))),
            }
        }
    }
}

fn say(text: &str) -> Result<(), Stop> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .map_err(|error| output_stop(&error))
}

fn unpack() -> io::Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new().prefix("udr-demo-").tempdir()?;
    for (name, bytes) in FILES {
        std::fs::write(file(folder.path(), name), bytes)?;
    }
    Ok(folder)
}

fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.parquet"))
}

/// The five tables, in one transaction.
fn load(folder: &Path) -> Vec<Step> {
    let mut steps = vec![Step::Say(
        "All flights that left New York City in 2013: five Parquet files, seen as tables.",
    )];
    for (name, _) in FILES {
        let location = file(folder, name).display().to_string().replace('\'', "''");
        steps.push(Step::Run(format!(
            "CREATE EXTERNAL TABLE datafusion.public.{name} STORED AS PARQUET LOCATION '{location}'"
        )));
    }
    steps.push(Step::Say(
        "They become five tables of the repository, in one transaction: all of them, or none.",
    ));
    steps.push(Step::Run("BEGIN".to_owned()));
    steps.push(Step::Run(
        "CREATE TABLE airlines (carrier VARCHAR NOT NULL, name VARCHAR NOT NULL)".to_owned(),
    ));
    steps.push(Step::Run(
        "INSERT INTO airlines SELECT carrier, name FROM datafusion.public.airlines".to_owned(),
    ));
    for name in ["airports", "planes", "weather", "flights"] {
        steps.push(Step::Run(format!(
            "CREATE TABLE {name} AS SELECT * FROM datafusion.public.{name}"
        )));
    }
    steps.push(Step::Run(
        "COMMIT MESSAGE 'Load the flights of 2013'".to_owned(),
    ));
    steps
}

fn show() -> Vec<Step> {
    let run = |sql: &str| Step::Run(sql.to_owned());
    vec![
        Step::Say("A query over all five: which airlines fly small planes through the wind?"),
        run(WINDY),
        Step::Say(
            "A transaction over two tables. The first statement works, the second breaks NOT NULL:\n\
             after ROLLBACK nothing is left of either.",
        ),
        run("BEGIN"),
        run("INSERT INTO planes (tailnum, year, seats) VALUES ('N0UDR', 2013, 2)"),
        Step::Refused("INSERT INTO airlines VALUES ('ZZ', NULL)"),
        run("ROLLBACK"),
        run(
            "SELECT (SELECT count(*) FROM planes WHERE tailnum = 'N0UDR') AS new_planes, \
             (SELECT count(*) FROM airlines WHERE carrier = 'ZZ') AS new_airlines",
        ),
        Step::Say(
            "A branch costs one small record. On it, a month of flights is corrected: in June,\n\
             the clock at LGA was ten minutes fast.",
        ),
        run("CREATE BRANCH correction"),
        run("USE BRANCH correction"),
        run(CORRECTION),
        Step::Say("The branch and main, side by side, in one query:"),
        run(COMPARISON),
        Step::Say("main takes the correction over:"),
        run("USE BRANCH main"),
        run("MERGE BRANCH correction INTO main"),
        Step::Say("Time travel: June at LGA now, and as it was one commit ago."),
        run(TIME_TRAVEL),
        Step::Say("And the log of main:"),
        run("SHOW LOG"),
    ]
}

const WINDY: &str = "\
SELECT a.name AS airline, count(*) AS flights, round(avg(p.seats)) AS seats,
       round(avg(f.dep_delay), 1) AS minutes_late
  FROM flights f
  JOIN airlines a ON a.carrier = f.carrier
  JOIN planes p ON p.tailnum = f.tailnum
  JOIN airports d ON d.faa = f.dest
  JOIN weather w ON w.origin = f.origin AND w.time_hour = f.time_hour
 WHERE w.wind_speed > 25 AND d.alt < 2000
 GROUP BY a.name
 ORDER BY seats
 LIMIT 5";

const CORRECTION: &str = "\
INSERT OVERWRITE flights
SELECT year, month, day, dep_time, sched_dep_time,
       CASE WHEN month = 6 AND origin = 'LGA' THEN dep_delay - 10 ELSE dep_delay END,
       arr_time, sched_arr_time, arr_delay, carrier, flight, tailnum, origin, dest, air_time,
       distance, hour, minute, time_hour
  FROM flights";

const COMPARISON: &str = "\
SELECT b.origin, m.flights, m.minutes_late AS main, b.minutes_late AS correction
  FROM (SELECT origin, count(*) AS flights, round(avg(dep_delay), 2) AS minutes_late
          FROM flights VERSION AS OF 'main' WHERE month = 6 GROUP BY origin) m
  JOIN (SELECT origin, round(avg(dep_delay), 2) AS minutes_late
          FROM flights WHERE month = 6 GROUP BY origin) b ON b.origin = m.origin
 ORDER BY b.origin";

const TIME_TRAVEL: &str = "\
SELECT 'now' AS state, round(avg(dep_delay), 2) AS minutes_late
  FROM flights WHERE month = 6 AND origin = 'LGA'
UNION ALL
SELECT 'before' AS state, round(avg(dep_delay), 2) AS minutes_late
  FROM flights VERSION AS OF 'main~1' WHERE month = 6 AND origin = 'LGA'
 ORDER BY state";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_something_in_it_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let location = folder.path().display().to_string();
        assert_eq!(check_location(&location), Ok(()));
        assert_eq!(check_location(&format!("{location}/absent")), Ok(()));
        std::fs::write(folder.path().join("file"), "").unwrap();
        let failure = check_location(&location).unwrap_err();
        assert_eq!(failure.exit, crate::exit::Exit::Usage);
    }
}
