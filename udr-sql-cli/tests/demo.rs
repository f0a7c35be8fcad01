//! `udr demo` runs from beginning to end, and leaves a repository.

use crate::udr::Udr;

#[test]
fn the_demo_shows_what_it_promises() {
    let udr = Udr::new();
    let ran = udr.run(&["demo", "--durability", "none"]).ok();
    for shown in [
        "BEGIN;",
        "CREATE TABLE flights AS SELECT * FROM",
        "COMMIT MESSAGE 'Load the flights of 2013';",
        "|          0 |            0 |",
        "CREATE BRANCH correction;",
        "VERSION AS OF 'main~1'",
        "| before |",
        "SHOW LOG;",
        "udr --repo ./udr-demo",
    ] {
        assert!(
            ran.out.contains(shown),
            "{shown} is missing in\n{}\n{}",
            ran.out,
            ran.err
        );
    }
    assert_eq!(ran.err.matches("error[").count(), 1, "{}", ran.err);
    let count = "SELECT count(*) AS n FROM flights";
    let ran = udr
        .run(&["--repo", "udr-demo", "--format", "csv", "-c", count])
        .ok();
    assert_eq!(ran.out, "n\n336776\n");
    udr.run(&["fsck", "--data", "--repo", "udr-demo"]).ok();
    let ran = udr.run(&["demo"]).failed(2);
    assert!(ran.err.contains("is not empty"), "{}", ran.err);
}
