use super::*;

#[test]
fn a_plain_merge_keeps_its_shape() {
    becomes_for(
        &target(),
        &["k", "v"],
        "MERGE INTO t AS a USING s ON a.id = s.k
         WHEN MATCHED AND s.v = 0 THEN DELETE
         WHEN MATCHED THEN UPDATE SET n = s.v
         WHEN NOT MATCHED THEN INSERT (id, n) VALUES (s.k, s.v)
         WHEN NOT MATCHED BY SOURCE THEN DELETE",
        r#"MERGE INTO t AS a USING s ON a.id = s.k
         WHEN MATCHED AND s.v = 0 THEN DELETE
         WHEN MATCHED THEN UPDATE SET "n" = s.v
         WHEN NOT MATCHED THEN INSERT ("id", "n") VALUES (s.k, s.v)
         WHEN NOT MATCHED BY SOURCE THEN DELETE"#,
    );
}

#[test]
fn a_star_is_every_column_by_name() {
    becomes_for(
        &target(),
        &["Name", "more", "at", "n", "id"],
        "MERGE INTO t USING s ON t.id = s.id
         WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *",
        r#"MERGE INTO t USING s ON t.id = s.id
         WHEN MATCHED THEN UPDATE SET "id" = "s"."id", "n" = "s"."n", "Name" = "s"."Name",
           "at" = "s"."at"
         WHEN NOT MATCHED THEN INSERT ("id", "n", "Name", "at")
           VALUES ("s"."id", "s"."n", "s"."Name", "s"."at")"#,
    );
    becomes(
        "MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED THEN INSERT ROW",
        r#"MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED THEN
           INSERT ("id", "n", "Name", "at") VALUES ("s"."id", "s"."n", "s"."Name", "s"."at")"#,
    );
    let on = "MERGE INTO t USING s ON t.id = s.id";
    let few = ["id", "n"];
    for star in ["MATCHED THEN UPDATE SET *", "NOT MATCHED THEN INSERT *"] {
        let sql = format!("{on} WHEN {star}");
        refused_for(&target(), &few, &sql, &["lacks a column", "Name"]);
    }
    refused_for(
        &target(),
        &["id", "n", "Name", "at", "more"],
        &format!("{on} WHEN NOT MATCHED THEN INSERT ROW"),
        &["the target lacks", "more"],
    );
    refused(
        &format!("{on} WHEN NOT MATCHED BY SOURCE THEN UPDATE SET *"),
        &["needs a source row"],
    );
    // A computed column is not taken from the source.
    becomes_for(
        &keyed(),
        &["id", "n", "Name", "at", "twice"],
        &format!("{on} WHEN MATCHED THEN UPDATE SET *"),
        r#"MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET "id" = "s"."id",
           "n" = "s"."n", "Name" = "s"."Name", "at" = "s"."at""#,
    );
}

#[test]
fn a_where_in_an_action_is_a_condition() {
    becomes(
        "MERGE INTO t USING s ON t.id = s.id
         WHEN MATCHED AND t.n > 0 OR s.n > 0 THEN UPDATE SET n = s.n WHERE s.n < 5
         WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id) WHERE s.n < 5",
        r#"MERGE INTO t USING s ON t.id = s.id
         WHEN MATCHED AND (t.n > 0 OR s.n > 0) AND (s.n < 5) THEN UPDATE SET "n" = s.n
         WHEN NOT MATCHED AND s.n < 5 THEN INSERT ("id") VALUES (s.id)"#,
    );
    refused(
        "MERGE INTO t USING s ON t.id = s.id
         WHEN MATCHED THEN UPDATE SET n = 1 WHERE s.n < 5 WHEN MATCHED THEN DELETE",
        &["last WHEN of its kind"],
    );
}

#[test]
fn delete_where_looks_at_new_values() {
    becomes(
        "MERGE INTO t USING s ON t.id = s.id
         WHEN MATCHED THEN UPDATE SET n = t.n + s.n WHERE s.n <> 0 DELETE WHERE t.n = 0 AND t.id > 1",
        r#"MERGE INTO t USING s ON t.id = s.id
         WHEN MATCHED AND (s.n <> 0) AND (arrow_cast(t.n + s.n, 'Int32') = 0 AND t.id > 1)
           THEN DELETE
         WHEN MATCHED AND s.n <> 0 THEN UPDATE SET "n" = t.n + s.n"#,
    );
    refused(
        "MERGE INTO t USING s ON t.id = s.id
         WHEN MATCHED THEN UPDATE SET n = 1 DELETE WHERE t.n IN (SELECT 1)",
        &["no subquery"],
    );
}

#[test]
fn do_nothing_keeps_rows_from_later_actions() {
    becomes(
        "MERGE INTO t USING s ON t.id = s.id
         WHEN MATCHED AND s.n = 1 THEN DO NOTHING
         WHEN MATCHED THEN DELETE
         WHEN NOT MATCHED AND s.n = 2 THEN DO NOTHING
         WHEN NOT MATCHED BY TARGET AND s.n > 0 THEN INSERT (id) VALUES (s.id)
         WHEN NOT MATCHED BY SOURCE THEN DO NOTHING
         WHEN NOT MATCHED BY SOURCE THEN DELETE",
        r#"MERGE INTO t USING s ON t.id = s.id
         WHEN MATCHED AND (s.n = 1) IS NOT TRUE THEN DELETE
         WHEN NOT MATCHED BY TARGET AND ((s.n = 2) IS NOT TRUE) AND (s.n > 0)
           THEN INSERT ("id") VALUES (s.id)"#,
    );
    refused(
        "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DO NOTHING",
        &["no action that does something"],
    );
}

#[test]
fn a_column_without_its_table_is_the_one_there_is() {
    becomes(
        "MERGE INTO t USING s ON t.id = s.id
         WHEN NOT MATCHED AND n > 1 THEN INSERT (id, n) VALUES (id, upper(n))
         WHEN NOT MATCHED BY SOURCE AND n > 1 THEN UPDATE SET n = n + 1",
        r#"MERGE INTO t USING s ON t.id = s.id
         WHEN NOT MATCHED AND "s"."n" > 1 THEN INSERT ("id", "n")
           VALUES ("s"."id", upper("s"."n"))
         WHEN NOT MATCHED BY SOURCE AND t."n" > 1 THEN UPDATE SET "n" = t."n" + 1"#,
    );
    becomes_for(
        &target(),
        &["k"],
        "MERGE INTO t USING s ON id = k WHEN MATCHED THEN UPDATE SET n = n + k",
        r#"MERGE INTO t USING s ON t."id" = "s"."k"
           WHEN MATCHED THEN UPDATE SET "n" = t."n" + "s"."k""#,
    );
    refused(
        "MERGE INTO t USING s ON id = 1 WHEN MATCHED THEN DELETE",
        &["write t.\"id\" or"],
    );
    refused(
        "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET n = n + 1",
        &["in the target and in the source"],
    );
}

#[test]
fn target_and_source_can_be_the_same_table() {
    becomes(
        "MERGE INTO t AS a USING t AS s ON a.id = s.n WHEN MATCHED THEN DELETE",
        "MERGE INTO t AS a USING t AS s ON a.id = s.n WHEN MATCHED THEN DELETE",
    );
    becomes(
        "MERGE INTO t AS a USING t ON a.id = t.n WHEN MATCHED THEN UPDATE SET a.n = t.n",
        r#"MERGE INTO t AS a USING t AS "source" ON a.id = "source"."n"
           WHEN MATCHED THEN UPDATE SET "n" = "source"."n""#,
    );
    refused(
        "MERGE INTO t USING t ON t.id = t.id WHEN MATCHED THEN DELETE",
        &["the same name", "AS s"],
    );
}

#[test]
fn a_source_without_a_name_gets_one() {
    let columns = ["id", "n"].map(|name| SourceColumn::new(&[], name));
    let sql = "MERGE INTO t USING (SELECT 1 AS id, 2 AS n) ON t.id = 1
               WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id) VALUES (id)";
    let (_, form) = rewrite(sql, &target(), &columns).unwrap();
    assert_eq!(
        squeezed(&text(&form)),
        squeezed(
            r#"MERGE INTO t USING (SELECT 1 AS id, 2 AS n) AS "source" ON t.id = 1
               WHEN MATCHED THEN DELETE
               WHEN NOT MATCHED THEN INSERT ("id") VALUES ("source"."id")"#
        )
    );
}

#[test]
fn defaults_and_lists_of_columns_are_put_in() {
    becomes(
        "MERGE INTO t USING s ON t.id = s.id
         WHEN MATCHED THEN UPDATE SET (n, at) = (DEFAULT, DEFAULT)
         WHEN NOT MATCHED THEN INSERT VALUES (s.id, DEFAULT, 'x', DEFAULT)",
        r#"MERGE INTO t USING s ON t.id = s.id
         WHEN MATCHED THEN UPDATE SET "n" = (1 + 1), "at" = now()
         WHEN NOT MATCHED THEN INSERT ("id", "n", "Name", "at")
           VALUES (s.id, (1 + 1), 'x', now())"#,
    );
    let on = "MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED THEN INSERT";
    refused(&format!("{on} (id, n) VALUES (1)"), &["different lengths"]);
    refused(&format!("{on} (m) VALUES (1)"), &["no such column"]);
    refused(
        &format!("{on} (s.id) VALUES (1)"),
        &["only columns of the target"],
    );
    refused_for(
        &keyed(),
        &["id"],
        &format!("{on} (twice) VALUES (1)"),
        &["generated"],
    );
    refused(
        "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DELETE OUTPUT deleted.id",
        &["returns no rows"],
    );
}
