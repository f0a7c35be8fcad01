//! What each format does with nulls, nesting, escapes and no rows at all.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, ListArray, NullArray, RecordBatch, StringArray,
};
use arrow::datatypes::Int64Type;

use super::*;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn people() -> RecordBatch {
    batch(vec![
        (
            "id",
            Arc::new(Int64Array::from(vec![Some(1), Some(20), None])),
        ),
        (
            "name",
            Arc::new(StringArray::from(vec![Some("Zoë|<x>"), None, Some("")])),
        ),
    ])
}

fn render(format: Format, batches: &[RecordBatch]) -> String {
    let mut rows = format.rows(batches[0].schema_ref(), Vec::new());
    for batch in batches {
        rows.write(batch).unwrap();
    }
    String::from_utf8(rows.finish().unwrap()).unwrap()
}

#[test]
fn table_aligns_numbers_right_and_shows_null() {
    assert_eq!(
        render(Format::Table, &[people()]),
        "\
+------+---------+
|   id | name    |
+------+---------+
|    1 | Zoë|<x> |
|   20 | NULL    |
| NULL |         |
+------+---------+
"
    );
}

#[test]
fn table_escapes_control_and_bidi_characters_but_keeps_line_breaks() {
    let text = "a\x1b[31m\u{202e}b\nsecond line";
    let table = render(
        Format::Table,
        &[batch(vec![(
            "t\x07",
            Arc::new(StringArray::from(vec![text])),
        )])],
    );
    let rule = format!("+{}+", "-".repeat(22));
    let expected = [
        rule.as_str(),
        "| t\\u{7}               |",
        rule.as_str(),
        "| a\\u{1b}[31m\\u{202e}b |",
        "| second line          |",
        rule.as_str(),
    ];
    assert_eq!(table.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn table_streams_past_the_rows_it_measures() {
    let ids = batch(vec![(
        "id",
        Arc::new(Int64Array::from_iter_values(0..1_500)),
    )]);
    let mut rows = Format::Table.rows(ids.schema_ref(), Vec::new());
    rows.write(&ids).unwrap();
    rows.write(&ids).unwrap();
    let text = String::from_utf8(rows.finish().unwrap()).unwrap();
    assert_eq!(text.lines().count(), 3 + 3_000 + 1);
    assert!(text.lines().nth(3 + 1_200).unwrap().ends_with("| 1200 |"));
}

#[test]
fn csv_tells_null_from_empty_and_quotes_what_must_be() {
    let values = vec![
        Some("a,b"),
        Some("say \"hi\""),
        Some("two\nlines"),
        Some(""),
        None,
    ];
    let csv = render(
        Format::Csv,
        &[batch(vec![
            ("text, or not", Arc::new(StringArray::from(values))),
            (
                "n",
                Arc::new(Float64Array::from(vec![
                    Some(1.5),
                    None,
                    Some(-0.0),
                    Some(3.0),
                    None,
                ])),
            ),
            ("nothing", Arc::new(NullArray::new(5))),
        ])],
    );
    assert_eq!(
        csv,
        "\"text, or not\",n,nothing\n\"a,b\",1.5,\n\"say \"\"hi\"\"\",,\n\"two\nlines\",-0.0,\n\
         \"\",3.0,\n,,\n"
    );
}

#[test]
fn csv_writes_nested_values_as_json() {
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
    ]);
    assert_eq!(
        render(Format::Csv, &[batch(vec![("l", Arc::new(lists))])]),
        "l\n\"[1,null]\"\n\n[]\n"
    );
}

#[test]
fn json_is_one_array_over_all_batches() {
    let text = render(
        Format::Json,
        &[people(), people().slice(0, 0), people().slice(1, 1)],
    );
    let rows = serde_json::from_str::<serde_json::Value>(&text).unwrap();
    assert_eq!(
        rows,
        serde_json::json!([
            {"id": 1, "name": "Zoë|<x>"},
            {"id": 20, "name": null},
            {"id": null, "name": ""},
            {"id": 20, "name": null},
        ])
    );
    assert_eq!(text.lines().count(), 2 + 4);
}

#[test]
fn ndjson_is_one_object_per_line() {
    let text = render(Format::Ndjson, &[people(), people()]);
    assert_eq!(text.lines().count(), 6);
    assert_eq!(text.lines().nth(4), Some("{\"id\":20,\"name\":null}"));
}

#[test]
fn markdown_keeps_values_inside_their_cells() {
    assert_eq!(
        render(Format::Markdown, &[people()]),
        "| id | name |\n| ---: | --- |\n| 1 | Zoë\\|&lt;x> |\n| 20 | NULL |\n| NULL |  |\n"
    );
}

#[test]
fn vertical_numbers_its_rows() {
    let text = render(Format::Vertical, &[people(), people()]);
    assert!(text.starts_with("-[ 1 ]"), "{text}");
    assert!(text.contains("\nid   | 20\nname | NULL\n-[ 3 ]"), "{text}");
    assert!(text.contains("-[ 6 ]"), "{text}");
}

#[test]
fn no_rows_still_make_a_whole_document() {
    let none = people().slice(0, 0);
    for (format, expected) in [
        (Format::Csv, "id,name\n"),
        (Format::Json, "[]\n"),
        (Format::Ndjson, ""),
        (Format::Markdown, "| id | name |\n| ---: | --- |\n"),
        (Format::Vertical, ""),
        (
            Format::Table,
            "+----+------+\n| id | name |\n+----+------+\n+----+------+\n",
        ),
    ] {
        assert_eq!(
            render(format, std::slice::from_ref(&none)),
            expected,
            "{format}"
        );
        let rows = format.rows(none.schema_ref(), Vec::new());
        assert_eq!(rows.finish().unwrap(), expected.as_bytes(), "{format}");
    }
}

struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_reader_stops_every_format() {
    for format in Format::value_variants() {
        let many = batch(vec![(
            "id",
            Arc::new(Int64Array::from_iter_values(0..2_000)),
        )]);
        let mut rows = format.rows(many.schema_ref(), Closed);
        assert_eq!(rows.write(&many), Err(Stop::OutputClosed), "{format}");
    }
}
