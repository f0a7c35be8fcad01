use super::*;

#[test]
fn a_plain_update_keeps_its_shape() {
    becomes(
        "UPDATE t SET N = n + 1 WHERE id = 1",
        r#"UPDATE t SET "n" = n + 1 WHERE id = 1"#,
    );
    becomes(
        r#"UPDATE public.t AS a SET a."Name" = 'x', a.n = 2"#,
        r#"UPDATE public.t AS a SET "Name" = 'x', "n" = 2"#,
    );
    becomes(
        "UPDATE public.t SET t.n = 2, public.t.id = 3",
        r#"UPDATE public.t SET "n" = 2, "id" = 3"#,
    );
}

#[test]
fn an_update_from_is_a_query_over_the_target() {
    becomes(
        "UPDATE t SET n = s.n FROM s WHERE s.id = t.id",
        r#"update: SELECT t."id" AS "id", s.n AS "n", t."Name" AS "Name", t."at" AS "at"
           FROM t, s WHERE s.id = t.id"#,
    );
    becomes(
        r#"UPDATE udr.public."T" AS a SET n = s.n + u.n, "Name" = NULL
           FROM s JOIN u ON u.id = s.id, v WHERE s.id = a.id AND v.x > 1"#,
        r#"update: SELECT a."id" AS "id", s.n + u.n AS "n", NULL AS "Name", a."at" AS "at"
           FROM udr.public."T" AS a, s JOIN u ON u.id = s.id, v WHERE s.id = a.id AND v.x > 1"#,
    );
    becomes(
        "UPDATE a.b.t SET n = 1 FROM c.d.t WHERE true",
        r#"update: SELECT a.b.t."id" AS "id", 1 AS "n", a.b.t."Name" AS "Name", a.b.t."at" AS "at"
           FROM a.b.t, c.d.t WHERE true"#,
    );
}

#[test]
fn an_update_of_a_join_changes_its_first_table() {
    becomes(
        "UPDATE t LEFT JOIN s ON s.id = t.id SET t.n = s.n",
        r#"update: SELECT t."id" AS "id", s.n AS "n", t."Name" AS "Name", t."at" AS "at"
           FROM t LEFT JOIN s ON s.id = t.id"#,
    );
    refused(
        "UPDATE t JOIN s ON s.id = t.id SET s.n = 1",
        &["only columns of the target"],
    );
    refused(
        "UPDATE t RIGHT JOIN s ON s.id = t.id SET n = 1",
        &["LEFT JOIN"],
    );
}

#[test]
fn an_update_with_a_limit_looks_at_old_values() {
    becomes(
        "UPDATE t SET n = n + 1 WHERE id > 1 ORDER BY n DESC LIMIT 2",
        r#"update: SELECT t."id" AS "id", n + 1 AS "n", t."Name" AS "Name", t."at" AS "at"
           FROM (SELECT * FROM t WHERE id > 1 ORDER BY n DESC LIMIT 2) AS t"#,
    );
    becomes(
        "UPDATE x.t AS a SET n = a.n + 1 LIMIT $1",
        r#"update: SELECT a."id" AS "id", a.n + 1 AS "n", a."Name" AS "Name", a."at" AS "at"
           FROM (SELECT * FROM x.t AS a LIMIT $1) AS a"#,
    );
    becomes("UPDATE t SET n = 1 ORDER BY id", r#"UPDATE t SET "n" = 1"#);
    refused("UPDATE t SET n = 1 FROM s LIMIT 1", &["takes no LIMIT"]);
}

#[test]
fn tuples_are_taken_apart() {
    becomes(
        r#"UPDATE t SET (n, "Name") = (1, 'x'), id = 3"#,
        r#"UPDATE t SET "n" = 1, "Name" = 'x', "id" = 3"#,
    );
    becomes(
        r#"UPDATE t SET (n, "Name") = (SELECT max(x), min(y) FROM u WHERE u.id = t.id)"#,
        r#"UPDATE t SET "n" = (SELECT max(x) FROM u WHERE u.id = t.id),
           "Name" = (SELECT min(y) FROM u WHERE u.id = t.id)"#,
    );
    refused("UPDATE t SET (id, n) = (1, 2, 3)", &["different lengths"]);
    refused(
        "UPDATE t SET (id, n) = (SELECT a FROM u)",
        &["different lengths"],
    );
    refused(
        "UPDATE t SET (id, n) = (SELECT a, b FROM u LIMIT 1)",
        &["picks some of its rows"],
    );
    refused("UPDATE t SET (id, n) = (SELECT * FROM u)", &["wildcard"]);
    refused("UPDATE t SET (id, n) = s", &["a list of values"]);
}

#[test]
fn default_is_the_columns_own() {
    becomes(
        r#"UPDATE t SET n = DEFAULT, "Name" = default, at = DEFAULT"#,
        r#"UPDATE t SET "n" = (1 + 1), "Name" = NULL, "at" = now()"#,
    );
    becomes(
        "UPDATE t SET (id, n) = (1, DEFAULT)",
        r#"UPDATE t SET "id" = 1, "n" = (1 + 1)"#,
    );
    becomes_for(
        &keyed(),
        &[],
        "UPDATE t SET twice = DEFAULT",
        r#"UPDATE t SET "twice" = NULL"#,
    );
}

#[test]
fn what_no_column_is_is_refused() {
    refused("UPDATE t SET m = 1", &["no such column", "m"]);
    refused("UPDATE t SET naem = 1", &["no such column"]);
    refused("UPDATE t SET n = 1, N = 2", &["set twice"]);
    refused("UPDATE t AS a SET t.n = 1", &["only columns of the target"]);
    refused("UPDATE t SET u.n = 1", &["only columns of the target"]);
    refused_for(&keyed(), &[], "UPDATE t SET twice = 1", &["generated"]);
    refused("UPDATE (SELECT 1) SET n = 1", &["no plain table"]);
    refused("UPDATE t AS a (x) SET n = 1", &["no plain table"]);
    refused("UPDATE OR IGNORE t SET n = 1", &["OR IGNORE"]);
}
