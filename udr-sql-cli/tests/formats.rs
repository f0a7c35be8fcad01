//! Standard output has the result and nothing else.

use crate::udr::Udr;

const VALUES: &str = "SELECT * FROM (VALUES (1, 'a,b', NULL), (2, '', 1.5)) AS t (id, text, n)";

#[test]
fn every_format_shows_null_and_empty_in_its_way() {
    let udr = Udr::new();
    for (format, expected) in [
        ("csv", "id,text,n\n1,\"a,b\",\n2,\"\",1.5\n"),
        (
            "json",
            "[\n{\"id\":1,\"text\":\"a,b\",\"n\":null},\n{\"id\":2,\"text\":\"\",\"n\":1.5}\n]\n",
        ),
        (
            "ndjson",
            "{\"id\":1,\"text\":\"a,b\",\"n\":null}\n{\"id\":2,\"text\":\"\",\"n\":1.5}\n",
        ),
        (
            "table",
            "\
+----+------+------+
| id | text |    n |
+----+------+------+
|  1 | a,b  | NULL |
|  2 |      |  1.5 |
+----+------+------+
",
        ),
        (
            "markdown",
            "| id | text | n |\n| ---: | --- | ---: |\n| 1 | a,b | NULL |\n| 2 |  | 1.5 |\n",
        ),
        (
            "vertical",
            "-[ 1 ]----------\nid   | 1\ntext | a,b\nn    | NULL\n\
             -[ 2 ]----------\nid   | 2\ntext | \nn    | 1.5\n",
        ),
    ] {
        let ran = udr.run(&["--format", format, "-c", VALUES]).ok();
        assert_eq!(ran.out, expected, "{format}");
    }
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let udr = Udr::new();
    for format in ["table", "markdown", "vertical"] {
        let ran = udr
            .run(&[
                "--format",
                format,
                "-c",
                "SELECT chr(27) || '[2J' || chr(8238) AS x",
            ])
            .ok();
        assert!(
            !ran.out.contains(['\u{1b}', '\u{202e}']),
            "{format}: {:?}",
            ran.out
        );
        assert!(
            ran.out.contains("u{1b}") && ran.out.contains("u{202e}"),
            "{format}: {}",
            ran.out
        );
    }
}

#[test]
fn statements_without_a_result_print_nothing_for_machines() {
    let udr = Udr::new();
    for format in ["csv", "json", "ndjson"] {
        let ran = udr
            .run(&[
                "--format",
                format,
                "-c",
                "CREATE TABLE t (id BIGINT); INSERT INTO t VALUES (1), (2), (3); DROP TABLE t",
            ])
            .ok();
        assert_eq!(ran.out, "", "{format}");
        let said = ran.err.lines().skip(1).collect::<Vec<_>>();
        assert_eq!(
            said,
            [
                "table public.t created",
                "INSERT, 3 rows",
                "public.t dropped"
            ],
            "{format}"
        );
    }
}

#[test]
fn quiet_leaves_errors_only() {
    let udr = Udr::new();
    let ran = udr
        .run(&["-q", "-c", "CREATE TABLE t (id BIGINT); SELECT nope FROM t"])
        .failed(1);
    assert!(ran.err.starts_with("error[UDR-0400]"), "{}", ran.err);
}

#[test]
fn explain_keeps_its_lines() {
    let udr = Udr::new();
    let ran = udr.run(&["-c", "EXPLAIN SELECT 1"]).ok();
    assert!(!ran.out.contains("\\u{a}"), "{}", ran.out);
}

#[test]
fn a_value_that_has_no_text_is_an_error_and_no_value() {
    let udr = Udr::new();
    let time = "arrow_cast(9223372036854775807, 'Timestamp(Second, None)')";
    for sql in [
        format!("SELECT {time} AS t"),
        format!("SELECT [{time}] AS t"),
    ] {
        for format in ["csv", "json", "ndjson"] {
            let ran = udr.run(&["--format", format, "-c", &sql]).failed(1);
            assert!(!ran.out.contains("ERROR"), "{format}: {}", ran.out);
            assert!(ran.err.contains("error[UDR-"), "{format}: {}", ran.err);
        }
    }
    let sql = "SELECT TIMESTAMP '2026-01-31 12:00:00' AS t, [DATE '2026-01-31'] AS d";
    let ran = udr.run(&["--format", "ndjson", "-c", sql]).ok();
    assert_eq!(
        ran.out,
        "{\"t\":\"2026-01-31T12:00:00\",\"d\":[\"2026-01-31\"]}\n"
    );
}
