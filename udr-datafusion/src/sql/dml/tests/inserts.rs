use super::*;

#[test]
fn a_plain_insert_keeps_its_shape() {
    unchanged("INSERT INTO t SELECT * FROM s");
    unchanged("INSERT INTO t (id, n) VALUES (1, 2), ($1, $2)");
    unchanged("INSERT OVERWRITE TABLE t SELECT 1, 2, 'x', now()");
    becomes("INSERT INTO t AS x VALUES (1)", "INSERT INTO t VALUES (1)");
}

#[test]
fn default_is_the_columns_own() {
    becomes(
        "INSERT INTO t VALUES (1, DEFAULT, default, now()), (2, 3, 'x', DEFAULT)",
        "INSERT INTO t VALUES (1, (1 + 1), NULL, now()), (2, 3, 'x', now())",
    );
    becomes(
        r#"INSERT INTO t ("Name", n) VALUES (DEFAULT, DEFAULT)"#,
        r#"INSERT INTO t ("Name", n) VALUES (NULL, (1 + 1))"#,
    );
    becomes(
        "INSERT INTO t DEFAULT VALUES",
        r#"INSERT INTO t ("id", "n", "Name", "at") VALUES (NULL, (1 + 1), NULL, now())"#,
    );
    becomes_for(
        &keyed(),
        &[],
        "INSERT INTO t VALUES (1, 2, 'x', DEFAULT, DEFAULT)",
        r#"INSERT INTO t ("id", "n", "Name", "at") VALUES (1, 2, 'x', now())"#,
    );
    refused_for(
        &keyed(),
        &[],
        "INSERT INTO t (id, twice) VALUES (1, DEFAULT), (2, 3)",
        &["generated"],
    );
}

#[test]
fn columns_are_taken_by_name() {
    becomes_for(
        &target(),
        &["Name", "id"],
        "INSERT INTO t BY NAME SELECT s.\"Name\", id FROM s",
        r#"INSERT INTO t ("Name", "id") SELECT s."Name", id FROM s"#,
    );
    becomes_for(
        &target(),
        &["n"],
        "INSERT OVERWRITE t BY NAME (SELECT 1 AS n)",
        r#"INSERT OVERWRITE t ("n") (SELECT 1 AS n)"#,
    );
    refused_for(
        &target(),
        &["m"],
        "INSERT INTO t BY NAME SELECT 1 AS m",
        &["no such column"],
    );
    refused_for(
        &target(),
        &["n", "n"],
        "INSERT INTO t BY NAME SELECT 1",
        &["two columns"],
    );
    refused(
        "INSERT INTO t (id) BY NAME SELECT 1 AS id",
        &["leave the list"],
    );
}

#[test]
fn a_conflict_is_a_merge() {
    becomes(
        "INSERT INTO t (id, n) VALUES (1, 2)
         ON CONFLICT (id) DO UPDATE SET n = t.n + excluded.n WHERE t.n < 9",
        r#"Refuse by (id): MERGE INTO t USING (SELECT * FROM t) AS "excluded"
           ON t."id" = "excluded"."id"
           WHEN MATCHED AND t.n < 9 THEN UPDATE SET "n" = t.n + excluded.n
           WHEN NOT MATCHED THEN INSERT ("id", "n", "Name", "at")
             VALUES ("excluded"."id", "excluded"."n", "excluded"."Name", "excluded"."at")
           <- INSERT INTO t (id, n) VALUES (1, 2)"#,
    );
    becomes(
        r#"INSERT INTO x.t AS a SELECT * FROM s ON CONFLICT (id, "Name") DO UPDATE SET
           (n, at) = (excluded.n, DEFAULT)"#,
        r#"Refuse by (id, Name): MERGE INTO x.t AS a USING (SELECT * FROM x.t) AS "excluded"
           ON (a."id" = "excluded"."id") AND (a."Name" = "excluded"."Name")
           WHEN MATCHED THEN UPDATE SET "n" = excluded.n, "at" = now()
           WHEN NOT MATCHED THEN INSERT ("id", "n", "Name", "at")
             VALUES ("excluded"."id", "excluded"."n", "excluded"."Name", "excluded"."at")
           <- INSERT INTO x.t (SELECT * FROM s)"#,
    );
}

#[test]
fn a_query_without_a_table_can_stand_before_a_clause() {
    becomes_for(
        &keyed(),
        &["id"],
        "INSERT INTO t (id) SELECT 1 RETURNING id",
        "INSERT INTO t (id) (SELECT 1)",
    );
    let (_, form) = rewrite(
        "INSERT INTO t (id) SELECT (SELECT 1) ON CONFLICT (id) DO NOTHING RETURNING id",
        &target(),
        &[],
    )
    .unwrap();
    let Form::Upsert(upsert) = form else {
        panic!("{form:?}");
    };
    assert_eq!(
        squeezed(&upsert.insert.to_string()),
        "INSERT INTO t (id) (SELECT (SELECT 1))"
    );
    unchanged("INSERT INTO t SELECT a FROM s JOIN u ON s.id = u.id");
}

#[test]
fn nothing_is_done_on_a_conflict() {
    let nothing = r#"KeepFirst by (id): MERGE INTO t USING (SELECT * FROM t) AS "excluded"
        ON t."id" = "excluded"."id"
        WHEN NOT MATCHED THEN INSERT ("id", "n", "Name", "at")
          VALUES ("excluded"."id", "excluded"."n", "excluded"."Name", "excluded"."at")
        <- INSERT INTO t (id) VALUES (1)"#;
    becomes(
        "INSERT INTO t (id) VALUES (1) ON CONFLICT (id) DO NOTHING",
        nothing,
    );
    for sql in [
        "INSERT INTO t (id) VALUES (1) ON CONFLICT DO NOTHING",
        "INSERT INTO t (id) VALUES (1) ON CONFLICT ON CONSTRAINT t_pkey DO NOTHING",
        "INSERT OR IGNORE INTO t (id) VALUES (1)",
        "INSERT IGNORE INTO t (id) VALUES (1)",
    ] {
        becomes_for(&keyed(), &[], sql, nothing);
    }
}

#[test]
fn rows_are_replaced_by_their_key() {
    for sql in [
        "INSERT OR REPLACE INTO t VALUES (1, 2, 'x', now())",
        "REPLACE INTO t VALUES (1, 2, 'x', now())",
    ] {
        becomes_for(
            &keyed(),
            &[],
            sql,
            r#"Refuse by (id): MERGE INTO t USING (SELECT * FROM t) AS "excluded"
               ON t."id" = "excluded"."id"
               WHEN MATCHED THEN UPDATE SET "n" = "excluded"."n", "Name" = "excluded"."Name",
                 "at" = "excluded"."at"
               WHEN NOT MATCHED THEN INSERT ("id", "n", "Name", "at")
                 VALUES ("excluded"."id", "excluded"."n", "excluded"."Name", "excluded"."at")
               <- INSERT INTO t VALUES (1, 2, 'x', now())"#,
        );
        refused(sql, &["the table has none", "ON CONFLICT"]);
    }
}

#[test]
fn a_conflict_needs_a_key_that_is_clear() {
    refused(
        "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
        &["has none", "ON CONFLICT (id)"],
    );
    refused(
        "INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE SET n = 1",
        &["the conflict's columns"],
    );
    refused(
        "INSERT INTO t VALUES (1) ON CONFLICT (m) DO NOTHING",
        &["no such column"],
    );
    refused(
        "INSERT INTO t VALUES (1) ON CONFLICT (id, id) DO NOTHING",
        &["twice"],
    );
    refused(
        "INSERT INTO t VALUES (1) ON CONFLICT ON CONSTRAINT k DO NOTHING",
        &["no such key"],
    );
    refused(
        "INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET n = n + 1",
        &[
            "in the target and in the source",
            r#"t."n""#,
            r#""excluded"."n""#,
        ],
    );
    refused(
        "INSERT INTO excluded VALUES (1) ON CONFLICT (id) DO NOTHING",
        &["called excluded"],
    );
    let mut two = keyed();
    two.keys.push(Key {
        name: "t_name".to_owned(),
        columns: vec!["Name".to_owned()],
        primary: false,
    });
    refused_for(
        &two,
        &[],
        "REPLACE INTO t VALUES (1)",
        &["several", "t_pkey, t_name"],
    );
    refused_for(
        &keyed(),
        &[],
        "INSERT INTO t VALUES (1) ON CONFLICT (twice) DO NOTHING",
        &["generated"],
    );
    refused_for(
        &keyed(),
        &[],
        "INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET n = excluded.twice",
        &["generated"],
    );
}

#[test]
fn rows_that_match_a_predicate_give_way() {
    becomes(
        "INSERT INTO t REPLACE WHERE id BETWEEN 1 AND 5 AND n IN (1, 2) SELECT * FROM s",
        "replace: SELECT * FROM t WHERE id BETWEEN 1 AND 5 AND n IN (1, 2)
         <- INSERT INTO t SELECT * FROM s",
    );
    becomes(
        r#"INSERT INTO TABLE x.t AS a (id, "Name") REPLACE WHERE (a.id > 3) VALUES (4, 'x')"#,
        r#"replace: SELECT * FROM x.t AS a WHERE (a.id > 3)
           <- INSERT INTO TABLE x.t (id, "Name") VALUES (4, 'x')"#,
    );
    becomes_for(
        &target(),
        &["id"],
        "INSERT INTO t BY NAME REPLACE WHERE id = 1 WITH w AS (SELECT 1 AS id) SELECT * FROM w",
        r#"replace: SELECT * FROM t WHERE id = 1
           <- INSERT INTO t ("id") WITH w AS (SELECT 1 AS id) SELECT * FROM w"#,
    );
    becomes_for(
        &target(),
        &["id"],
        "INSERT INTO t REPLACE WHERE id = 1 BY NAME (SELECT 1 AS id)",
        r#"replace: SELECT * FROM t WHERE id = 1 <- INSERT INTO t ("id") (SELECT 1 AS id)"#,
    );
    refused(
        "INSERT INTO t REPLACE WHERE id IN (SELECT 1) SELECT * FROM s",
        &["no subquery"],
    );
    refused(
        "INSERT INTO t REPLACE USING (id) SELECT * FROM s",
        &["REPLACE USING", "MERGE"],
    );
    refused(
        "INSERT INTO t REPLACE WHERE id = 1 SELECT 1 ON CONFLICT (id) DO NOTHING",
        &["cannot be used together"],
    );
    refused_for(
        &keyed(),
        &[],
        "INSERT INTO t REPLACE WHERE twice = 1 SELECT 1",
        &["generated"],
    );
}
