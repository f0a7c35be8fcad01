use super::*;

#[test]
fn a_plain_delete_keeps_its_shape() {
    unchanged("DELETE FROM t WHERE id IN (SELECT id FROM u)");
    unchanged("DELETE FROM public.t");
    becomes(
        "DELETE FROM t WHERE n = 1 ORDER BY id",
        "DELETE FROM t WHERE n = 1",
    );
}

#[test]
fn an_alias_means_the_target() {
    becomes(
        "DELETE FROM t AS x WHERE x.id = 1 AND EXISTS (SELECT 1 FROM t WHERE t.n = x.n)",
        "delete: SELECT * FROM t AS x
         WHERE x.id = 1 AND EXISTS (SELECT 1 FROM t WHERE t.n = x.n)",
    );
    becomes("DELETE t x", "delete: SELECT * FROM t x");
}

#[test]
fn using_is_a_subquery_that_finds_a_row() {
    becomes(
        "DELETE FROM t USING s JOIN u ON u.id = s.id WHERE t.id = s.id",
        "delete: SELECT * FROM t
         WHERE EXISTS (SELECT 1 FROM s JOIN u ON u.id = s.id WHERE t.id = s.id)",
    );
    becomes(
        "DELETE FROM t AS a USING s, u WHERE a.id = s.id",
        "delete: SELECT * FROM t AS a WHERE EXISTS (SELECT 1 FROM s, u WHERE a.id = s.id)",
    );
    becomes(
        "DELETE FROM t USING s",
        "delete: SELECT * FROM t WHERE EXISTS (SELECT 1 FROM s)",
    );
}

#[test]
fn using_is_checked_as_a_join() {
    let (_, form) = rewrite("DELETE FROM t AS a USING s WHERE id = 1", &target(), &[]).unwrap();
    let Form::Delete(rows) = form else {
        panic!("{form:?}");
    };
    assert_eq!(
        squeezed(&rows.check.unwrap().to_string()),
        "SELECT 1 FROM t AS a, s WHERE id = 1"
    );
}

#[test]
fn the_first_rows_are_deleted() {
    becomes(
        "DELETE FROM t WHERE n = 1 ORDER BY id DESC LIMIT 10",
        "delete: SELECT * FROM t WHERE n = 1 ORDER BY id DESC LIMIT 10",
    );
    becomes("DELETE FROM t LIMIT 1", "delete: SELECT * FROM t LIMIT 1");
    becomes("DELETE FROM t LIMIT ALL", "DELETE FROM t");
}

#[test]
fn one_table_is_deleted_from() {
    refused("DELETE FROM t, u", &["from one table", "USING"]);
    refused("DELETE FROM t JOIN u ON t.id = u.id", &["from one table"]);
    refused("DELETE FROM (SELECT 1) AS x", &["no plain table"]);
    refused("DELETE FROM t OUTPUT deleted.id", &["RETURNING"]);
}
